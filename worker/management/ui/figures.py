"""Put together what the overview shows."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from worker.ledger import accounts, failures, finding, integrations, standing, tallies
from worker.ledger.accounts import Credential
from worker.ledger.failures import Filter
from worker.ledger.finding import Found
from worker.ledger.tallies import SECONDS_AN_HOUR
from worker.management.ui.charts import Bar, Span

MOST_INTEGRATIONS = 1_000
# The ledger counts by hour; minutes are counted from the deliveries themselves, as long as these are few.
MOST_COUNTED_ONE_BY_ONE = 3_000


@dataclass(frozen=True, slots=True)
class Account:
    """Hold how one ad account does."""

    ad_account_id: str
    integrations: tuple[integrations.Integration, ...]
    credentials: tuple[Credential, ...]
    pending: int
    in_flight: int
    waiting_since: float | None
    failed_now: int
    moved: Counter[str]

    @property
    def rate(self) -> Credential | None:
        return next(iter(self.credentials), None)


def by_account(connection: Connection, span: Span, now: float) -> list[Account]:
    """Return the ad accounts, each with what waits now and what moved within a span."""
    known = integrations.page(connection, MOST_INTEGRATIONS)
    waiting, flying = standing.pending(connection), standing.in_flight(connection)
    used = accounts.in_use(connection)
    moved = _moved(connection, known, span, now)
    ids = dict.fromkeys([one.ad_account_id for one in known] + [one.ad_account_id for one in used])
    return [
        _account(
            ad_account_id,
            [one for one in known if one.ad_account_id == ad_account_id],
            [one for one in used if one.ad_account_id == ad_account_id],
            waiting,
            flying.get(ad_account_id),
            failures.count(connection, Filter(ad_account_id=ad_account_id)),
            moved,
        )
        for ad_account_id in ids
    ]


def bars(connection: Connection, span: Span, now: float) -> list[Bar] | None:
    """Return one bar for each step of a span; None where there are too many events to count by minutes."""
    if span.step_seconds < SECONDS_AN_HOUR:
        newest = finding.newest_id(connection)
        found = finding.after(connection, newest - MOST_COUNTED_ONE_BY_ONE, MOST_COUNTED_ONE_BY_ONE)
        return _by_minute(found, span, now)
    counted: dict[float, Counter[str]] = {start: Counter() for start in span.starts(now)}
    first = min(counted)
    for hour, _, outcome, n in tallies.by_hour(connection, int(first // SECONDS_AN_HOUR)):
        start = span.start_of(hour * SECONDS_AN_HOUR)
        # Another machine's clock may be ahead.
        if start in counted:
            counted[start][outcome] += n
    return _to_bars(counted)


def _account(
    ad_account_id: str,
    mine: Sequence[integrations.Integration],
    credentials: Sequence[Credential],
    waiting: dict[int, standing.Waiting],
    flying: standing.Waiting | None,
    failed_now: int,
    moved: dict[int, Counter[str]],
) -> Account:
    queued = [waiting[one.number] for one in mine if one.number in waiting]
    since = [one.since for one in (*queued, *([flying] if flying else []))]
    total: Counter[str] = Counter()
    for one in mine:
        total += moved.get(one.number, Counter())
    return Account(
        ad_account_id=ad_account_id,
        integrations=tuple(mine),
        credentials=tuple(credentials),
        pending=sum(one.deliveries for one in queued),
        in_flight=flying.deliveries if flying else 0,
        waiting_since=min(since, default=None),
        failed_now=failed_now,
        moved=total,
    )


def _moved(
    connection: Connection, known: Iterable[integrations.Integration], span: Span, now: float
) -> dict[int, Counter[str]]:
    numbers = [one.number for one in known]
    moved: dict[int, Counter[str]] = {number: Counter() for number in numbers}
    first = int(min(span.starts(now)) // SECONDS_AN_HOUR)
    for _, number, outcome, n in tallies.by_hour(connection, first, numbers):
        moved[number][outcome] += n
    return moved


def _by_minute(found: Sequence[Found], span: Span, now: float) -> list[Bar] | None:
    counted: dict[float, Counter[str]] = {start: Counter() for start in span.starts(now)}
    if len(found) == MOST_COUNTED_ONE_BY_ONE and found[0].accepted_at > min(counted):
        return None
    for one in found:
        start = span.start_of(one.ended_at or 0.0)
        if start in counted:
            counted[start][one.stands] += 1
    return _to_bars(counted)


def _to_bars(counted: dict[float, Counter[str]]) -> list[Bar]:
    return [
        Bar(
            start,
            counts[tallies.DELIVERED] + counts[tallies.TESTED],
            counts[tallies.FAILED],
            counts[tallies.FILTERED],
        )
        for start, counts in sorted(counted.items())
    ]
