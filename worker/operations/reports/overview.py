"""Report how each ad account does: what waits, what moved, how long it took."""

import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from threading import Lock
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import Connection

from worker.ledger.database import Ledger
from worker.ledger.delivery import failure_groups
from worker.ledger.delivery.failure_groups import GroupState, ReasonGroup
from worker.ledger.delivery.failures import FailureFilter
from worker.ledger.reports import account_status, tallies
from worker.ledger.reports import overview as queries
from worker.ledger.reports.account_status import WaitingDeliveries
from worker.ledger.setup import ad_accounts as accounts
from worker.ledger.setup import integrations, sources
from worker.ledger.setup.ad_accounts import Credential
from worker.ledger.setup.integrations import Integration
from worker.ledger.setup.sources import Source
from worker.ledger.upkeep import alert_queries, alerts
from worker.ledger.upkeep.alerts import Alert
from worker.operations.caller import Caller

# The largest open groups of failures that the overview names.
_MOST_GROUPS = 5
# Reading 200,000 failed deliveries takes about a second, and the overview reads them every few seconds.
_SLOW_SECONDS, _KEPT_TIMES = 0.25, 20
# Longer silence of a source counts as never.
_SILENCE_DAYS = 31

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Span:
    """Hold a length of time and the steps that it is shown in."""

    key: str
    label: str
    steps: int
    step_seconds: int

    def _start_of(self, at: float) -> float:
        """Return the beginning of the step that a time lies in."""
        return at // self.step_seconds * self.step_seconds

    def starts(self, now: float) -> list[float]:
        """Return the beginnings of the steps up to now, the oldest first."""
        last = self._start_of(now)
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
class _Account:
    """Hold how one ad account does; ``moved`` counts outcomes within the span.

    ``name`` is its id if it has no name.
    """

    ad_account_id: str
    name: str
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
        return self.requests_a_minute / tallies.SECONDS_A_MINUTE


@dataclass(frozen=True, slots=True)
class _Attention:
    """Hold what a person should look at: alerts, paused accounts without one, open failures, silent sources.

    A silent source has the hours since its last event; None is never, or a month.
    """

    alerts: Sequence[Alert]
    paused: Sequence[_Account]
    failures: Sequence[ReasonGroup]
    silent: Sequence[tuple[Source, int | None]]
    # The ways in which alerts could not be sent, each with the time of its oldest alert.
    unsent: Mapping[str, float]

    def __bool__(self) -> bool:
        return any((self.alerts, self.paused, self.failures, self.silent, self.unsent))


@dataclass(frozen=True, slots=True)
class Overview:
    """Hold the overview of one moment; bars and latencies cover ``ad_account_id``, or all ad accounts if None.

    ``before`` has the bars of an equally long time before, up to the same point of its last step.
    """

    accounts: Sequence[_Account]
    ad_account_id: str | None
    bars: Sequence[Bar]
    before: Sequence[Bar]
    latencies: Sequence[Latency]
    total_latency: Latency
    inbox_since: float | None
    attention: _Attention


def show_overview(caller: Caller, span: Span, ad_account_id: str | None = None) -> Overview:
    """Report all ad accounts, and draw what moved in a span for one of them or for all."""
    groups = _GROUPS.setdefault(caller.ledger, _SlowAnswer()).get(lambda: _failure_groups(caller))
    with caller.ledger.snapshot() as connection:
        all_accounts = _accounts(connection, span, caller.now, groups)
        chosen = [account for account in all_accounts if account.ad_account_id == ad_account_id]
        numbers = [row.number for account in chosen for row in account.integrations] if chosen else None
        starts, length = span.starts(caller.now), span.steps * span.step_seconds
        moved = queries.moved_by_step(connection, starts[0], span.step_seconds, numbers)
        earlier = queries.moved_by_step(
            connection, starts[0] - length, span.step_seconds, numbers, until=caller.now - length
        )
        inbox_since = account_status.oldest_waiting_since(connection)
        attention = _attention(connection, all_accounts, groups, caller.now)
    by_step = {start: moved.get(start, Counter()) for start in starts}
    return Overview(
        accounts=all_accounts,
        ad_account_id=chosen[0].ad_account_id if chosen else None,
        bars=[_bar(start, counts) for start, counts in by_step.items()],
        before=[_bar(start - length, earlier.get(start - length, Counter())) for start in starts],
        latencies=[_latency_of(start, counts) for start, counts in by_step.items()],
        total_latency=_latency_of(0.0, sum(by_step.values(), Counter())),
        inbox_since=inbox_since,
        attention=attention,
    )


