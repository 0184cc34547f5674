"""The counts of a process reach the ledger every few seconds, and survive an outage of the ledger."""

import threading

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from tests.conftest import KEY
from tests.integration.waiting import until
from worker.ledger.database import Ledger
from worker.ledger.reports import measures
from worker.ledger.schema import measure
from worker.monitoring.meter import Meter, MeterWriter


def _rejected(ledger: Ledger) -> int:
    with ledger.read() as connection:
        return measures.measure_totals(connection).n(measures.REJECTED, "unauthorized")


def _rows(ledger: Ledger) -> int:
    with ledger.read() as connection:
        return connection.scalar(select(func.count()).select_from(measure)) or 0


def test_a_million_refusals_are_one_row(sqlite_ledger: Ledger) -> None:
    meter = Meter()
    for _ in range(1_000_000):
        meter.count(measures.REJECTED, "unauthorized")
    meter.write(sqlite_ledger)
    meter.write(sqlite_ledger)

    assert (_rejected(sqlite_ledger), _rows(sqlite_ledger)) == (1_000_000, 1)


def test_threads_lose_no_count(sqlite_ledger: Ledger) -> None:
    meter = Meter()

    def count() -> None:
        for _ in range(2_000):
            meter.count(measures.REJECTED, "unauthorized")
            meter.observe(measures.ANSWER_SECONDS, 0.001)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        meter.write(sqlite_ledger)
    meter.write(sqlite_ledger)

    assert _rejected(sqlite_ledger) == 16_000


class _Away(Ledger):
    """A ledger whose database comes back after some tries."""

    tries = 0

    def write(self):  # type: ignore[no-untyped-def]
        self.tries += 1
        if self.tries < 3:
            raise OperationalError("", {}, Exception("away"))
        return super().write()


def test_a_ledger_that_is_away_gets_it_all_later(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    ledger, meter = _Away(sqlite_url, (KEY,)), Meter()
    writer = MeterWriter(meter, lambda: ledger, seconds=0.02)
    meter.count(measures.REJECTED, "unauthorized", 5)
    writer.start()
    until("the first try", lambda: ledger.tries > 0)
    meter.count(measures.REJECTED, "unauthorized", 2)
    until("all of it is there", lambda: _rejected(ledger) == 7)
    writer.close()
    ledger.dispose()

    assert caplog.text.count("measures_not_written") == 1


def test_what_is_left_is_written_on_closing(sqlite_ledger: Ledger) -> None:
    meter = Meter()
    writer = MeterWriter(meter, lambda: sqlite_ledger, seconds=60)
    writer.start()
    meter.count(measures.REJECTED, "unauthorized")
    writer.close()

    assert _rejected(sqlite_ledger) == 1


def test_one_process_shows_what_others_counted(sqlite_ledger: Ledger) -> None:
    first, second = Meter(), Meter()
    for meter, n in ((first, 3), (second, 4)):
        meter.count(measures.REJECTED, "unauthorized", n)
        meter.write(sqlite_ledger)

    assert _rejected(sqlite_ledger) == 7


def test_a_host_whose_clock_is_wrong_says_so_once_a_minute(
    sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = MeterWriter(Meter(), lambda: sqlite_ledger)
    writer._write()
    with sqlite_ledger.read() as connection:
        assert measures.last_heartbeats(connection) == {}
    monkeypatch.setattr(sqlite_ledger, "clock_skew_seconds", lambda: -90.0)
    writer._write()
    with sqlite_ledger.read() as connection:
        skews = measures.skews_since(measures.last_heartbeats(connection), 0.0)
    assert list(skews.values()) == [-90.0]
