"""At most one copy of an event is pending or sent."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import select

from tests.ledger.shop import ACCOUNT, new, place, stand, write
from worker.ledger.database import Ledger
from worker.ledger.reports import measures, sales_by_day
from worker.ledger.schema import State, delivery


def rows(ledger: Ledger, *columns: Any) -> list[Any]:
    with ledger.read() as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(delivery.c.id))]


def test_a_second_copy_in_one_bulk_is_a_duplicate_without_a_payload(ledger: Ledger) -> None:
    shop = place(ledger)
    twice = [new(ledger, shop, "e1", source_name="first"), new(ledger, shop, "e1", source_name="second")]
    assert write(ledger, twice) == {"created": 2, "duplicate": 1}
    kept = {
        name: (state, payload is None)
        for name, state, payload in rows(ledger, delivery.c.source_name, delivery.c.state, delivery.c.payload)
    }
    assert kept == {"first": (State.OPEN, False), "second": (State.DUPLICATE, True)}
    assert stand(ledger) == {"pending": 1, "duplicate": 1}


def test_a_second_copy_in_a_later_bulk_is_a_duplicate(ledger: Ledger) -> None:
    shop = place(ledger)
    write(ledger, [new(ledger, shop, "e1")])
    assert write(ledger, [new(ledger, shop, "e1"), new(ledger, shop, "e2")]) == {"created": 2, "duplicate": 1}
    assert stand(ledger) == {"pending": 2, "duplicate": 1}


@pytest.mark.parametrize(
    "changed",
    [{"event_name": "signup"}, {"test": True}, {"event_id": "e2"}],
    ids=lambda changed: next(iter(changed)),
)
def test_another_key_is_another_event(ledger: Ledger, changed: dict[str, Any]) -> None:
    shop = place(ledger)
    write(ledger, [new(ledger, shop, "e1")])
    write(ledger, [new(ledger, shop, **({"event_id": "e1"} | changed))])
    assert stand(ledger) == {"pending": 2}


def test_two_integrations_of_one_ad_account_send_an_event_once(ledger: Ledger) -> None:
    first, second = place(ledger, "src_a"), place(ledger, "src_b")
    other = place(ledger, "src_c", ad_account_id="111")
    write(ledger, [new(ledger, one, "e1") for one in (first, second, other)])
    assert stand(ledger) == {"pending": 2, "duplicate": 1}


@pytest.mark.parametrize("state", [State.FAILED, State.FILTERED, State.DROPPED])
def test_a_corrected_copy_of_an_unsent_event_is_no_duplicate(ledger: Ledger, state: State) -> None:
    shop = place(ledger)
    write(ledger, [new(ledger, shop, "e1", state=state, reason_class="r", reason="r")] * 2)
    write(ledger, [new(ledger, shop, "e1")])
    assert {"pending": 1, state.name.lower(): 2} == stand(ledger)


def test_bulks_that_share_events_in_any_order_do_not_deadlock(ledger: Ledger) -> None:
    """Workers write the same events; each event is pending once, and none is lost."""
    shop = place(ledger)
    dice = random.Random(7)
    together = Barrier(4)
    bulks = []
    for _ in range(4):
        wanted = [new(ledger, shop, f"e{number}", payload=b"x") for number in range(120)]
        dice.shuffle(wanted)
        bulks.append(wanted)

    def run(wanted: list[Any]) -> Counter[str]:
        together.wait()
        done: Counter[str] = Counter()
        for start in range(0, len(wanted), 30):
            done.update(write(ledger, wanted[start : start + 30]))
        return done

    with ThreadPoolExecutor(4) as pool:
        done = sum(pool.map(run, bulks), Counter())
    assert dict(done) == {"created": 480, "duplicate": 360}
    assert stand(ledger) == {"pending": 120, "duplicate": 360}


def test_more_than_a_thousand_are_inserted_at_once(ledger: Ledger) -> None:
    shop = place(ledger)
    write(ledger, [new(ledger, shop, f"e{number}", payload=b"x") for number in range(2_500)])
    assert stand(ledger) == {"pending": 2_500}
    assert {ACCOUNT} == {shop.ad_account_id}


def test_writing_nothing_is_no_error(ledger: Ledger) -> None:
    assert write(ledger, []) == {}


def test_only_a_dated_refund_that_is_no_test_is_subtracted_from_the_sales(ledger: Ledger) -> None:
    shop = place(ledger)
    refund = {"state": State.DROPPED, "reason_class": sales_by_day.REFUND, "day": 20_000, "currency": "EUR"}
    paid_back = refund | {"value_thousandths": 5_000}
    write(
        ledger,
        [
            new(ledger, shop, "refund", **paid_back),
            new(ledger, shop, "a test", **paid_back, test=True),
            new(ledger, shop, "undated", **paid_back | {"day": None}),
            new(ledger, shop, "filtered", **paid_back | {"reason_class": "consent"}),
        ],
    )
    with ledger.read() as connection:
        (line,) = sales_by_day.sales_since(connection, 0)
    assert (line.event_name, line.n) == (sales_by_day.REFUND, 1)


def test_failures_are_counted_by_their_reason(ledger: Ledger) -> None:
    shop = place(ledger)
    write(ledger, [new(ledger, shop, "e1", state=State.FAILED, reason_class="stale")])
    with ledger.read() as connection:
        found = measures.measure_totals(connection)
    assert found.n(measures.FAILED, "stale") == 1
