"""Kept sums of the shop's orders are exact, whatever happens to the orders and their deliveries afterwards."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.ledger.delivery.test_batches import Sending
from tests.ledger.reports.test_shop_orders import DAY, key, order, store
from tests.ledger.shop import NOW, new, write
from worker.ledger.database import Ledger
from worker.ledger.delivery import failures
from worker.ledger.reports import order_days, shop_orders
from worker.ledger.reports.shop_orders import Fate
from worker.ledger.schema import State, integration, order_day
from worker.pipeline.upkeep import purging

HOUR = 3_600.0
FAILED = {"state": State.FAILED, "reason_class": "missing_value", "reason": "No value."}


@pytest.fixture
def kept(ledger: Ledger) -> Sending:
    """Keep a day with orders of every fate, long after all of it happened."""
    sending = Sending(ledger, order_key=key(ledger, "delivered"))
    store(ledger, *map(order, ("delivered", "failed", "filtered", "never")))
    sending.settle(sending.start())
    write(ledger, [new(ledger, sending.shop, "f", order_key=key(ledger, "failed"), **FAILED)])
    filtered = new(ledger, sending.shop, "c", order_key=key(ledger, "filtered"), state=State.FILTERED)
    write(ledger, [filtered])
    assert purging.sum_order_days(ledger, NOW + HOUR) == 1
    assert days(ledger) == [DAY]
    return sending


def days(ledger: Ledger, first: int = DAY, last: int = DAY) -> list[int]:
    with ledger.read() as connection:
        return sorted(order_days.known_days(connection, first, last))


def reported(ledger: Ledger) -> tuple[Any, Any]:
    with ledger.snapshot() as connection:
        sums = shop_orders.sum_orders(connection, DAY - 3, DAY + 1)
        fates = set(Fate) - {Fate.DELIVERED}
        missing = shop_orders.undelivered_orders(connection, ledger.vault, (DAY - 3, DAY + 1), fates, 100)
    return sums, missing


def insert(name: str, event_id: str = "later", **changes: Any) -> Callable[[Sending], None]:
    def happens(sending: Sending) -> None:
        ledger = sending.ledger
        write(ledger, [new(ledger, sending.shop, event_id, order_key=key(ledger, name), **changes)], LATER)

    return happens


LATER = NOW + 2 * HOUR


def retry(sending: Sending) -> None:
    with sending.ledger.write() as connection:
        found = failures.failed_after(connection, failures.FailureFilter(), 10)
        failures.retry_deliveries(connection, found, LATER, "kim")


def erase(sending: Sending) -> None:
    with sending.ledger.write() as connection:
        shop_orders.purge_orders(connection, NOW + 1, 1)


def switch_off(sending: Sending) -> None:
    with sending.ledger.write() as connection:
        connection.execute(update(integration).values(enabled=False))


def change_order(sending: Sending) -> None:
    with sending.ledger.write() as connection:
        shop_orders.store_orders(connection, sending.ledger.vault, [order("never", value=5)], LATER)


def add_order(sending: Sending) -> None:
    with sending.ledger.write() as connection:
        shop_orders.store_orders(connection, sending.ledger.vault, [order("another")], LATER)


@pytest.mark.parametrize(
    "happens",
    [
        insert("never"),
        insert("never", **FAILED),
        insert("filtered", state=State.DROPPED),
        insert("failed", "other", state=State.FILTERED),
        retry,
        erase,
        switch_off,
        change_order,
        add_order,
    ],
    ids=["arrives", "fails", "dropped", "filtered", "retried", "deleted", "switched off", "changed", "added"],
)
def test_whatever_happens_to_a_kept_day_is_reported_at_once_and_exactly(
    kept: Sending, happens: Callable[[Sending], None]
) -> None:
    ledger, before = kept.ledger, reported(kept.ledger)
    with ledger.read() as connection:
        assert order_days.known_days(connection, DAY, DAY)
    happens(kept)
    at_once = reported(ledger)
    with ledger.write() as connection:
        connection.execute(order_day.delete())
    assert at_once == reported(ledger)
    assert at_once != before or happens.__qualname__.startswith("insert")


def test_a_kept_day_reports_the_same_as_its_orders(kept: Sending) -> None:
    ledger, of_kept = kept.ledger, reported(kept.ledger)
    assert {(one.fate, one.n) for one in of_kept[0]} == {
        (Fate.DELIVERED, 1),
        (Fate.FAILED, 1),
        (Fate.FILTERED, 1),
        (Fate.NEVER_ARRIVED, 1),
    }
    with ledger.write() as connection:
        connection.execute(order_day.delete())
    assert of_kept == reported(ledger)


def test_a_day_that_changes_is_not_kept_until_it_has_settled(kept: Sending) -> None:
    ledger = kept.ledger
    insert("never")(kept)
    assert days(ledger) == []
    purging.sum_order_days(ledger, LATER)
    with ledger.read() as connection:
        assert DAY not in set(connection.scalars(select(order_day.c.day)))
    # It is pending still, however long.
    purging.sum_order_days(ledger, LATER + 24 * HOUR)
    assert days(ledger) == []


def test_sums_that_were_read_before_an_order_was_deleted_are_not_kept(kept: Sending) -> None:
    ledger = kept.ledger
    with ledger.read() as connection:
        seen = order_days.version(connection)
    known = order_days.KnownDay([], {})
    erase(kept)
    with ledger.write() as connection:
        assert not order_days.keep_day(connection, DAY, known, seen)
    with ledger.read() as connection:
        seen = order_days.version(connection)
    with ledger.write() as connection:
        assert order_days.keep_day(connection, DAY, known, seen)


@pytest.mark.parametrize(
    ("known", "ranges"),
    [
        ([], [(1, 5)]),
        ([1, 2, 3, 4, 5], []),
        ([2], [(1, 1), (3, 5)]),
        ([1, 5], [(2, 4)]),
        ([3, 9], [(1, 2), (4, 5)]),
    ],
)
def test_days_that_are_not_known_are_read_in_ranges(known: list[int], ranges: list[tuple[int, int]]) -> None:
    assert order_days.other_days(known, 1, 5) == ranges
