"""Notice that events of one name have stopped coming."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from worker.alerts.rules import VOLUME_RULE, Problem
from worker.ledger.upkeep.alerts import Severity

HOURS_PER_DAY = 24
LOOK_BACK_DAYS = 7
# Where so many were to be expected and come independently of each other, none at all is no chance (e^-20).
_MIN_EXPECTED = 20
# The busier a name, the sooner its silence is noticed.
_WINDOWS_HOURS = (1, 2, 3, 6, 12, 24)


@dataclass(frozen=True, slots=True)
class Series:
    """Hold how many events of one name an integration got in each hour, by the hour's number."""

    integration_id: str
    event_name: str
    by_hour: Mapping[int, int]


def find_dropped(series: Iterable[Series], hour: int) -> list[Problem]:
    """Return the names that stopped, as of an hour that has only begun."""
    found = ((one, hours_of_silence(one.by_hour, hour)) for one in series)
    return [_problem(one, hours, expected_events(one.by_hour, hour, hours)) for one, hours in found if hours]


def hours_of_silence(by_hour: Mapping[int, int], hour: int) -> int | None:
    """Return the shortest window of silence that is no chance; None where there is none."""
    for hours in _WINDOWS_HOURS:
        if _total(by_hour, hour - hours, hour + 1):
            # A longer window holds this one.
            return None
        if expected_events(by_hour, hour, hours) >= _MIN_EXPECTED:
            return hours
    return None


def expected_events(by_hour: Mapping[int, int], hour: int, hours: int) -> float:
    """Return how many came in the same hours of the last seven days: their median, or last week's if less.

    So neither one day's peak nor a shop that rests on Sundays raises an alarm, and a name that is not known
    for a week raises none yet.
    """
    days = [
        _total(by_hour, hour - hours - day * HOURS_PER_DAY, hour - day * HOURS_PER_DAY)
        for day in range(1, LOOK_BACK_DAYS + 1)
    ]
    return min(median(days), days[-1])


def _total(by_hour: Mapping[int, int], first: int, end: int) -> int:
    return sum(by_hour.get(hour, 0) for hour in range(first, end))


def _problem(one: Series, hours: int, usual: float) -> Problem:
    span = "hour" if hours == 1 else f"{hours} hours"
    words = (
        f"No {one.event_name} came for {one.integration_id} in the last {span}, where {usual:,.0f} are usual."
    )
    return Problem(VOLUME_RULE, f"{one.integration_id}:{one.event_name}", Severity.WARNING, words)
