"""Helpers that several parts of the ledger share."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Column, ColumnElement, Connection, Insert, Table, delete, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

T = TypeVar("T")

# SQLite takes 32,766 parameters in a statement, PostgreSQL 65,535.
IDS_A_STATEMENT = 5_000


def upsert(connection: Connection, table: Table) -> Any:
    """Return an insert that knows ON CONFLICT, in the dialect of the connection."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(table)


def chunks(items: Sequence[T], size: int = IDS_A_STATEMENT) -> Iterator[Sequence[T]]:
    """Cut a sequence into pieces that fit into one statement."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def insert_all(connection: Connection, statement: Insert, rows: Sequence[dict[str, Any]]) -> None:
    """Run one insert for many rows; none at all is no error."""
    if rows:
        connection.execute(statement, rows)


def fold(
    connection: Connection,
    table: Table,
    keys: Sequence[Column[Any]],
    sums: Sequence[Column[Any]],
    which: ColumnElement[bool],
    most_groups: int,
) -> int:
    """Replace rows that are alike in their keys by one with their sums; return how many rows that saved."""
    crowded = (
        select(*keys, func.max(table.c.id).label("last"))
        .where(which)
        .group_by(*keys)
        .having(func.count() > 1)
        .limit(most_groups)
    )
    saved = 0
    for row in connection.execute(crowded).all():
        these = [key == value for key, value in zip(keys, row, strict=False)] + [table.c.id <= row.last]
        removed = connection.execute(delete(table).where(*these).returning(*sums)).all()
        # None where another process folded them in the meantime.
        if removed:
            values = dict(zip((key.name for key in keys), row, strict=False))
            summed = {
                column.name: sum(values)
                for column, values in zip(sums, zip(*removed, strict=True), strict=True)
            }
            connection.execute(insert(table).values(**values, **summed))
            saved += len(removed) - 1
    return saved
