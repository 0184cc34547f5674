"""Export, erase or suppress what is kept of one person, and record each request."""

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from worker.event.text import clean_text
from worker.event.times import iso
from worker.ledger.rows import iterate_pages
from worker.ledger.upkeep import person_rows as store_of_rows
from worker.ledger.upkeep import suppressed_persons as store
from worker.ledger.upkeep.suppressed_persons import PersonRequest
from worker.operations.caller import Caller
from worker.operations.errors import ConflictError, InvalidError
from worker.operations.person import erasing, exporting
from worker.operations.person.erasing import ErasureOptions, ErasureReport
from worker.pinterest.user_data.hashing import hash_value
from worker.pinterest.user_data.person_matching import KeyedPerson, Person

# Batches that are being sent settle within a request's deadline as a rule. The caller can repeat the erasure.
_WAIT_SECONDS = 10.0

# One person has fewer, and each costs a keyed hash for each source.
MOST_IDENTIFIERS = 20
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
# A request reads everything that is kept: one at a time is enough for a process.
_RUNNING = threading.Lock()
# More than a shop of any size gets in the years that they are kept.
_MOST_RECORDED = 1_000_000


@dataclass(frozen=True, slots=True)
class PersonIdentifiers:
    """Hold by what a person is known: hashed e-mails and ids, the ids in clear for the ledger's keys.

    ``kinds`` names the kinds of identifiers that were given, for the audit log.
    """

    kinds: tuple[str, ...]
    emails: frozenset[str]
    ids: frozenset[str]
    user_ids: tuple[str, ...]
    anonymous_ids: tuple[str, ...]


def read_request(**lists: Sequence[str]) -> PersonIdentifiers:
    """Read the identifiers of one person by their kinds. E-mails go no further in clear.

    Raises:
        InvalidError: nothing was given, or something that cannot be an identifier; it names the kind, not the value.
    """
    kinds = tuple(kind for kind in IDENTIFIER_KINDS if lists.get(kind))
    for kind in kinds:
        if len(lists[kind]) > MOST_IDENTIFIERS:
            raise InvalidError(kind, f"must be at most {MOST_IDENTIFIERS} identifiers.")
    if not kinds:
        raise InvalidError("emails", "must be given, or another identifier.")
    texts = {kind: tuple(_text(kind, identifier) for identifier in lists.get(kind, ())) for kind in _IN_CLEAR}
    hashes = {
        kind: [hash_one(kind, identifier) for identifier in lists.get(kind, ())]
        for kind, hash_one in _HASHED.items()
    }
    return PersonIdentifiers(
        kinds,
        frozenset(hashes["emails"] + hashes["email_hashes"]),
        frozenset(hashes["external_ids"] + hashes["external_id_hashes"]),
        texts["external_ids"],
        texts["anonymous_ids"],
    )


def erase_person(
    caller: Caller,
    request: PersonIdentifiers,
    *,
    dry_run: bool = False,
    wait_seconds: float = _WAIT_SECONDS,
    progress: Callable[[int], object] = lambda _rows: None,
) -> ErasureReport:
    """Erase what is kept of a person, in every state, and record it. Safe to repeat: it finds nothing more.

    It reads everything that is kept. ``wait_seconds`` bounds the wait for batches that are being sent; ``progress``
    is called with the number of rows after each step of the first round. A dry run only counts.

    Raises:
        ConflictError: another request about a person is running in this process.
    """
    with _one_at_a_time():
        person, proof = _find_person(caller, request), _proof_of(caller, request)
        options = ErasureOptions(caller.actor, request.kinds, proof, None, dry_run, wait_seconds)
        return erasing.erase_rows(caller.ledger, person, replace(options, progress=progress))


