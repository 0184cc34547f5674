"""Charts use sums that outlive the events."""

from collections import Counter

import pytest
from sqlalchemy import func, select

from tests.ledger.shop import NOW
from worker.ledger.database import Ledger
from worker.ledger.reports import overview, tallies
from worker.ledger.reports.tallies import Entry
from worker.ledger.schema import rollup
from worker.ledger.upkeep import counter_rows

MINUTE, HOUR, DAY = 60, 3_600, 86_400


def count(ledger: Ledger, at: float, integration: int = 1, **moved: int) -> None:
    with ledger.write() as connection:
        counts = Counter({Entry("src_shop", integration, "checkout", what): n for what, n in moved.items()})
        tallies.append_tallies(connection, counts, at)


def rows(ledger: Ledger) -> int:
    with ledger.read() as connection:
        return connection.execute(select(func.count()).select_from(rollup)).scalar_one()


def test_only_charted_outcomes_are_counted_by_the_minute(ledger: Ledger) -> None:
    count(ledger, NOW, created=5, delivered=3, duplicate=1)
    count(ledger, NOW + MINUTE, delivered=2, failed=1)
    with ledger.read() as connection:
        found = overview.moved_by_step(connection, NOW - MINUTE, MINUTE)

    first = NOW // MINUTE * MINUTE
    assert found == {first: {"delivered": 3}, first + MINUTE: {"delivered": 2, "failed": 1}}


def test_minutes_of_yesterday_become_hours_with_the_same_sums(ledger: Ledger) -> None:
    for minute in range(0, 3 * 60, 7):
        count(ledger, NOW - 2 * DAY + minute * MINUTE, delivered=1)
    count(ledger, NOW, delivered=1)
    with ledger.read() as connection:
        before = overview.moved_by_step(connection, NOW - 3 * DAY, HOUR)
    with ledger.write() as connection:
        assert tallies.coarsen_rollups(connection, NOW, 1_000) > 20
        assert tallies.coarsen_rollups(connection, NOW, 1_000) == 0
        counter_rows.fold_counters(connection, "rollup", 100, int(NOW - 3 * DAY) // 3_600)
    with ledger.read() as connection:
        assert overview.moved_by_step(connection, NOW - 3 * DAY, HOUR) == before

    assert rows(ledger) == len(before)


@pytest.mark.parametrize(
    ("seconds", "word"),
    [
        (-3.0, "within:0.5"),
        (0.5, "within:0.5"),
        (0.51, "within:1"),
        (61.0, "within:120"),
        (9e9, "within:604800"),
    ],
)
def test_a_time_belongs_to_the_step_that_it_does_not_exceed(seconds: float, word: str) -> None:
    assert tallies.latency_step(seconds) == word
