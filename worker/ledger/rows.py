"""Helpers that several parts of the ledger share."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Insert, Table
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
