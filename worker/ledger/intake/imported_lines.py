"""Remember by keyed hashes which lines of files were imported, so that none is imported twice."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, select

from worker.ledger.rows import chunks, insert_all
from worker.ledger.schema import taken_line


def find_imported_lines(connection: Connection, keys: Sequence[bytes]) -> set[bytes]:
    """Return the lines that were imported before."""
    known_keys: set[bytes] = set()
    for chunk in chunks(keys):
        known_keys.update(connection.scalars(select(taken_line.c.key).where(taken_line.c.key.in_(chunk))))
    return known_keys


def insert_imported_lines(connection: Connection, keys: Sequence[bytes], now: float) -> set[bytes]:
    """Mark lines as imported. Returns those that no other process had marked."""
    # Sorted, so that two writers lock the keys in the same order.
    rows = [{"key": key, "taken_at": now} for key in sorted(keys)]
    return {row.key for row in insert_all(connection, taken_line, rows, _unless_taken)}


def _unless_taken(new: Any) -> Any:
    return new.on_conflict_do_nothing(index_elements=["key"]).returning(taken_line.c.key)


def imported_lines_before(connection: Connection, before: float, limit: int) -> list[bytes]:
    """Return some of the lines imported before a time.

    May read the whole table, so do not call it inside a write.
    """
    return list(
        connection.scalars(select(taken_line.c.key).where(taken_line.c.taken_at < before).limit(limit))
    )


def delete_imported_lines(connection: Connection, keys: Sequence[bytes]) -> int:
    """Delete lines. Returns how many."""
    return connection.execute(delete(taken_line).where(taken_line.c.key.in_(keys))).rowcount