def suppress_person(
    caller: Caller, request: PersonIdentifiers, *, wait_seconds: float = _WAIT_SECONDS
) -> ErasureReport:
    """Erase a person, and keep new events of them out until they consent again. Safe to repeat.

    Their known accounts and devices are suppressed with the identifiers that were given.

    Raises:
        ConflictError: another request about a person is running in this process.
    """
    with _one_at_a_time():
        person, proof = _find_person(caller, request), _proof_of(caller, request)
        # First, so that an event that comes during the erasure is not kept.
        with caller.changing() as change:
            connection = change.connection
            number = store.add_request(connection, change.now, caller.actor, "suppress", proof, {})
            keys = {bytes.fromhex(key) for key in proof} | person.keys
            store.add_suppressions(connection, keys, change.now, number)
        options = ErasureOptions(caller.actor, request.kinds, proof, number, wait_seconds=wait_seconds)
        return erasing.erase_rows(caller.ledger, person, options)


def allow_person(caller: Caller, request: PersonIdentifiers) -> int:
    """End a person's suppression, because they consented again. Returns how many keys were suppressed."""
    person, proof = _find_person(caller, request), _proof_of(caller, request)
    with caller.changing() as change:
        keys = {bytes.fromhex(key) for key in proof} | person.keys
        numbers = {number for _, number in store.find_suppressions(change.connection, keys).values()}
        count = store.lift_suppressions(change.connection, numbers)
        if count:
            counts = {"suppressed_keys": count}
            store.add_request(change.connection, change.now, caller.actor, "allow", proof, counts)
            change.record(
                "person.allow", ", ".join(request.kinds), {name: [n, 0] for name, n in counts.items()}
            )
    return count


def export_person(caller: Caller, request: PersonIdentifiers) -> dict[str, Any]:
    """Return what is kept about a person as JSON, and record the request.

    Raises:
        ConflictError: another request about a person is running in this process.
    """
    with _one_at_a_time():
        person, proof = _find_person(caller, request), _proof_of(caller, request)
        options = ErasureOptions(caller.actor, request.kinds, proof, dry_run=True)
        report = erasing.erase_rows(caller.ledger, person, options)
        export = exporting.read_rows(caller.ledger, person, report.found, report.linked, report.parts)
        counts = {name: len(rows) for name, rows in export.items()} | {"unreadable": report.unreadable}
        with caller.changing() as change:
            keys = {bytes.fromhex(key) for key in proof} | person.keys
            is_suppressed = bool(store.find_suppressions(change.connection, keys))
            store.add_request(change.connection, change.now, caller.actor, "export", proof, counts)
            changes = {name: [None, n] for name, n in counts.items()}
            change.record("person.export", ", ".join(request.kinds), changes)
    return {
        "exported_at": iso(caller.now),
        "suppressed": is_suppressed,
        **export,
        "unreadable": report.unreadable,
    }


def list_requests(
    caller: Caller,
    limit: int,
    before_id: int | None = None,
    identifiers: PersonIdentifiers | None = None,
) -> list[PersonRequest]:
    """Return recorded requests, the newest first; with identifiers, only those that name one of them."""
    keys = None if identifiers is None else set(_proof_of(caller, identifiers))
    with caller.ledger.read() as connection:
        if keys is None:
            return store.newest_requests(connection, limit, before_id)
        requests = iterate_pages(
            lambda page_size, before: store.newest_requests(connection, page_size, before),
            lambda request: request.id,
            before_id,
        )
        return list(islice((request for request in requests if not keys.isdisjoint(request.keys)), limit))


