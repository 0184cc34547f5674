"""All hosts follow the database's clock, whatever their own says."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import KEY
from worker.ledger.database import Ledger, _SharedClock


class Times:
    """Clocks that a test sets."""

    def __init__(self, there: float | None) -> None:
        self.there, self.here, self.delay = there, 50.0, 0.0

    def look(self) -> float | None:
        self.here += self.delay
        return self.there

    def clock(self) -> _SharedClock:
        return _SharedClock(self.look, lambda: self.here)


@given(there=st.floats(0, 4e9), passed=st.floats(0, 9))
def test_after_a_measurement_time_runs_on_evenly_from_the_servers(there: float, passed: float) -> None:
    times = Times(there)
    clock = times.clock()
    clock.measure()
    times.here += passed
    assert clock.now() == pytest.approx(there + passed, abs=1e-3)


@pytest.mark.parametrize(("there", "delay"), [(None, 0.0), (5_000.0, 1.5)])
def test_without_a_prompt_answer_this_machines_clock_or_the_last_measurement_applies(
    there: float | None, delay: float
) -> None:
    times = Times(there)
    times.delay = delay
    clock = times.clock()
    clock.measure()
    assert clock.now() == pytest.approx(time.time(), abs=5.0)
    times.there, times.delay = 1_000.0, 0.0
    clock.measure()
    times.there, times.delay = there, delay
    clock.measure()
    assert clock.now() == pytest.approx(1_000.0 + delay, abs=0.1)


@pytest.mark.services
def test_a_host_whose_clock_is_wrong_has_the_servers_time(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = time.time
    monkeypatch.setattr(time, "time", lambda: true() + 90.0)
    ledger = Ledger(postgresql_url, (KEY,))
    ledger.measure_clock()
    assert ledger.now() == pytest.approx(true(), abs=1.0)
    ledger.dispose()


def test_on_sqlite_the_only_hosts_clock_applies(sqlite_ledger: Ledger) -> None:
    sqlite_ledger.measure_clock()
    assert sqlite_ledger.now() == pytest.approx(time.time(), abs=5.0)
