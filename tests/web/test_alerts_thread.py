"""The Management API's process watches while the upkeep worker does not."""

import logging
import time

import pytest

from tests.alerts.receiver import receiving
from worker.alerts.channels import WebhookChannel
from worker.ledger.database import Ledger
from worker.ledger.reports import measures
from worker.ledger.upkeep import alerts
from worker.web import alerts_thread

NOW = 1_750_000_000.0
HERE = ("127.0.0.1",)


def firing(ledger: Ledger) -> list[str]:
    with ledger.read() as connection:
        return [one.rule for one in alerts.firing_alerts(connection)]


def test_it_tells_of_a_beat_that_is_silent(ledger: Ledger) -> None:
    with ledger.write() as connection:
        for name in (measures.BATCHER, measures.SWEEPER, measures.WATCH):
            measures.record_heartbeat(connection, name, NOW - 200)
    with receiving() as receiver:
        webhook = WebhookChannel(receiver.url, "a-secret-of-the-tests", HERE)
        looks = [
            alerts_thread._watch_if_overdue(ledger, lambda: 10**12, webhook, lambda at=at: NOW + at)
            for at in (0, 30, 90)
        ]

    # Its own look counts as one, so that it does not look at every chance.
    assert looks == [True, False, True]
    assert firing(ledger) == ["batcher_silent", "sweeper_silent"]
    assert len(receiver.bodies) == 2


def test_it_leaves_it_to_the_upkeep_worker_where_that_watches(ledger: Ledger) -> None:
    with ledger.write() as connection:
        measures.record_heartbeat(connection, measures.WATCH, NOW - 89)

    assert not alerts_thread._watch_if_overdue(ledger, lambda: 0, None, lambda: NOW)
    assert firing(ledger) == []


def test_its_thread_outlives_a_ledger_that_is_away(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looked: list[int] = []

    def trouble(*_: object) -> bool:
        looked.append(1)
        raise OSError("the disk is gone")

    monkeypatch.setattr(alerts_thread, "_watch_if_overdue", trouble)
    monkeypatch.setattr(alerts_thread, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr("worker.runtime.ledger", lambda: ledger)
    with caplog.at_level(logging.ERROR):
        thread = alerts_thread.start_alerts_thread()
        deadline = time.monotonic() + 5
        while len(looked) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    monkeypatch.setattr(alerts_thread, "_LOOK_SECONDS", 3_600)
    assert len(looked) >= 3
    assert thread.is_alive()
    assert "watchman_failed" in caplog.text