class _SlowAnswer(Generic[_T]):
    """Keep an answer for `_KEPT_TIMES` as long as it took, so that pages that refresh load the database little.

    An answer that took less than `_SLOW_SECONDS` is not kept.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, Lock()
        self._kept: tuple[float, _T] | None = None

    def get(self, read: Callable[[], _T]) -> _T:
        """Return the answer that is kept, or a new one. Only one thread reads at a time."""
        with self._lock:
            start = self._clock()
            if self._kept is None or start >= self._kept[0]:
                answer = read()
                seconds = self._clock() - start
                kept_seconds = _KEPT_TIMES * seconds if seconds >= _SLOW_SECONDS else 0.0
                self._kept = start + seconds + kept_seconds, answer
            return self._kept[1]


_GROUPS: WeakKeyDictionary[Ledger, _SlowAnswer[Sequence[ReasonGroup]]] = WeakKeyDictionary()


def _failure_groups(caller: Caller) -> Sequence[ReasonGroup]:
    with caller.ledger.read() as connection:
        return failure_groups.failed_by_reason(connection, FailureFilter(), caller.now)


def _latency_of(start: float, counts: Counter[str]) -> Latency:
    """Return how long deliveries took."""
    buckets = [(seconds, counts[tallies.latency_step(seconds)]) for seconds in tallies.STEPS_SECONDS]
    n = sum(count for _, count in buckets)
    return Latency(start, n, _within(buckets, ceil(n * 0.5)), _within(buckets, ceil(n * 0.95)))


def _within(buckets: Sequence[tuple[float, int]], rank: int) -> float:
    """Return the upper bound of the ``rank``-th latency in seconds, 0 without deliveries."""
    total = 0
    for seconds, count in buckets:
        total += count
        if 0 < rank <= total:
            return seconds
    return 0.0


def _bar(start: float, counts: Counter[str]) -> Bar:
    delivered = counts[tallies.DELIVERED] + counts[tallies.TESTED]
    return Bar(start, delivered, counts[tallies.FAILED], counts[tallies.FILTERED])


_ID_IN_SENTENCE = re.compile(r"\bad account \d+|\b[\w-]+")


def _with_names(text: str, accounts: Mapping[str, str], sources: Mapping[str, str]) -> str:
    """Return a sentence of an alert with the names of its ad account and source."""
    names = {
        f"ad account {account_id}": f"ad account {name} ({account_id})"
        for account_id, name in accounts.items()
        if account_id != name
    }
    names |= sources
    return _ID_IN_SENTENCE.sub(lambda match: names.get(match[0], match[0]), text)


def _attention(
    connection: Connection, accounts: Sequence[_Account], groups: Sequence[ReasonGroup], now: float
) -> _Attention:
    firing = alerts.firing_alerts(connection)
    alerted = {(alert.rule, alert.subject) for alert in firing}
    by_id = {source.id: source for source in sources.iterate_sources(connection)}
    names = {account.ad_account_id: account.name for account in accounts}
    source_names = {source.id: source.name for source in by_id.values()}
    used_ids = {
        integration.source_id
        for account in accounts
        for integration in account.integrations
        if integration.enabled
    }
    hour = int(now // tallies.SECONDS_PER_HOUR)
    last = alert_queries.last_accepted_hours(connection, hour - _SILENCE_DAYS * 24)
    silent = (
        _silence_of(source, last.get(source.id), hour) for source in by_id.values() if source.id in used_ids
    )
    return _Attention(
        alerts=[replace(alert, summary=_with_names(alert.summary, names, source_names)) for alert in firing],
        paused=[
            account
            for account in accounts
            if any(credential.paused_at for credential in account.credentials)
            and alerted.isdisjoint(
                (rule, account.ad_account_id) for rule in ("token_refused", "account_paused")
            )
        ],
        failures=[group for group in groups if group.state is GroupState.OPEN][:_MOST_GROUPS],
        silent=[silence for silence in silent if silence and ("source_silent", silence[0].id) not in alerted],
        unsent=alerts.unsent_since(connection, now),
    )


def _silence_of(source: Source, last_hour: int | None, hour: int) -> tuple[Source, int | None] | None:
    """Return for how long a source has sent nothing, if longer than its threshold; hours are since 1970."""
    if last_hour is None:
        return source, None
    limit = source.alert_thresholds["silent_hours"]
    return (source, hour - last_hour) if limit and hour - last_hour > limit else None


def _accounts(
    connection: Connection, span: Span, now: float, groups: Sequence[ReasonGroup]
) -> list[_Account]:
    members: dict[str, list[Integration]] = defaultdict(list)
    for row in integrations.iterate_integrations(connection):
        members[row.ad_account_id].append(row)
    credentials: dict[str, list[Credential]] = defaultdict(list)
    for credential in accounts.used_credentials(connection):
        credentials[credential.ad_account_id].append(credential)
    pending = account_status.pending_by_account(connection)
    in_flight = account_status.in_flight_by_account(connection)
    failed: Counter[str] = Counter()
    for group in groups:
        failed[group.ad_account_id] += group.n
    names = integrations.account_names(connection)
    moved = queries.moved_by_account(connection, min(span.starts(now)))
    requests = queries.requests_per_minute(connection, now)
    return [
        _Account(
            ad_account_id=ad_account_id,
            name=names.get(ad_account_id, ad_account_id),
            integrations=members.get(ad_account_id, []),
            credentials=credentials.get(ad_account_id, []),
            pending=_deliveries(pending.get(ad_account_id)),
            in_flight=_deliveries(in_flight.get(ad_account_id)),
            waiting_since=_oldest(pending.get(ad_account_id), in_flight.get(ad_account_id)),
            failed_now=failed[ad_account_id],
            moved=moved.get(ad_account_id, Counter()),
            requests_a_minute=requests.get(ad_account_id, 0.0),
        )
        for ad_account_id in dict.fromkeys([*members, *credentials])
    ]


def _deliveries(waiting: WaitingDeliveries | None) -> int:
    return waiting.deliveries if waiting else 0


def _oldest(*groups: WaitingDeliveries | None) -> float | None:
    return min((waiting.since for waiting in groups if waiting), default=None)
