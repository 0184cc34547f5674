"""Store visitors' data, sealed, under keyed hashes of their ids."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, select, text, update

from worker.ledger.rows import chunks, insert_all, is_among
from worker.ledger.schema import visitor

BODY = b"visitor"


class VersionConflictError(Exception):
    """Another process wrote the same visitor meanwhile: read again and repeat."""


@dataclass(frozen=True, slots=True)
class StoredVisitor:
    """Hold a visitor's sealed body and the version that a writer must have read."""

    body: bytes
    version: int


def load_visitors(connection: Connection, keys: Iterable[bytes]) -> dict[bytes, StoredVisitor]:
    """Return the stored visitors by key."""
    by_key: dict[bytes, StoredVisitor] = {}
    for chunk in chunks(list(keys)):
        query = select(visitor.c.key, visitor.c.body, visitor.c.version).where(
            is_among(connection, visitor.c.key, chunk)
        )
        by_key.update({key: StoredVisitor(body, version) for key, body, version in connection.execute(query)})
    return by_key


def save_visitors(connection: Connection, visitors: Mapping[bytes, StoredVisitor], now: float) -> None:
    """Write visitors, each with the version that was read (0 if there was none).

    Raises:
        VersionConflictError: a version has changed; roll the transaction back.
    """
    if not visitors:
        return
    _hold(connection, [key for key, stored in visitors.items() if stored.version])
    # Sorted, so that two writers lock the same rows in the same order.
    rows = [
        {"key": key, "body": stored.body, "version": stored.version + 1, "updated_at": now}
        for key, stored in sorted(visitors.items(), key=lambda item: item[0])
    ]
    # Counts returned rows: a driver does not count what many inserts wrote.
    returned = insert_all(connection, visitor, rows, _over_what_was_seen)
    if len(returned) != len(rows):
        raise VersionConflictError


def _over_what_was_seen(new: Any) -> Any:
    seen = new.on_conflict_do_update(
        index_elements=[visitor.c.key],
        set_={name: new.excluded[name] for name in ("body", "version", "updated_at")},
        where=visitor.c.version == new.excluded.version - text("1"),
    )
    return seen.returning(visitor.c.key)


def _hold(connection: Connection, keys: Sequence[bytes]) -> None:
    """Lock stored visitors. One that was deleted meanwhile must not be written again."""
    for chunk in chunks(sorted(keys)):
        lock = select(visitor.c.key).where(is_among(connection, visitor.c.key, chunk)).order_by(visitor.c.key)
        if len(connection.execute(lock.with_for_update()).all()) != len(chunk):
            raise VersionConflictError


def delete_visitors(connection: Connection, keys: Iterable[bytes]) -> int:
    """Delete visitors. Returns how many."""
    return connection.execute(delete(visitor).where(visitor.c.key.in_(list(keys)))).rowcount


def replace_visitor(connection: Connection, key: bytes, old: bytes, new: bytes) -> None:
    """Replace a visitor's sealed body, unless it has changed meanwhile."""
    is_same = (visitor.c.key == key) & (visitor.c.body == old)
    connection.execute(update(visitor).where(is_same).values(body=new, version=visitor.c.version + 1))
