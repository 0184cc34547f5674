"""Read by what a person asks to be erased."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields

from worker.events.text import clean_text
from worker.ledger import erasing
from worker.ledger.engine import Ledger
from worker.pinterest.normalise import hash_value
from worker.pinterest.person import Person

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


class AskedError(Exception):
    """Say which identifier is none, and why; never what it was."""

    def __init__(self, field: str, why: str) -> None:
        self.field, self.why = field, why
        super().__init__(f"{field} {why}")


@dataclass(frozen=True, slots=True)
class Asked:
    """Hold the identifiers of one person, as they were given."""

    emails: Sequence[str] = ()
    email_hashes: Sequence[str] = ()
    external_ids: Sequence[str] = ()
    external_id_hashes: Sequence[str] = ()
    anonymous_ids: Sequence[str] = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """Name the kinds of identifiers that are given, for the audit log."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name))


def person_of(ledger: Ledger, asked: Asked) -> Person:
    """Return whom to look for; e-mails and ids are hashed here and go no further in clear.

    Raises:
        AskedError: nothing was given, or something that can be nobody's identifier.
    """
    if not asked.kinds:
        raise AskedError("emails", "or another identifier must be given.")
    with ledger.read() as connection:
        sources = erasing.source_ids(connection)
    keyed = ledger.vault.keyed_hash
    users = [_text("external_ids", one) for one in asked.external_ids]
    devices = [_text("anonymous_ids", one) for one in asked.anonymous_ids]
    emails = [_email("emails", one) for one in asked.emails]
    emails += [_digest("email_hashes", one) for one in asked.email_hashes]
    ids = [_external_id("external_ids", one) for one in asked.external_ids]
    ids += [_digest("external_id_hashes", one) for one in asked.external_id_hashes]
    keys = [keyed("user", source, one) for source in sources for one in users]
    keys += [keyed("anonymous", source, one) for source in sources for one in devices]
    return Person(frozenset(emails), frozenset(ids), frozenset(keys))


def _email(field: str, given: str) -> str:
    if _SHA256.fullmatch(given.strip()):
        raise AskedError(field, "must be an e-mail address; a hash belongs with the hashes.")
    return _hashed(field, "em", given, "must be an e-mail address like kim@example.com.")


def _external_id(field: str, given: str) -> str:
    return _hashed(field, "external_id", given, "must be an id of 1 to 256 characters.")


def _digest(field: str, given: str) -> str:
    rule = "must be a SHA-256 of 64 hex digits, and not that of nothing."
    if not _SHA256.fullmatch(given.strip()):
        raise AskedError(field, rule)
    return _hashed(field, "em", given, rule)


def _hashed(field: str, kind: str, given: str, rule: str) -> str:
    digest = hash_value(kind, given)
    if digest is None:
        raise AskedError(field, rule)
    return digest


def _text(field: str, given: str) -> str:
    text = clean_text(given)
    if text is None:
        raise AskedError(field, "must be an id of 1 to 1,024 characters.")
    return text
