"""What is full, or has waited long enough, becomes batches; ticks may come twice."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from sqlalchemy import func, select

from tests.ledger.shop import NOW, pend, place, stand
from worker.ledger.database import Ledger
from worker.ledger.schema import batch
from worker.pipeline.delivery.group_pending import BatchingPolicy, claim_due_batches

PACE = BatchingPolicy(interval_seconds=1.0)


@pytest.fixture
def ledger(sqlite_ledger: Ledger) -> Ledger:
    """Return one on SQLite: the statements are tested on both databases with the ledger."""
    return sqlite_ledger


def tick(ledger: Ledger, now: float, pace: BatchingPolicy = PACE) -> list[int]:
    hinted: list[int] = []
    made = claim_due_batches(ledger, pace, lambda: now, hinted.extend)
    assert made == hinted
    return [events(ledger, batch_id) for batch_id in made]


def events(ledger: Ledger, batch_id: int) -> int:
    with ledger.read() as connection:
        return connection.scalar(select(batch.c.events).where(batch.c.id == batch_id)) or 0


@pytest.mark.parametrize(
    ("now", "count", "expected"),
    [
        (NOW + 0.9, 5, []),
        (NOW + 1.0, 5, [5]),
        # Full batches do not wait, and the rest of them does.
        (NOW, 20, [20]),
        (NOW, 45, [20, 20]),
        (NOW + 1.0, 45, [20, 20]),
        # Two machines' clocks differ a little; a clock that stepped back by an hour holds nothing up.
        (NOW - 30, 5, []),
        (NOW - 3_600, 5, [5]),
        (NOW, 0, []),
    ],
)
def test_a_group_is_claimed_when_it_is_full_or_old(
    ledger: Ledger, now: float, count: int, expected: list[int]
) -> None:
    pend(ledger, place(ledger), count, test=True)
    assert tick(ledger, now) == expected


def test_what_full_batches_leave_waits_an_interval_for_more(ledger: Ledger) -> None:
    """Behind a backlog everything is old when it gets here, and each tick would make a batch of a few events."""
    shop = place(ledger)
    pend(ledger, shop, 45, test=True)
    assert tick(ledger, NOW + 60) == [20, 20]
    assert tick(ledger, NOW + 60.9) == []
    pend(ledger, shop, 15, "more", test=True)
    assert tick(ledger, NOW + 60.9) == [20]
    pend(ledger, shop, 3, "rest", test=True)
    assert tick(ledger, NOW + 61.8) == []
    assert tick(ledger, NOW + 61.9) == [3]


def test_batches_of_others_and_of_a_clock_that_stepped_back_hold_nothing_up(ledger: Ledger) -> None:
    pend(ledger, place(ledger, ad_account_id="7001"), 5)
    assert tick(ledger, NOW + 3_600) == [5]
    shop = place(ledger, ad_account_id="7002")
    pend(ledger, shop, 3)
    assert tick(ledger, NOW + 3_600.1) == [3]
    pend(ledger, shop, 2, "after")
    assert tick(ledger, NOW + 1.0) == [2]


def test_a_second_tick_finds_nothing(ledger: Ledger) -> None:
    pend(ledger, place(ledger), 5)
    assert tick(ledger, NOW + 2) == [5]
    assert tick(ledger, NOW + 2) == []


def test_two_beats_at_once_claim_each_event_once(ledger: Ledger) -> None:
    pend(ledger, place(ledger), 100, test=True, payload=b"x")
    with ThreadPoolExecutor(2) as pool:
        made = [one for claimed in pool.map(lambda _: tick(ledger, NOW + 2), range(2)) for one in claimed]
    made += tick(ledger, NOW + 2)
    assert made == [20] * 5
    assert stand(ledger) == {"in_flight": 100}


def test_a_large_account_takes_its_window_and_leaves_the_others_theirs(ledger: Ledger) -> None:
    pend(ledger, place(ledger, "src_large"), 100, test=True, payload=b"x")
    pend(ledger, place(ledger, "src_small", ad_account_id="222"), 3, prefix="s", test=True)
    # In turn: the small one does not wait for the large one's second batch.
    assert tick(ledger, NOW + 2, BatchingPolicy(1.0, window=2)) == [20, 3, 20]
    assert tick(ledger, NOW + 2, BatchingPolicy(1.0, window=2)) == []


def test_a_tick_makes_a_bounded_number_of_batches(ledger: Ledger) -> None:
    pend(ledger, place(ledger), 100, test=True, payload=b"x")
    assert tick(ledger, NOW + 2, BatchingPolicy(1.0, most_batches=3)) == [20, 20, 20]


def test_more_full_groups_than_a_tick_serves_take_turns(ledger: Ledger) -> None:
    """Each has a backlog; without turns the first three would get every batch."""
    for number in range(8):
        pend(ledger, place(ledger, f"src_{number}", str(100 + number)), 100, test=True, payload=b"x")
    served = []
    for second in range(3):
        now = NOW + 2 + second / 10
        claimed = claim_due_batches(
            ledger, BatchingPolicy(1.0, most_batches=3), partial(float, now), lambda _: None
        )
        with ledger.read() as connection:
            served.append(set(connection.scalars(select(batch.c.ad_account).where(batch.c.id.in_(claimed)))))
    assert [len(accounts) for accounts in served] == [3, 3, 3]
    assert len(set.union(*served)) == 8


@pytest.mark.parametrize(("seconds", "expected"), [(60.0, [[20, 20, 20]]), (0.0, [[20], [20], [20]])])
def test_small_batches_are_claimed_and_hinted_at_together_while_that_is_quick(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, seconds: float, expected: list[list[int]]
) -> None:
    """Others wait for a transaction; who sends waits for its end, and for its one hint."""
    monkeypatch.setattr("worker.pipeline.delivery.group_pending._MAX_TRANSACTION_SECONDS", seconds)
    pend(ledger, place(ledger), 70, test=True, payload=b"x")
    hinted: list[list[int]] = []
    claim_due_batches(ledger, PACE, lambda: NOW, lambda ids: hinted.append(list(ids)))
    assert [[events(ledger, batch_id) for batch_id in ids] for ids in hinted] == expected


def test_a_hint_that_fails_costs_no_event(ledger: Ledger) -> None:
    pend(ledger, place(ledger), 5)

    def fail(_: object) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        claim_due_batches(ledger, PACE, lambda: NOW + 2, fail)
    with ledger.read() as connection:
        assert connection.scalar(select(func.count()).select_from(batch)) == 1
    assert stand(ledger) == {"in_flight": 5}
