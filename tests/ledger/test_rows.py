"""One statement inserts many rows, with the same result on both databases."""

from enum import StrEnum
from typing import Any

import pytest
from sqlalchemy import event, select

from worker.ledger.database import Ledger
from worker.ledger.rows import insert_all, is_among
from worker.ledger.schema import tally, visitor


class Word(StrEnum):
    FAILED = "failed"


def counted(outcome: str, **changes: Any) -> dict[str, Any]:
    base = {"hour": 1, "source_id": "src", "integration_id": 0, "event_name": "", "outcome": outcome, "n": 1}
    return base | changes


def test_values_of_a_column_may_differ_in_type(ledger: Ledger) -> None:
    rows: list[dict[str, Any]] = [counted("a", n=2**40), counted(Word.FAILED, n=True), counted("größer 🐘")]
    with ledger.write() as connection:
        assert insert_all(connection, tally, rows) == []
        found = connection.execute(select(tally.c.outcome, tally.c.n).order_by(tally.c.id)).all()
    assert found == [("a", 2**40), ("failed", 1), ("größer 🐘", 1)]


def test_whole_numbers_and_fractions_share_a_column_and_bytes_stay_as_they_are(ledger: Ledger) -> None:
    bodies = [b"", b"\\x00", b'{"a",NULL}', bytes(range(256))]
    times = [1, 1.5, 2, 2.5]
    rows = [
        {"key": bytes([number]), "body": body, "version": 1, "updated_at": at}
        for number, (body, at) in enumerate(zip(bodies, times, strict=True))
    ]
    with ledger.write() as connection:
        insert_all(connection, visitor, rows)
        found = connection.execute(select(visitor.c.body, visitor.c.updated_at).order_by(visitor.c.key)).all()
    assert found == list(zip(bodies, map(float, times), strict=True))


@pytest.mark.parametrize("count", [1, 2, 500])
@pytest.mark.parametrize("body", [b"", b'{"a",NULL}', b"x" * 300])
def test_columns_with_the_same_value_in_each_row_keep_it(ledger: Ledger, count: int, body: bytes) -> None:
    rows = [
        {"key": number.to_bytes(2, "big"), "body": body, "version": 1, "updated_at": 1.5}
        for number in range(count)
    ]
    with ledger.write() as connection:
        insert_all(connection, visitor, rows)
        found = connection.execute(select(visitor.c.body, visitor.c.version, visitor.c.updated_at)).all()
    assert found == [(body, 1, 1.5)] * count


@pytest.mark.services
@pytest.mark.parametrize("array", [[7] * 3, [None, 7], [2**40] * 2, [True, True], ["é"] * 2, [["a"], ["a"]]])
def test_postgresql_gets_an_array_as_it_is(shared_postgresql: Ledger, array: list[Any]) -> None:
    with shared_postgresql.read() as connection:
        cursor: Any = connection.connection.cursor()
        assert cursor.execute("SELECT %s", (array,)).fetchone() == (array,)


def test_only_inserted_rows_are_returned(ledger: Ledger) -> None:
    def row(key: bytes) -> dict[str, Any]:
        return {"key": key, "body": b"", "version": 1, "updated_at": 0.0}

    def once(new: Any) -> Any:
        return new.on_conflict_do_nothing(index_elements=["key"]).returning(visitor.c.key)

    with ledger.write() as connection:
        insert_all(connection, visitor, [row(b"there")])
        told = insert_all(connection, visitor, [row(b"there"), row(b"new")], once)
    assert [one.key for one in told] == [b"new"]


def test_no_rows_make_no_query(ledger: Ledger) -> None:
    with ledger.write() as connection:
        assert insert_all(connection, tally, []) == []


def test_on_a_server_the_statement_for_a_thousand_rows_is_as_short_as_for_two(ledger: Ledger) -> None:
    """With a parameter per value, client and server would parse the statement for every bulk.

    One row is different: it has a parameter per value, because arrays of one value cost more.
    """
    said: list[str] = []
    event.listen(
        ledger.write_engine,
        "before_cursor_execute",
        lambda _c, _cursor, statement, *_: said.append(statement),
    )
    with ledger.write() as connection:
        for count in (1, 2, 1_000):
            insert_all(connection, tally, [counted("a", n=number) for number in range(count)])
    (_, *several) = [one for one in said if "INSERT" in one]
    assert len(set(several)) == 1


@pytest.mark.services
def test_postgresql_gets_the_same_statement_for_any_number_of_values(shared_postgresql: Ledger) -> None:
    """The server keeps the plan of a known statement, and the client has nothing to parse."""
    seen: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(shared_postgresql.write_engine, "before_cursor_execute", note)
    try:
        with shared_postgresql.write() as connection:
            for keys in ([], [b"a"], [bytes([n]) for n in range(200)]):
                connection.execute(select(visitor.c.key).where(is_among(connection, visitor.c.key, keys)))
    finally:
        event.remove(shared_postgresql.write_engine, "before_cursor_execute", note)
    assert (len(seen), len(set(seen))) == (3, 1)


@pytest.mark.parametrize(("wanted", "found"), [([b"a", b"c", b"z"], [b"a", b"c"]), ([], [])])
def test_rows_are_found_by_one_of_many_values(
    ledger: Ledger, wanted: list[bytes], found: list[bytes]
) -> None:
    rows = [{"key": key, "body": b"", "version": 1, "updated_at": 0.0} for key in (b"a", b"b", b"c")]
    with ledger.write() as connection:
        insert_all(connection, visitor, rows)
        these = (
            select(visitor.c.key).where(is_among(connection, visitor.c.key, wanted)).order_by(visitor.c.key)
        )
        assert list(connection.scalars(these)) == found
