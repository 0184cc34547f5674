"""Metrics are summed over all time, in a bounded number of rows."""

import math

import pytest
from sqlalchemy import func, select

from worker.ledger.database import Ledger
from worker.ledger.reports import measures
from worker.ledger.reports.measures import Heartbeat, Histogram, Measured
from worker.ledger.schema import heartbeat, measure
from worker.ledger.upkeep import counter_rows

NOW = 1_900_000_000.0
SECONDS = Histogram("seconds", (0.1, 1.0))


def _append(ledger: Ledger, *values: float, refused: int = 0) -> None:
    measured = Measured()
    for value in values:
        measured.observe(SECONDS, value, "2xx")
    measured.count(measures.REJECTED, "unauthorized", refused)
    with ledger.write() as connection:
        measures.append_measures(connection, measured)


def _found(ledger: Ledger) -> tuple[list[tuple[float, int, float]], int, int]:
    with ledger.read() as connection:
        found = measures.measure_totals(connection)
        rows = connection.scalar(select(func.count()).select_from(measure)) or 0
    buckets = [(bound, one.n, round(one.total, 6)) for bound, one in found.buckets(SECONDS, "2xx")]
    return buckets, found.n(measures.REJECTED, "unauthorized"), rows


def test_a_value_falls_into_the_first_bucket_that_holds_it(ledger: Ledger) -> None:
    _append(ledger, 0.05, 0.1, 0.5, 7.0)

    assert _found(ledger)[0] == [(0.1, 2, 0.15), (1.0, 1, 0.5), (math.inf, 1, 7.0)]


def test_folding_keeps_every_sum_in_one_row_for_each_kind(ledger: Ledger) -> None:
    for _ in range(3):
        _append(ledger, 0.05, 0.5, 7.0, refused=10)
    before = _found(ledger)
    with ledger.write() as connection:
        saved = counter_rows.fold_counters(connection, "measure")
    after = _found(ledger)

    assert (before[2], saved, after[2]) == (12, 8, 4)
    assert after[:2] == before[:2] == ([(0.1, 3, 0.15), (1.0, 3, 1.5), (math.inf, 3, 21.0)], 30)


def test_zero_makes_no_row(ledger: Ledger) -> None:
    _append(ledger)
    with ledger.write() as connection:
        measures.append_counts(connection, measures.WARNED, {"": 0})

    assert _found(ledger)[2] == 0


def test_values_counted_with_other_bounds_keep_their_bucket_and_sum() -> None:
    measured = Measured()
    for value in (0.15, 0.6, 20.0):
        measured.observe(Histogram("seconds", (0.2, 5.0)), value)

    buckets = {bound: (one.n, one.total) for bound, one in measured.buckets(SECONDS)}
    assert buckets == {0.1: (0, 0.0), 1.0: (1, 0.15), math.inf: (2, 20.6)}


@pytest.mark.parametrize(
    ("published", "unused", "former"),
    [
        ([], ("events-2", "events-3"), ()),
        (["events", "delivery"], ("events-2", "events-3"), ()),
        (["events", "events-3"], ("events-2", "events-3", "events-4"), ("events-2", "events-3")),
        (["events-3"], ("events-4", "events-5"), ()),
    ],
)
def test_queues_that_were_never_published_to_are_not_former_ones(
    ledger: Ledger, published: list[str], unused: tuple[str, ...], former: tuple[str, ...]
) -> None:
    measured = Measured()
    for queue in published:
        measured.count(measures.PUBLISHED, queue)
    with ledger.write() as connection:
        measures.append_measures(connection, measured)
        assert measures.former_queues(connection, unused) == former


def test_a_part_notes_that_it_is_alive_every_ten_seconds(ledger: Ledger) -> None:
    pulse = Heartbeat("batcher")
    seen = []
    for seconds in (0, 5, 9.9, 10, -100):
        pulse.beat(ledger, NOW + seconds)
        with ledger.read() as connection:
            seen.append(connection.scalar(select(heartbeat.c.at)))
    assert seen == [NOW, NOW, NOW, NOW + 10, NOW - 100]
