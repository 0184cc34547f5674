"""What was forgotten is found: leases that ran out, hints that were lost, events nobody worked on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import insert, select

from tests.ledger.shop import NOW, accept, new, pend, place, stand, write
from tests.pipeline.sandbox import FakePinterest, Stage, accepted
from worker.ledger.database import Ledger
from worker.ledger.delivery import batches
from worker.ledger.delivery.batches import StartedBatch
from worker.ledger.intake import inbox, leases
from worker.ledger.schema import BatchStatus, attempt, batch, delivery
from worker.ledger.schema import inbox as inbox_table
from worker.pipeline.upkeep.sweeping import (
    _BATCH_HINT_INTERVAL_SECONDS,
    _GRACE_SECONDS,
    _RANGE_HINT_INTERVAL_SECONDS,
    Hints,
    sweep_ledger,
)

LATER = NOW + 100.0
HOUR = 3_600


@dataclass
class Sent:
    """Take the hints of a sweep in place of a broker."""

    queued: int | None = 0
    queued_batches: int | None = 0
    ranges: list[tuple[int, int]] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)

    def sweep(self, ledger: Ledger, now: float) -> dict[str, int]:
        self.ranges.clear()
        self.batches.clear()
        hints = Hints(
            self._take_ranges, self.batches.extend, lambda: self.queued, lambda: self.queued_batches
        )
        return sweep_ledger(ledger, hints, now)

    def _take_ranges(self, ranges: Sequence[tuple[int, int]]) -> None:
        self.ranges.extend(ranges)


def sending(ledger: Ledger, **changes: Any) -> tuple[int, StartedBatch]:
    """Let a worker send a batch of three, and die."""
    pend(ledger, place(ledger), 3, **changes)
    stage = Stage(ledger, FakePinterest())
    (batch_id,) = stage.batch()
    with ledger.write() as connection:
        started = batches.start_batch(connection, batch_id, 60.0, NOW)
    assert isinstance(started, StartedBatch)
    return batch_id, started


def row(ledger: Ledger, batch_id: int) -> Any:
    with ledger.read() as connection:
        return connection.execute(select(batch).where(batch.c.id == batch_id)).one()


# Batches


def test_a_quiet_ledger_needs_nothing(ledger: Ledger) -> None:
    assert Sent().sweep(ledger, NOW) == {"taken_back": 0, "batches": 0, "ranges": 0}


def test_a_batch_of_a_dead_worker_is_taken_back_and_hinted_at_in_one_sweep(ledger: Ledger) -> None:
    batch_id, started = sending(ledger)
    sent = Sent()
    assert sent.sweep(ledger, NOW + 61)["taken_back"] == 0
    assert sent.sweep(ledger, LATER) == {"taken_back": 1, "batches": 1, "ranges": 0}
    assert sent.batches == [batch_id]
    assert row(ledger, batch_id).attempts_spent == 1
    with ledger.read() as connection:
        assert (
            connection.scalar(select(attempt.c.reason)) == "The worker that was sending it did not come back."
        )
        everyone = batches.batch_members(connection, batch_id)
    # Its worker comes back from the dead, and may write nothing.
    with ledger.write() as connection:
        assert not batches.settle_batch(connection, started, everyone, [], LATER)
    stage = Stage(ledger, FakePinterest(), now=LATER)
    assert stage.deliver(batch_id) == "settled"
    assert stand(ledger) == {"delivered": 3}


def test_all_batches_of_a_dead_worker_are_taken_back_each_as_itself(ledger: Ledger) -> None:
    pend(ledger, place(ledger), 60, test=True)
    stage = Stage(ledger, FakePinterest())
    stage.batch()
    with ledger.write() as connection:
        for batch_id in stage.hinted:
            batches.start_batch(connection, batch_id, 60.0, NOW)
    sent = Sent()
    assert sent.sweep(ledger, LATER)["taken_back"] == 3
    assert sorted(sent.batches) == sorted(stage.hinted)


def test_offline_events_of_a_dead_worker_wait_for_a_hand(ledger: Ledger) -> None:
    batch_id, _ = sending(ledger, offline=True)
    assert Sent().sweep(ledger, LATER) == {"taken_back": 1, "batches": 0, "ranges": 0}
    assert row(ledger, batch_id).status == BatchStatus.SPLIT
    assert stand(ledger) == {"failed": 3}
    with ledger.read() as connection:
        kept = set(connection.execute(select(delivery.c.reason_class, delivery.c.reason)))
    words = "Pinterest may have it already, and a second copy could count twice."
    assert kept == {("unknown_outcome", f"{words} The worker that was sending it did not come back.")}


def test_of_a_dead_workers_batch_only_late_events_wait_for_a_hand(ledger: Ledger) -> None:
    shop = place(ledger)
    write(ledger, [new(ledger, shop, "late", event_time=int(LATER) - HOUR - 1)])
    _, _ = sending_together(ledger, shop)
    sent = Sent()
    assert sent.sweep(ledger, LATER)["taken_back"] == 1
    assert stand(ledger) == {"failed": 1, "in_flight": 2}
    (part,) = sent.batches
    assert (row(ledger, part).events, row(ledger, part).attempts_spent) == (2, 1)
    assert Stage(ledger, FakePinterest(accepted), now=LATER).deliver(part) == "settled"


def sending_together(ledger: Ledger, shop: Any) -> tuple[int, StartedBatch]:
    write(ledger, [new(ledger, shop, "fresh"), new(ledger, shop, "fine")])
    (batch_id,) = Stage(ledger, FakePinterest()).batch()
    with ledger.write() as connection:
        started = batches.start_batch(connection, batch_id, 60.0, NOW)
    assert isinstance(started, StartedBatch)
    return batch_id, started


def test_a_batch_that_kills_its_worker_each_time_comes_to_an_end(ledger: Ledger) -> None:
    batch_id, _ = sending(ledger)
    now, tries = NOW, 0
    while stand(ledger).get("in_flight"):
        now += 63
        Sent().sweep(ledger, now)
        with ledger.write() as connection:
            batches.start_batch(connection, batch_id, 60.0, now)
        tries += 1
        assert tries < 70
    assert stand(ledger) == {"failed": 3}
    assert now - NOW == pytest.approx(HOUR, abs=100)


def test_two_sweepers_take_a_batch_back_once(ledger: Ledger) -> None:
    sending(ledger)
    assert [Sent().sweep(ledger, LATER)["taken_back"] for _ in range(2)] == [1, 0]


def test_a_batch_whose_hint_was_lost_is_hinted_at_again_but_not_at_every_sweep(ledger: Ledger) -> None:
    pend(ledger, place(ledger), 3)
    (batch_id,) = Stage(ledger, FakePinterest()).batch()
    sent = Sent()
    found = []
    # One sweep every two seconds, for a minute and a half.
    for second in range(0, 92, 2):
        sent.sweep(ledger, NOW + second)
        found += [second] * len(sent.batches)
        assert sent.batches in ([], [batch_id])
    assert len(found) == 2
    assert found[0] == pytest.approx(_BATCH_HINT_INTERVAL_SECONDS, abs=4)


@pytest.mark.parametrize(("queued", "expected"), [(0, 12), (5_000, 12), (5_001, 10), (None, 12)])
def test_while_nobody_delivers_hints_for_batches_do_not_pile_up(
    ledger: Ledger, queued: int | None, expected: int
) -> None:
    """A batch that is due is hinted at every half minute; an hour without workers is no flood of messages."""
    pend(ledger, place(ledger), 12 * 20, test=True)
    Stage(ledger, FakePinterest()).batch()
    assert Sent(queued_batches=queued).sweep(ledger, LATER)["batches"] == expected


# The inbox


def backlog(ledger: Ledger, count: int, received_at: float = NOW) -> list[int]:
    with ledger.write() as connection:
        values = {"source_id": "s", "informs": False, "body": b"x", "received_at": received_at}
        connection.execute(insert(inbox_table), [values] * count)
        return inbox.overdue_ids(connection, 0, received_at + 0.001, 10**6)


def test_fresh_events_are_left_to_their_own_hints(ledger: Ledger) -> None:
    backlog(ledger, 3)
    sent = Sent()
    sent.sweep(ledger, NOW + _GRACE_SECONDS)
    assert sent.ranges == []


def test_forgotten_events_are_named_by_ranges_of_at_most_500(ledger: Ledger) -> None:
    ids = backlog(ledger, 1_234)
    sent = Sent()
    sent.sweep(ledger, LATER)
    assert sent.ranges == [(ids[0], ids[499]), (ids[500], ids[999]), (ids[1_000], ids[1_233])]


def test_a_backlog_is_named_once_a_round_and_not_at_every_sweep(ledger: Ledger) -> None:
    backlog(ledger, 1_234)
    sent = Sent()
    counts = []
    for second in range(0, int(_RANGE_HINT_INTERVAL_SECONDS) * 3, 2):
        sent.sweep(ledger, LATER + second)
        counts.append(len(sent.ranges))
    # Ninety sweeps in three minutes: three rounds of three hints.
    assert [count for count in counts if count] == [3, 3, 3]


def test_an_hours_backlog_is_a_bounded_number_of_hints(sqlite_ledger: Ledger) -> None:
    """A hundred ranges a sweep at most, in order, until all of it was named once."""
    ledger = sqlite_ledger
    ids = backlog(ledger, 60_000)
    sent = Sent()
    sent.sweep(ledger, LATER)
    assert len(sent.ranges) == 100
    named = list(sent.ranges)
    sent.sweep(ledger, LATER + 2)
    named += sent.ranges
    assert len(named) == 120
    assert (named[0][0], named[-1][1]) == (ids[0], ids[-1])
    assert all(before[1] < after[0] for before, after in pairwise(named))


@pytest.mark.parametrize(("queued", "expected"), [(0, 8), (200, 8), (201, 5), (None, 8)])
def test_a_long_queue_is_made_a_little_longer(ledger: Ledger, queued: int | None, expected: int) -> None:
    backlog(ledger, 3_600)
    assert Sent(queued=queued).sweep(ledger, LATER)["ranges"] == expected


def test_what_comes_in_behind_the_watermark_is_named_in_the_same_round(ledger: Ledger) -> None:
    backlog(ledger, 3)
    sent = Sent()
    sent.sweep(ledger, LATER)
    more = backlog(ledger, 2, LATER)[-2:]
    sent.sweep(ledger, LATER + 10)
    assert sent.ranges == [(more[0], more[-1])]


def test_parked_events_are_not_hinted_at(ledger: Ledger) -> None:
    ids = backlog(ledger, 3)
    with ledger.write() as connection:
        inbox.park_event(connection, ids[0], "It cannot be opened.")
    sent = Sent()
    sent.sweep(ledger, LATER)
    assert sent.ranges == [(ids[1], ids[2])]


def test_a_clock_that_stepped_back_holds_up_no_round(ledger: Ledger) -> None:
    backlog(ledger, 3, NOW)
    sent = Sent()
    assert sent.sweep(ledger, LATER)["ranges"] == 1
    # An hour earlier, by the clock.
    assert [sent.sweep(ledger, LATER - HOUR + second)["ranges"] for second in (0, 2)] == [1, 0]


def lease(ledger: Ledger, ids: Sequence[int], seconds: float = 60.0) -> None:
    with ledger.write() as connection:
        leases.save_lease(connection, "holder", ids, seconds)


def test_what_a_living_worker_holds_is_not_hinted_at_and_the_rest_is(ledger: Ledger) -> None:
    ids = backlog(ledger, 1_234)
    lease(ledger, [*ids[:500], ids[501], ids[1_233]])
    sent = Sent()
    sent.sweep(ledger, LATER)
    assert sent.ranges == [(ids[500], ids[999]), (ids[1_000], ids[1_232])]


def test_what_a_dead_worker_held_is_hinted_at_by_the_next_sweep(ledger: Ledger) -> None:
    """In the middle of a round, and however long the queue is."""
    ids = backlog(ledger, 1_234)
    lease(ledger, ids[600:700])
    sent = Sent()
    sent.sweep(ledger, LATER)
    with ledger.write() as connection:
        inbox.take_events(connection, ids[690:700])
    lease(ledger, ids[600:700], seconds=-1.0)
    sent.queued = 10_000
    sent.sweep(ledger, LATER + 2)
    assert sent.ranges == [(ids[600], ids[689])]
    sent.sweep(ledger, LATER + 4)
    assert sent.ranges == []


def test_hints_at_scattered_rows_name_few_others(ledger: Ledger) -> None:
    ids = backlog(ledger, 3_000)
    lease(ledger, [ids[0], ids[499], ids[500], ids[2_999]], seconds=-1.0)
    sent = Sent()
    sent.sweep(ledger, LATER)
    assert sent.ranges[:3] == [(ids[0], ids[499]), (ids[500], ids[500]), (ids[2_999], ids[2_999])]


def test_a_lost_hint_is_repeated_though_more_becomes_overdue_all_the_time(ledger: Ledger) -> None:
    """Under steady traffic every sweep finds something new, and yet each round has to come to an end."""
    (lost,) = backlog(ledger, 1)
    lease(ledger, backlog(ledger, 2)[1:])
    sent = Sent()
    named_at = []
    for second in range(0, 200, 2):
        backlog(ledger, 1, LATER + second - _GRACE_SECONDS - 1)
        sent.sweep(ledger, LATER + second)
        if any(first <= lost <= last for first, last in sent.ranges):
            named_at.append(second)
    gaps = [later - earlier for earlier, later in pairwise(named_at)]
    assert len(named_at) >= 3
    assert max(gaps) <= _RANGE_HINT_INTERVAL_SECONDS + 4
    assert min(gaps) >= _RANGE_HINT_INTERVAL_SECONDS


@pytest.mark.parametrize("queued", [0, 10_000])
def test_each_row_is_named_again_within_two_rounds_under_constant_traffic(
    ledger: Ledger, queued: int
) -> None:
    """However long the queue is: 600 new rows are overdue at each look, and nobody takes any."""
    sent = Sent(queued=queued)
    overdue_since: dict[int, float] = {}
    named_at: dict[int, list[float]] = {}
    gaps: list[float] = []
    for second in range(0, 240, 10):
        now = LATER + second
        for event_id in backlog(ledger, 600, now - _GRACE_SECONDS - 1):
            overdue_since.setdefault(event_id, now)
        sent.sweep(ledger, now)
        for first, last in sent.ranges:
            for event_id in range(first, last + 1):
                named_at.setdefault(event_id, []).append(now)
    end = LATER + 230
    for event_id, since in overdue_since.items():
        times = [since, *named_at.get(event_id, []), end]
        gaps += [after - before for before, after in pairwise(times)]
    assert max(gaps) <= 2 * _RANGE_HINT_INTERVAL_SECONDS


def test_every_lost_message_comes_back_by_the_sweeper_alone(ledger: Ledger) -> None:
    """The broker's data is wiped: what is in the ledger is enough."""
    shop = place(ledger)
    accept(ledger, [{"type": "identify", "anonymousId": "a", "traits": {}}] * 3)
    pend(ledger, shop, 2)
    Stage(ledger, FakePinterest()).batch()
    sent = Sent()
    assert sent.sweep(ledger, LATER) == {"taken_back": 0, "batches": 1, "ranges": 1}
