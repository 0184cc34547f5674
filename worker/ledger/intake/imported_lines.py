"""Remember which lines of files were taken, by keyed hashes, so that none is taken twice."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, select

from worker.ledger.rows import chunks, insert_all
from worker.ledger.schema import taken_line


def find_imported_lines(connection: Connection, keys: Sequence[bytes]) -> set[bytes]:
    """Return those of the lines that were taken before."""
    found: set[bytes] = set()
    for some in chunks(keys):
        found.update(connection.scalars(select(taken_line.c.key).where(taken_line.c.key.in_(some))))
    return found


def insert_imported_lines(connection: Connection, keys: Sequence[bytes], now: float) -> set[bytes]:
    """Note lines as taken; return those that nobody else had taken."""
    # Sorted, so that two writers wait for each other in the same order.
    rows = [{"key": key, "taken_at": now} for key in sorted(keys)]
    return {row.key for row in insert_all(connection, taken_line, rows, _unless_taken)}


def _unless_taken(new: Any) -> Any:
    return new.on_conflict_do_nothing(index_elements=["key"]).returning(taken_line.c.key)


def imported_lines_before(connection: Connection, before: float, most: int) -> list[bytes]:
    """Return some of the lines that were taken before a time.

    Where there are few this reads all of them, so that it has no place inside a write.
    """
    return list(
        connection.scalars(select(taken_line.c.key).where(taken_line.c.taken_at < before).limit(most))
    )


def delete_imported_lines(connection: Connection, keys: Sequence[bytes]) -> int:
    """Forget lines; return how many."""
    return connection.execute(delete(taken_line).where(taken_line.c.key.in_(keys))).rowcount
