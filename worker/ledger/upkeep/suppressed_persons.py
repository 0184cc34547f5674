"""Store persons' requests about their data, and whose events are suppressed, by keyed hashes."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, insert, literal, or_, select, update

from worker.ledger.rows import chunks, insert_all, is_among
from worker.ledger.schema import person_request, suppression
from worker.ledger.vault import Vault
from worker.retention import SPOOLED_SECONDS

CONSENT, _ERASE = "consent", "erase"


@dataclass(frozen=True, slots=True)
class PersonRequest:
    """Hold one request as proof: who did what and when, for whom by keyed hashes, and the figures."""

    id: int
    at: float
    actor: str
    kind: str
    keys: list[str]
    counts: dict[str, int]


def identifier_key(vault: Vault, digest: str) -> bytes:
    """Return the keyed hash of an identifier, given as the SHA-256 that Pinterest would receive."""
    return vault.keyed_hash("identifier", digest)


def public_key(vault: Vault, key: bytes) -> bytes:
    """Return the key under which an account or a device is suppressed for public events alone.

    Only public calls link it to the person, and anyone can send those.
    """
    return vault.keyed_hash("public calls", key.hex())


def any_suppressed(connection: Connection, earliest: float) -> bool:
    """Return whether anyone is suppressed, or was erased after the time at which the earliest event came."""
    concerns = or_(suppression.c.since > earliest, suppression.c.request_id.not_in(_erasures()))
    query = select(literal(1)).select_from(suppression).where(concerns)
    return connection.scalar(query.limit(1)) is not None


def find_suppressions(connection: Connection, keys: Collection[bytes]) -> dict[bytes, tuple[float, int]]:
    """Return which keys are suppressed: since when, and the id of the request."""
    return _find(connection, keys, suppression.c.request_id.not_in(_erasures()))


def find_erasures(connection: Connection, keys: Collection[bytes]) -> dict[bytes, float]:
    """Return which keys were erased, and when; only events that came before are not kept."""
    erasures = _find(connection, keys, suppression.c.request_id.in_(_erasures()))
    return {key: at for key, (at, _) in erasures.items()}


def _erasures() -> Any:
    return select(person_request.c.id).where(person_request.c.kind == _ERASE)


def _find(
    connection: Connection, keys: Collection[bytes], of_kind: ColumnElement[bool]
) -> dict[bytes, tuple[float, int]]:
    by_key: dict[bytes, tuple[float, int]] = {}
    for chunk in chunks(sorted(keys)):
        query = select(suppression).where(is_among(connection, suppression.c.key, chunk), of_kind)
        by_key.update({row.key: (row.since, row.request_id) for row in connection.execute(query)})
    return by_key


def add_suppressions(connection: Connection, keys: Iterable[bytes], since: float, request_id: int) -> None:
    """Suppress keys. A key that is suppressed already belongs to the new request."""
    rows = [{"key": key, "since": since, "request_id": request_id} for key in sorted(keys)]
    insert_all(connection, suppression, rows, _instead)


def add_erasure(connection: Connection, keys: Collection[bytes], at: float, request_id: int) -> None:
    """Keep out events that came before an erasure and are not in the ledger yet. A suppression keeps out more."""
    add_suppressions(connection, set(keys) - find_suppressions(connection, keys).keys(), at, request_id)


def _instead(new: Any) -> Any:
    values = {name: new.excluded[name] for name in ("since", "request_id")}
    return new.on_conflict_do_update(index_elements=["key"], set_=values)


def lift_suppressions(connection: Connection, request_ids: Collection[int]) -> int:
    """End the suppressions of some requests. Returns how many keys they had."""
    return connection.execute(delete(suppression).where(suppression.c.request_id.in_(request_ids))).rowcount


def add_request(
    connection: Connection, at: float, actor: str, kind: str, keys: Iterable[str], counts: Mapping[str, int]
) -> int:
    """Store a request; return its id."""
    values = {"at": at, "actor": actor, "kind": kind, "keys": sorted(keys), "counts": dict(counts)}
    result = connection.execute(insert(person_request).values(values).returning(person_request.c.id))
    return int(result.scalar_one())


def complete_request(connection: Connection, request_id: int, counts: Mapping[str, int]) -> None:
    """Add the figures of a request to its row."""
    statement = update(person_request).where(person_request.c.id == request_id)
    connection.execute(statement.values(counts=dict(counts)))


def newest_requests(connection: Connection, limit: int, before_id: int | None = None) -> list[PersonRequest]:
    """Return requests, the newest first."""
    query = select(person_request).order_by(person_request.c.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(person_request.c.id < before_id)
    return [PersonRequest(*row) for row in connection.execute(query)]


def drop_past_erasures(connection: Connection, now: float) -> None:
    """Delete what keeps out events from before an erasure, once no spool can hold one. Suppressions remain."""
    of_erasures = suppression.c.request_id.in_(_erasures())
    connection.execute(delete(suppression).where(of_erasures, suppression.c.since < now - SPOOLED_SECONDS))
