"""Erase what is kept of one person."""

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from worker.event.text import clean_text
from worker.ledger.upkeep import erasure as store
from worker.operations.caller import Caller
from worker.operations.erasure import erasing
from worker.operations.erasure.erasing import ErasureOptions, ErasureReport
from worker.operations.errors import ConflictError, InvalidError
from worker.pinterest.user_data.hashing import hash_value
from worker.pinterest.user_data.person import Person

# Batches that are being sent settle within a request's deadline as a rule. The caller can repeat the erasure.
_WAIT_SECONDS = 10.0

_KINDS = ("emails", "email_hashes", "external_ids", "external_id_hashes", "anonymous_ids")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
# An erasure reads everything that is kept: one at a time is enough for a process.
_RUNNING = threading.Lock()


@dataclass(frozen=True, slots=True)
class ErasureRequest:
    """Hold by what a person is known: hashed e-mails and ids, the ids in clear for the ledger's keys.

    ``kinds`` names the kinds of identifiers that were given, for the audit log.
    """

    kinds: tuple[str, ...]
    emails: frozenset[str]
    ids: frozenset[str]
    user_ids: tuple[str, ...]
    anonymous_ids: tuple[str, ...]


def read_request(**given: Sequence[str]) -> ErasureRequest:
    """Read the identifiers of one person by their kinds, see `KINDS`. E-mails go no further in clear.

    Raises:
        InvalidError: nothing was given, or something that cannot be an identifier; it names the kind, not the value.
    """
    kinds = tuple(kind for kind in _KINDS if given.get(kind))
    if not kinds:
        raise InvalidError("emails", "or another identifier must be given.")
    texts = {kind: tuple(_text(kind, one) for one in given.get(kind, ())) for kind in _IN_CLEAR}
    hashes = {
        kind: [hash_one(kind, one) for one in given.get(kind, ())] for kind, hash_one in _HASHED.items()
    }
    return ErasureRequest(
        kinds,
        frozenset(hashes["emails"] + hashes["email_hashes"]),
        frozenset(hashes["external_ids"] + hashes["external_id_hashes"]),
        texts["external_ids"],
        texts["anonymous_ids"],
    )


def erase_person(
    caller: Caller,
    request: ErasureRequest,
    *,
    dry_run: bool = False,
    wait_seconds: float = _WAIT_SECONDS,
    progress: Callable[[int], object] = lambda _rows: None,
) -> ErasureReport:
    """Erase what is kept of a person, in every state, and record it. Safe to repeat: it finds nothing more.

    It reads everything that is kept. ``wait_seconds`` bounds the wait for batches that are being sent; ``progress``
    is called with the number of rows after each step of the first round. A dry run only counts.

    Raises:
        ConflictError: another erasure is running in this process.
    """
    if not _RUNNING.acquire(blocking=False):
        raise ConflictError("Another erasure is running; wait for it to end, then ask again.")
    try:
        options = ErasureOptions(caller.actor, request.kinds, dry_run, wait_seconds, progress=progress)
        return erasing.erase_rows(caller.ledger, find_person(caller, request), options)
    finally:
        _RUNNING.release()


def count_rows(caller: Caller) -> int:
    """Count the rows that one round of an erasure reads."""
    with caller.ledger.read() as connection:
        return store.count_personal_rows(connection)


def find_person(caller: Caller, request: ErasureRequest) -> Person:
    """Return whom an erasure looks for, with the keys that the ledger has for their ids."""
    with caller.ledger.read() as connection:
        sources = store.known_source_ids(connection)
    keyed = caller.ledger.vault.keyed_hash
    keys = [keyed("user", source, user_id) for source in sources for user_id in request.user_ids]
    keys += [keyed("anonymous", source, device) for source in sources for device in request.anonymous_ids]
    return Person(request.emails, request.ids, frozenset(keys))


def _email(kind: str, given: str) -> str:
    if _SHA256.fullmatch(given.strip()):
        raise InvalidError(kind, "must be an e-mail address; a hash belongs with the hashes.")
    return _hash(kind, "em", given, "must be an e-mail address like kim@example.com.")


def _external_id(kind: str, given: str) -> str:
    return _hash(kind, "external_id", given, "must be an id of 1 to 256 characters.")


def _digest(kind: str, given: str) -> str:
    is_digest = _SHA256.fullmatch(given.strip()) is not None
    return _hash(
        kind, "em", given if is_digest else "", "must be a SHA-256 of 64 hex digits, and not that of nothing."
    )


def _hash(kind: str, name: str, given: str, rule: str) -> str:
    digest = hash_value(name, given)
    if digest is None:
        raise InvalidError(kind, rule)
    return digest


def _text(kind: str, given: str) -> str:
    text = clean_text(given)
    if text is None:
        raise InvalidError(kind, "must be an id of 1 to 1,024 characters.")
    return text


_IN_CLEAR = ("external_ids", "anonymous_ids")
_HASHED = {
    "emails": _email,
    "email_hashes": _digest,
    "external_ids": _external_id,
    "external_id_hashes": _digest,
}
