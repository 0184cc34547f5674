"""Report the books, hourly counts, match quality and sales."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from worker.ledger.delivery import deliveries as sales_store
from worker.ledger.delivery.deliveries import SalesLine
from worker.ledger.reports import books, tallies
from worker.ledger.reports import quality as quality_store
from worker.ledger.reports.books import Books
from worker.ledger.reports.quality import Quality
from worker.ledger.reports.tallies import SECONDS_PER_HOUR
from worker.ledger.setup import integrations
from worker.ledger.setup.integrations import Integration
from worker.operations.caller import Caller
from worker.operations.deliveries.selection import integration_number
from worker.operations.errors import InvalidError
from worker.operations.reports.match_quality_advice import advise
from worker.pipeline.upkeep.purging import QUALITY_DAYS

SECONDS_A_DAY = 86_400
# The tallies' number for no integration: what happened to an event before it had one.
_NO_INTEGRATION = 0
FIRST_DAY = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class HourlyCounts:
    """Count outcomes in one hour; ``hour`` is in Unix seconds. A deleted integration has no id."""

    hour: int
    integration_id: str | None
    outcomes: Counter[str]


@dataclass(frozen=True, slots=True)
class HourlyReport:
    """Hold hourly counts of events and of deliveries since a time in Unix seconds."""

    since: int
    events: Sequence[HourlyCounts]
    deliveries: Sequence[HourlyCounts]


@dataclass(frozen=True, slots=True)
class QualityRow:
    """Hold the match quality of one event name; ``since`` is in Unix seconds. A deleted integration is None."""

    integration: Integration | None
    event_name: str
    since: int
    quality: Quality
    advice: Sequence[str]


@dataclass(frozen=True, slots=True)
class QualityReport:
    """Hold the match quality since a time in Unix seconds."""

    since: int
    rows: Sequence[QualityRow]


def close_books(caller: Caller, *, audit: bool = False) -> Books:
    """Account for every accepted event and every delivery at one moment.

    ``audit`` counts every row as well, which takes seconds for each million of them.
    """
    with caller.ledger.snapshot() as connection:
        return books.recount_books(connection) if audit else books.balance_books(connection)


def count_by_hour(caller: Caller, since: float, integration_id: str | None = None) -> HourlyReport:
    """Count what happened to events and deliveries, by hour and integration, since a time in Unix seconds.

    Raises:
        InvalidError: the time is too long ago, or there is no such integration.
    """
    number, since_hour = integration_number(caller, integration_id), _since_hour(caller, since)
    with caller.ledger.read() as connection:
        ids = integrations.public_ids(connection)
        rows = tallies.tallies_by_hour(connection, since_hour, None if number is None else [number])
    of_events = [row for row in rows if row[1] == _NO_INTEGRATION]
    of_deliveries = [row for row in rows if row[1] != _NO_INTEGRATION]
    return HourlyReport(since_hour * SECONDS_PER_HOUR, _hours(of_events, ids), _hours(of_deliveries, ids))


def report_quality(
    caller: Caller, since: float, integration_id: str | None = None, step_hours: int | None = None
) -> QualityReport:
    """Report which identifiers came with events, by integration and event name, since a time in Unix seconds.

    With ``step_hours`` also by steps of time; there is no advice then.

    Raises:
        InvalidError: the time is too long ago, or there is no such integration.
    """
    number, since_hour = integration_number(caller, integration_id), _since_hour(caller, since)
    with caller.ledger.read() as connection:
        found = quality_store.quality_since(connection, since_hour, number, step_hours)
        known = {row.id: row for row in integrations.iterate_integrations(connection)} if found else {}
    rows = [
        QualityRow(
            known.get(key.integration_id or ""),
            key.event_name,
            key.from_hour * SECONDS_PER_HOUR,
            quality,
            advise(quality) if step_hours is None else (),
        )
        for key, quality in found.items()
    ]
    return QualityReport(since_hour * SECONDS_PER_HOUR, rows)


def report_sales(caller: Caller, days: int, source_id: str | None = None) -> list[SalesLine]:
    """Return what was delivered on each of the last days, the latest first, by event name and currency.

    Where something was refunded, a line ``refund`` has it with a minus, and a line ``net`` the checkouts without it.
    """
    # A day may have begun already in the time zone of the source.
    today = (datetime.fromtimestamp(caller.now, UTC).date() - FIRST_DAY).days
    with caller.ledger.read() as connection:
        lines = sales_store.sales_since(connection, today - days + 1, source_id)
    return sorted(_with_net(lines), key=lambda line: -line.day)


def _with_net(lines: Sequence[SalesLine]) -> list[SalesLine]:
    def place(line: SalesLine) -> tuple[int, str, str]:
        return line.day, line.currency, line.ad_account_id

    sold = {place(line): line for line in lines if line.event_name == "checkout"}
    shown: list[SalesLine] = []
    for line in lines:
        if line.event_name != sales_store.REFUND:
            shown.append(line)
            continue
        checkouts = sold.get(place(line), line._replace(n=0, value=Decimal(0)))
        net = checkouts.value - line.value
        shown += [line._replace(value=-line.value), checkouts._replace(event_name="net", value=net)]
    return shown


def _since_hour(caller: Caller, since: float) -> int:
    if since < caller.now - QUALITY_DAYS * SECONDS_A_DAY:
        raise InvalidError("since", f"must be within the last {QUALITY_DAYS} days")
    return int(since // SECONDS_PER_HOUR)


def _hours(rows: Sequence[tuple[int, int, str, int]], ids: Mapping[int, str]) -> list[HourlyCounts]:
    counted: dict[tuple[int, str | None], Counter[str]] = defaultdict(Counter)
    for hour, number, outcome, n in rows:
        counted[hour, ids.get(number)][outcome] += n
    return [
        HourlyCounts(hour * SECONDS_PER_HOUR, integration_id, outcomes)
        for (hour, integration_id), outcomes in counted.items()
    ]
