"""Report how each ad account does: what waits, what moved, how long it took."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from sqlalchemy import Connection

from worker.ledger.delivery import failures
from worker.ledger.reports import account_status, rollups, tallies
from worker.ledger.setup import ad_accounts as accounts
from worker.ledger.setup import integrations
from worker.ledger.setup.ad_accounts import Credential
from worker.ledger.setup.integrations import Integration
from worker.ledger.upkeep import alerts
from worker.ledger.upkeep.alerts import Alert
from worker.operations.caller import Caller


@dataclass(frozen=True, slots=True)
class Span:
    """Hold a length of time and the steps that it is shown in."""

    key: str
    label: str
    steps: int
    step_seconds: int

    def start_of(self, at: float) -> float:
        """Return the beginning of the step that a time lies in."""
        return at // self.step_seconds * self.step_seconds

    def starts(self, now: float) -> list[float]:
        """Return the beginnings of the steps up to now, the oldest first."""
        last = self.start_of(now)
        return [last - step * self.step_seconds for step in reversed(range(self.steps))]


@dataclass(frozen=True, slots=True)
class Bar:
    """Count how many deliveries ended in one step; ``start`` is in Unix seconds."""

    start: float
    delivered: int
    failed: int
    filtered: int

    @property
    def total(self) -> int:
        return self.delivered + self.failed + self.filtered


@dataclass(frozen=True, slots=True)
class Latency:
    """Hold in how many seconds the ``n`` deliveries of one step arrived: the median and the 95th percentile."""

    start: float
    n: int
    median: float
    p95: float


@dataclass(frozen=True, slots=True)
class Account:
    """Hold how one ad account does; ``moved`` counts outcomes within the span."""

    ad_account_id: str
    integrations: Sequence[Integration]
    credentials: Sequence[Credential]
    pending: int
    in_flight: int
    waiting_since: float | None
    failed_now: int
    moved: Counter[str]
    requests_a_minute: float

    @property
    def rate(self) -> Credential | None:
        return next(iter(self.credentials), None)

    @property
    def requests_a_second(self) -> float:
        return self.requests_a_minute / rollups.SECONDS_A_MINUTE


@dataclass(frozen=True, slots=True)
class Overview:
    """Hold the overview of one moment; bars and latencies cover ``ad_account_id``, or all ad accounts if None."""

    accounts: Sequence[Account]
    ad_account_id: str | None
    bars: Sequence[Bar]
    latencies: Sequence[Latency]
    total_latency: Latency
    inbox_since: float | None
    alerts: Sequence[Alert]


def show_overview(caller: Caller, span: Span, ad_account_id: str | None = None) -> Overview:
    """Report all ad accounts, and draw what moved in a span for one of them or for all."""
    with caller.ledger.snapshot() as connection:
        found = _accounts(connection, span, caller.now)
        chosen = [account for account in found if account.ad_account_id == ad_account_id]
        numbers = [row.number for account in chosen for row in account.integrations] if chosen else None
        starts = span.starts(caller.now)
        moved = rollups.rollups_since(connection, starts[0], span.step_seconds, numbers)
        inbox_since = account_status.oldest_waiting_since(connection)
        firing = alerts.firing_alerts(connection)
    by_step = {start: moved.get(start, Counter()) for start in starts}
    return Overview(
        accounts=found,
        ad_account_id=chosen[0].ad_account_id if chosen else None,
        bars=[_bar(start, counts) for start, counts in by_step.items()],
        latencies=[latency_of(start, counts) for start, counts in by_step.items()],
        total_latency=latency_of(0.0, sum(by_step.values(), Counter())),
        inbox_since=inbox_since,
        alerts=firing,
    )


def latency_of(start: float, counts: Counter[str]) -> Latency:
    """Return how long deliveries took."""
    taken = [(seconds, counts[rollups.latency_step(seconds)]) for seconds in rollups.STEPS_SECONDS]
    n = sum(count for _, count in taken)
    return Latency(start, n, _within(taken, ceil(n * 0.5)), _within(taken, ceil(n * 0.95)))


def _within(taken: Sequence[tuple[float, int]], wanted: int) -> float:
    """Return the upper bound of the ``wanted``-th latency in seconds, 0 without deliveries."""
    so_far = 0
    for seconds, count in taken:
        so_far += count
        if 0 < wanted <= so_far:
            return seconds
    return 0.0


def _bar(start: float, counts: Counter[str]) -> Bar:
    delivered = counts[tallies.DELIVERED] + counts[tallies.TESTED]
    return Bar(start, delivered, counts[tallies.FAILED], counts[tallies.FILTERED])


def _accounts(connection: Connection, span: Span, now: float) -> list[Account]:
    members: dict[str, list[Integration]] = defaultdict(list)
    for row in integrations.iterate_integrations(connection):
        members[row.ad_account_id].append(row)
    credentials: dict[str, list[Credential]] = defaultdict(list)
    for credential in accounts.used_credentials(connection):
        credentials[credential.ad_account_id].append(credential)
    waiting, flying = (
        account_status.pending_by_integration(connection),
        account_status.in_flight_by_account(connection),
    )
    failed = failures.count_failures_by_account(connection)
    moved = rollups.rollups_by_integration(connection, min(span.starts(now)))
    requests = accounts.requests_per_minute(connection, now)
    return [
        _account(
            members.get(ad_account_id, []),
            waiting,
            flying.get(ad_account_id),
            moved,
            ad_account_id=ad_account_id,
            credentials=credentials.get(ad_account_id, []),
            failed_now=failed.get(ad_account_id, 0),
            requests_a_minute=requests.get(ad_account_id, 0.0),
        )
        for ad_account_id in dict.fromkeys([*members, *credentials])
    ]


def _account(
    members: Sequence[Integration],
    waiting: Mapping[int, account_status.WaitingDeliveries],
    flying: account_status.WaitingDeliveries | None,
    moved: Mapping[int, Counter[str]],
    **known: Any,
) -> Account:
    queued = [waiting[row.number] for row in members if row.number in waiting]
    since = [one.since for one in (*queued, *([flying] if flying else []))]
    return Account(
        integrations=members,
        pending=sum(one.deliveries for one in queued),
        in_flight=flying.deliveries if flying else 0,
        waiting_since=min(since, default=None),
        moved=sum((moved.get(row.number, Counter()) for row in members), Counter()),
        **known,
    )
