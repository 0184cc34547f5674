"""The rehearsal of migrations runs with traffic, and notices what stops it."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import text

from benchmarks import history, migrations
from benchmarks.migrations import Locks, Migrated, Statement, Traffic
from tests.conftest import KEY
from tests.integration.waiting import until
from worker.ledger.database import Ledger

pytestmark = pytest.mark.services
DELIVERIES = 10_000


@pytest.fixture
def old(postgresql_url: str) -> Iterator[Ledger]:
    with history.postgresql(postgresql_url, migrations.OLDEST) as ledger:
        history.lay_down(ledger, replace(history.PLACE, number=1), 2_000, 160)
        yield ledger


@pytest.mark.slow
def test_every_migration_since_the_last_release_runs_with_traffic(postgresql_url: str) -> None:
    before, migrated = migrations.rehearse(postgresql_url, DELIVERIES, rest_seconds=1.0)
    assert [one.version for one in migrated] == migrations.newer_versions()
    assert sum(one.statements for one in migrated) > 10
    assert not any(one.failures for one in migrated)
    assert before > 0
    all_, *_ = migrations.results(DELIVERIES, before, migrated)
    assert all_.ours == max(one.slowest.seconds for one in migrated)


def test_a_lock_that_stops_the_traffic_is_noticed(old: Ledger) -> None:
    traffic, locks = Traffic(old), Locks(old.url)
    named = Ledger(
        old.url.update_query_dict({"application_name": migrations.NAME}).render_as_string(False), (KEY,)
    )
    with traffic.running(), locks.watched():
        until("it runs", lambda: len(traffic.statements) > 10, 20)
        began = time.monotonic()
        with named.write() as connection:
            connection.execute(text("LOCK TABLE delivery IN ACCESS EXCLUSIVE MODE"))
            time.sleep(1.5)
        ended = time.monotonic()
        until("it goes on", lambda: any(one.began > ended for one in traffic.statements), 20)
    named.dispose()
    assert max(one.seconds for one in traffic.between(began, ended)) > 1.0
    assert locks.take()[0] == {"delivery": "AccessExclusiveLock"}


def test_the_slowest_and_the_failures_are_reported() -> None:
    quick, slow = (
        Migrated(version, seconds, {}, 0.0, 5, Statement("claim", 0.0, slowest, failed=False), failures)
        for version, seconds, slowest, failures in (("0011", 0.2, 0.1, 0), ("0012", 70.0, 3.0, 2))
    )
    results = migrations.results(1_000, 0.05, [quick, slow])
    assert [one.ours for one in results] == [3.0, 3.0]
    assert not results[0].goals[0].met
    assert "2 failed" in results[0].unit
    assert "0012 in 70 s" in results[1].case
