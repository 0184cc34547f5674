"""Find event names that stopped coming."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from worker.alerts.rules import VOLUME_RULE, Problem
from worker.ledger.upkeep.alerts import Severity

HOURS_PER_DAY = 24
LOOK_BACK_DAYS = 7
# With 20 independent events expected, none at all has a probability of e^-20.
_MIN_EXPECTED = 20
# Frequent names are noticed in shorter windows.
_WINDOWS_HOURS = (1, 2, 3, 6, 12, 24)


@dataclass(frozen=True, slots=True)
class Series:
    """Hold the number of events of one name and integration, by hour since 1970."""

    integration_id: str
    event_name: str
    by_hour: Mapping[int, int]


def find_dropped(series: Iterable[Series], hour: int) -> list[Problem]:
    """Return a problem for each name that stopped; ``hour`` is the current hour."""
    silences = ((name, _hours_of_silence(name.by_hour, hour)) for name in series)
    return [
        _problem(name, hours, _expected_events(name.by_hour, hour, hours))
        for name, hours in silences
        if hours
    ]


def _hours_of_silence(by_hour: Mapping[int, int], hour: int) -> int | None:
    """Return the shortest window whose silence is significant; None without one."""
    for hours in _WINDOWS_HOURS:
        if _total(by_hour, hour - hours, hour + 1):
            return None
        if _expected_events(by_hour, hour, hours) >= _MIN_EXPECTED:
            return hours
    return None


def _expected_events(by_hour: Mapping[int, int], hour: int, hours: int) -> float:
    """Return the lower of the median of the same hours in the last seven days and the count of a week ago.

    So neither a peak on one day nor a shop that closes on Sundays raises an alert, nor a name that is new.
    """
    days = [
        _total(by_hour, hour - hours - day * HOURS_PER_DAY, hour - day * HOURS_PER_DAY)
        for day in range(1, LOOK_BACK_DAYS + 1)
    ]
    return min(median(days), days[-1])


def _total(by_hour: Mapping[int, int], first: int, end: int) -> int:
    return sum(by_hour.get(hour, 0) for hour in range(first, end))


def _problem(series: Series, hours: int, usual: float) -> Problem:
    span = "hour" if hours == 1 else f"{hours} hours"
    summary = (
        f"No {series.event_name} came for {series.integration_id} in the last {span}, "
        f"where {usual:,.0f} are usual."
    )
    return Problem(VOLUME_RULE, f"{series.integration_id}:{series.event_name}", Severity.WARNING, summary)