def repeat_requests(caller: Caller, lines: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Carry out recorded requests that a restored copy of the ledger lacks; return how many of each kind.

    ``lines`` has the oldest first, with ``at``, ``kind`` and ``keys`` as `list_requests` returns them.

    Raises:
        InvalidError: a line is not a recorded request.
    """
    counts: Counter[str] = Counter()
    with _one_at_a_time():
        requests = [_read_recorded(number, line) for number, line in enumerate(lines, 1)]
        with caller.ledger.read() as connection:
            stored = {
                (request.at, request.kind) for request in store.newest_requests(connection, _MOST_RECORDED)
            }
        for request in requests:
            if (request.at, request.kind) not in stored:
                _repeat(caller, request)
                counts[request.kind] += 1
    return counts


def _read_recorded(number: int, line: Mapping[str, Any]) -> PersonRequest:
    try:
        keys = [bytes.fromhex(key).hex() for key in line["keys"]]
        at, kind, counts = float(line["at"]), str(line["kind"]), dict(line["counts"])
        return PersonRequest(0, at, str(line["actor"]), kind, keys, counts)
    except (KeyError, TypeError, ValueError):
        raise InvalidError(f"line {number}", "must be a line of the recorded requests.") from None


def _repeat(caller: Caller, request: PersonRequest) -> None:
    keys = frozenset(bytes.fromhex(key) for key in request.keys)
    with caller.changing() as change:
        connection = change.connection
        number = store.add_request(
            connection, request.at, request.actor, request.kind, request.keys, request.counts
        )
        if request.kind == "suppress":
            store.add_suppressions(connection, keys, request.at, number)
        elif request.kind in ("allow", store.CONSENT):
            suppressions = store.find_suppressions(connection, keys)
            store.lift_suppressions(connection, {request_id for _, request_id in suppressions.values()})
    if request.kind in ("erase", "suppress"):
        vault = caller.ledger.vault
        person = KeyedPerson(keys, lambda digest: store.identifier_key(vault, digest))
        suppression_id = number if request.kind == "suppress" else None
        options = ErasureOptions(caller.actor, ("recorded request",), tuple(request.keys), suppression_id)
        erasing.erase_rows(caller.ledger, person, options)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    if not _RUNNING.acquire(blocking=False):
        raise ConflictError("Another request about a person is running; wait for it to end, then try again.")
    try:
        yield
    finally:
        _RUNNING.release()


def count_rows(caller: Caller) -> int:
    """Count the rows that one round of an erasure reads."""
    with caller.ledger.read() as connection:
        return store_of_rows.count_personal_rows(connection)


def _find_person(caller: Caller, request: PersonIdentifiers) -> Person:
    """Return whom a request is about, with the keys that the ledger has for their ids."""
    with caller.ledger.read() as connection:
        sources = store_of_rows.known_source_ids(connection)
    keyed = caller.ledger.vault.keyed_hash
    keys = [keyed("user", source, user_id) for source in sources for user_id in request.user_ids]
    keys += [keyed("anonymous", source, device) for source in sources for device in request.anonymous_ids]
    return Person(request.emails, request.ids, frozenset(keys))


def _proof_of(caller: Caller, request: PersonIdentifiers) -> tuple[str, ...]:
    """Return the keyed hashes, in hex, of the identifiers of a request."""
    vault = caller.ledger.vault
    vault.prepare()
    keys = {store.identifier_key(vault, digest) for digest in request.emails | request.ids}
    if request.anonymous_ids:
        keys |= _find_person(caller, request).keys
    return tuple(sorted(key.hex() for key in keys))


def _email(kind: str, value: str) -> str:
    if _SHA256.fullmatch(value.strip()):
        raise InvalidError(kind, "must be an e-mail address; a hash belongs with the hashes.")
    return _hash(kind, "em", value, "must be an e-mail address like kim@example.com.")


def _external_id(kind: str, value: str) -> str:
    return _hash(kind, "external_id", value, "must be an id of 1 to 256 characters.")


def _digest(kind: str, value: str) -> str:
    is_digest = _SHA256.fullmatch(value.strip()) is not None
    return _hash(
        kind, "em", value if is_digest else "", "must be a SHA-256 of 64 hex digits, and not that of nothing."
    )


def _hash(kind: str, name: str, value: str, rule: str) -> str:
    digest = hash_value(name, value)
    if digest is None:
        raise InvalidError(kind, rule)
    return digest


def _text(kind: str, value: str) -> str:
    text = clean_text(value)
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
# The kinds of identifiers by which a person is found.
IDENTIFIER_KINDS = tuple(dict.fromkeys((*_HASHED, *_IN_CLEAR)))
