"""Provide statements on many rows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Table,
    any_,
    bindparam,
    func,
    or_,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

_T = TypeVar("_T")
_P = TypeVar("_P")

# Both databases refuse a larger number.
LARGEST_ID = 2**63 - 1
_ROWS_A_PAGE = 1_000
# SQLite accepts 32,766 parameters in a statement, PostgreSQL 65,535.
_IDS_A_STATEMENT = 5_000


def upsert(connection: Connection, table: Table) -> Any:
    """Return an insert with ON CONFLICT in the dialect of the connection."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(table)


def is_among(connection: Connection, column: Column[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    """Return the condition that a column has one of many values. PostgreSQL gets one array.

    As single parameters, the client would parse and the server plan them again for each number of values.
    """
    if connection.dialect.name == "sqlite":
        return column.in_(values)
    array = bindparam(None, list(values), type_=postgresql.ARRAY(column.type))
    one_of: ColumnElement[bool] = column == any_(array)
    return one_of


# No wait, not even one that Pinterest wants, and no lease lasts longer, not even if the clock steps back by two hours.
LONGEST_WAIT_SECONDS = 14_400.0


def has_passed(until: ColumnElement[Any], now: Any) -> ColumnElement[bool]:
    """Return the condition that a time is over, or was written by a clock that was far ahead."""
    return or_(until <= now, until > now + LONGEST_WAIT_SECONDS)


def chunks(items: Sequence[_T], size: int = _IDS_A_STATEMENT) -> Iterator[Sequence[_T]]:
    """Split a sequence into pieces that fit into one statement."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def iterate_pages(
    page: Callable[[int, _P], Sequence[_T]], position: Callable[[_T], _P], start: _P
) -> Iterator[_T]:
    """Yield every row of a paged list. ``page`` takes a limit and the last position."""
    after = start
    while True:
        rows = page(_ROWS_A_PAGE, after)
        yield from rows
        if len(rows) < _ROWS_A_PAGE:
            return
        after = position(rows[-1])


def _as_it_is(statement: Any) -> Any:
    return statement


def insert_all(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    finish: Callable[[Any], Any] = _as_it_is,
) -> Sequence[Any]:
    """Insert many rows with one statement and return its result. Empty ``rows`` are allowed.

    ``finish`` adds ON CONFLICT and RETURNING. It is called once per table; the statement is cached. Rows have the
    same columns and are inserted in the order given.
    """
    if not rows:
        return []
    if connection.dialect.name == "sqlite":
        result = connection.execute(_of_each(sqlite.insert, table, finish), [dict(row) for row in rows])
    elif len(rows) == 1:
        # Making an array for each column takes longer than the rest of the statement.
        result = connection.execute(_of_each(postgresql.insert, table, finish), dict(rows[0]))
    else:
        names = tuple(rows[0])
        arrays = {_array(name): _alike(table.c[name], rows) for name in names}
        result = connection.execute(_from_arrays(table, names, finish), arrays)
    return result.all() if result.returns_rows else []


# Building a statement takes longer than PostgreSQL needs to run it.
@cache
def _of_each(insert: Callable[[Table], Any], table: Table, finish: Callable[[Any], Any]) -> Any:
    return finish(insert(table).inline())


@cache
def _from_arrays(table: Table, names: tuple[str, ...], finish: Callable[[Any], Any]) -> Any:
    """Insert from one array per column.

    With a parameter per value, 500 rows make a statement of 250 kB, which client and server parse each time: three
    times the work.
    """
    arrays = [bindparam(_array(name), type_=postgresql.ARRAY(table.c[name].type)) for name in names]
    new = func.unnest(*arrays).table_valued(*names, with_ordinality="place", name="new").render_derived()
    values = select(*(new.c[name] for name in names)).order_by(new.c.place)
    return finish(postgresql.insert(table).from_select(names, values))


def _array(name: str) -> str:
    # A parameter with the name of a column would be taken for its value.
    return f"all_{name}"


def _alike(column: Column[Any], rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Return a column's values with one type, as an array requires. A time may be a whole number."""
    kind = column.type.python_type
    values = [row[column.name] for row in rows]
    return [value if value is None or type(value) is kind else kind(value) for value in values]
