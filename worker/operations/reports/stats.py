"""Count what happened to events and deliveries, by hour and integration."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from worker.ledger.reports import tallies
from worker.ledger.reports.tallies import SECONDS_PER_HOUR
from worker.ledger.setup import integrations
from worker.operations.caller import Caller
from worker.operations.deliveries.selection import hour_of, integration_number

# The tallies' number for no integration: what happened to an event before it had one.
_NO_INTEGRATION = 0


@dataclass(frozen=True, slots=True)
class _HourlyCounts:
    """Count outcomes in one hour; ``hour`` is in Unix seconds. A deleted integration has no id."""

    hour: int
    integration_id: str | None
    outcomes: Counter[str]


@dataclass(frozen=True, slots=True)
class HourlyReport:
    """Hold hourly counts of events and of deliveries since a time in Unix seconds."""

    since: int
    events: Sequence[_HourlyCounts]
    deliveries: Sequence[_HourlyCounts]


def count_by_hour(caller: Caller, since: float, integration_id: str | None = None) -> HourlyReport:
    """Count what happened to events and deliveries, by hour and integration, since a time in Unix seconds.

    Raises:
        InvalidError: the time is too long ago, or there is no such integration.
    """
    number, since_hour = integration_number(caller, integration_id), hour_of(caller, since)
    with caller.ledger.read() as connection:
        ids = integrations.public_ids(connection)
        rows = tallies.tallies_by_hour(connection, since_hour, None if number is None else [number])
    of_events = [row for row in rows if row[1] == _NO_INTEGRATION]
    of_deliveries = [row for row in rows if row[1] != _NO_INTEGRATION]
    return HourlyReport(since_hour * SECONDS_PER_HOUR, _hours(of_events, ids), _hours(of_deliveries, ids))


def _hours(rows: Sequence[tuple[int, int, str, int]], ids: Mapping[int, str]) -> list[_HourlyCounts]:
    counts: dict[tuple[int, str | None], Counter[str]] = defaultdict(Counter)
    for hour, number, outcome, n in rows:
        counts[hour, ids.get(number)][outcome] += n
    return [
        _HourlyCounts(hour * SECONDS_PER_HOUR, integration_id, outcomes)
        for (hour, integration_id), outcomes in counts.items()
    ]
