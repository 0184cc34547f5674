"""Export metrics for Prometheus from the ledger.

Every process that changes the state of an event writes its tally in the same transaction. So these numbers are exact,
survive restarts, and are the same in whichever process answers a scrape. Counters in each process would not be.
Other measurements, such as refusals and the durations of requests, are aggregated by each process, which adds them to
the ledger every few seconds.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hmac import compare_digest
from ipaddress import ip_address
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from werkzeug.datastructures import Headers

from worker.ledger.database import Ledger, is_ledger_unavailable
from worker.ledger.intake import spool
from worker.ledger.reports import account_status, measures, tallies
from worker.ledger.reports.account_status import AccountState
from worker.ledger.reports.measures import Measured
from worker.ledger.reports.tallies import SECONDS_PER_HOUR
from worker.monitoring import measures_as_metrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# All scrapes within this time share one query of the ledger.
_REMEMBERED_SECONDS = 5.0
# Each ad account has seven series. Accounts beyond this number are summed up in one.
_MOST_ACCOUNTS = 100
_OTHER_ACCOUNTS = "other"
# Counting more would read an index of millions of rows on each scrape.
_MOST_PENDING = 100_000

_INGESTED = (tallies.MAPPED, tallies.WITHOUT_DESTINATION, tallies.CONSUMED, tallies.EVENT_ERASED)
_DELIVERIES = (
    tallies.CREATED,
    tallies.DELIVERED,
    tallies.TESTED,
    tallies.FAILED,
    tallies.FILTERED,
    tallies.DUPLICATE,
    tallies.DROPPED,
    tallies.RETRIED,
    tallies.DISCARDED,
    tallies.ERASED,
)


@dataclass(frozen=True, slots=True)
class _Figures:
    """The numbers from the ledger for one export."""

    moved: Counter[str]
    measured: Measured
    inbox_since: float | None
    accounts: list[AccountState]
    now: float


class Exporter:
    """Export every metric of a ledger, and of the spool of this host. Thread-safe.

    While the ledger is away only the spool is exported.
    """

    def __init__(
        self, ledger: Ledger, now: Callable[[], float] = time.time, spool: Path | None = None
    ) -> None:
        self._ledger, self._now, self._spool = ledger, now, spool
        self._looking = threading.Lock()
        self._closed_hours: tuple[int, Counter[str]] = (0, Counter())
        self._text, self._written_at = b"", float("-inf")

    def text(self) -> bytes:
        """Return the metrics in Prometheus' text format, at most a few seconds old."""
        with self._looking:
            now = self._now()
            # After the clock was set back, the cached text must not stay in use.
            if not 0 <= now - self._written_at < _REMEMBERED_SECONDS:
                registry = CollectorRegistry(auto_describe=False)
                registry.register(_Families(self._all(now)))
                self._text, self._written_at = generate_latest(registry), now
            return self._text

    def _all(self, now: float) -> list[Metric]:
        of_spool = list(_spool_metrics(self._spool)) if self._spool is not None else []
        try:
            return [*_all_metrics(self._look(now)), *of_spool]
        except Exception as error:
            if not of_spool or not is_ledger_unavailable(error):
                raise
            return of_spool

    def _look(self, now: float) -> _Figures:
        with self._ledger.snapshot() as connection:
            # A worker whose clock is behind may still add rows to the last hour. The sum of the hours before it is
            # computed once an hour.
            open_since = int(now // SECONDS_PER_HOUR) - 1
            if self._closed_hours[0] != open_since:
                self._closed_hours = (open_since, tallies.tally_totals(connection, before_hour=open_since))
            return _Figures(
                moved=self._closed_hours[1] + tallies.tally_totals(connection, since_hour=open_since),
                measured=measures.measure_totals(connection),
                inbox_since=account_status.oldest_waiting_since(connection),
                accounts=account_status.account_statuses(connection, now, _MOST_PENDING),
                now=now,
            )


def _all_metrics(figures: _Figures) -> Iterator[Metric]:
    """Yield every metric, with its name and meaning; an outcome that never happened is 0."""
    yield CounterMetricFamily(
        "signal_events_accepted",
        "Events that the collector took and keeps.",
        value=figures.moved[tallies.ACCEPTED],
    )
    yield _by_outcome("signal_events_ingested", "Events processed, by outcome.", _INGESTED, figures.moved)
    yield _by_outcome(
        "signal_deliveries",
        "State changes of deliveries, by new state. A delivery is one event for one integration.",
        _DELIVERIES,
        figures.moved,
    )
    yield GaugeMetricFamily(
        "signal_inbox_oldest_age_seconds",
        "Age of the oldest accepted event that was not ingested yet; 0 without one.",
        value=_age(figures.inbox_since, figures.now),
    )
    yield from measures_as_metrics.measured_metrics(figures.measured)
    yield from _of_accounts(_group_small_accounts(figures.accounts), figures.now)


def _spool_metrics(folder: Path) -> Iterator[Metric]:
    """Yield the metrics of the spool of this host."""
    spooled = spool.count_spooled(folder)
    yield GaugeMetricFamily(
        "signal_spool_events",
        "Events in the spool of this host, which waits for the database.",
        value=spooled.events,
    )
    yield GaugeMetricFamily("signal_spool_bytes", "Size of the spool of this host.", value=spooled.size_bytes)


def _group_small_accounts(accounts: list[AccountState], limit: int = _MOST_ACCOUNTS) -> list[AccountState]:
    """Sum up all ad accounts after the first ``limit``, so that the number of series has an upper limit."""
    if len(accounts) <= limit:
        return accounts
    largest, rest = accounts[:limit], accounts[limit:]
    together = AccountState(
        ad_account_id=_OTHER_ACCOUNTS,
        pending=sum(account.pending for account in rest),
        pending_since=_first(account.pending_since for account in rest),
        in_flight=sum(account.in_flight for account in rest),
        in_flight_since=_first(account.in_flight_since for account in rest),
        paused=any(account.paused for account in rest),
        breaker_open=any(account.breaker_open for account in rest),
        # The account that is closest to its limit matters.
        rate_tokens=min(account.rate_tokens for account in rest),
    )
    return [*largest, together]


def _of_accounts(accounts: list[AccountState], now: float) -> Iterator[Metric]:
    yield _by_account(
        "signal_deliveries_pending",
        "Deliveries that wait for a batch; an integration with more than 100,000 shows as 100,000.",
        ((account, account.pending) for account in accounts),
    )
    yield _by_account(
        "signal_pending_oldest_age_seconds",
        "Time since the oldest pending delivery was accepted; 0 without one.",
        ((account, _age(account.pending_since, now)) for account in accounts),
    )
    yield _by_account(
        "signal_deliveries_in_flight",
        "Deliveries in batches that are ready to be sent or being sent.",
        ((account, account.in_flight) for account in accounts),
    )
    yield _by_account(
        "signal_in_flight_oldest_age_seconds",
        "Time since the oldest unsettled batch was created; 0 without one.",
        ((account, _age(account.in_flight_since, now)) for account in accounts),
    )
    yield _by_account(
        "signal_breaker_open",
        "1 while sending is suspended after consecutive failures.",
        ((account, float(account.breaker_open)) for account in accounts),
    )
    yield _by_account(
        "signal_account_paused",
        "1 while nothing is sent, because an operator paused the account or Pinterest refused the token.",
        ((account, float(account.paused)) for account in accounts),
    )
    yield _by_account(
        "signal_rate_tokens",
        "Requests that can be sent at once before the rate limit delays them.",
        ((account, account.rate_tokens) for account in accounts),
    )


def _by_outcome(name: str, meaning: str, outcomes: Iterable[str], moved: Counter[str]) -> Metric:
    family = CounterMetricFamily(name, meaning, labels=["outcome"])
    for outcome in outcomes:
        family.add_metric([outcome], moved[outcome])
    return family


def _by_account(name: str, meaning: str, values: Iterable[tuple[AccountState, float]]) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=["ad_account"])
    for account, value in values:
        family.add_metric([account.ad_account_id], value)
    return family


def _age(since: float | None, now: float) -> float:
    return max(0.0, now - since) if since is not None else 0.0


def _first(times: Iterable[float | None]) -> float | None:
    return min((at for at in times if at is not None), default=None)


class _Families(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


REFUSAL = (
    "Metrics need METRICS_TOKEN (Authorization: Bearer …). If it is not set, only this machine may read them, "
    "without a proxy."
)
# Headers that proxies add. With any of them, a loopback peer is a proxy and not the client.
_FORWARDING = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP")


def may_read(headers: Headers, peer: str | None, token: str) -> bool:
    """Return whether a request may read the metrics.

    If ``token`` is set, the request must present it. Otherwise it must come from this machine and not through a proxy.
    A proxy that adds none of the usual headers is not recognised: set the token there.
    """
    if token:
        header = headers.get("Authorization", "")
        return compare_digest(header.encode(), f"Bearer {token}".encode())
    if any(name in headers for name in _FORWARDING):
        return False
    return _is_loopback(peer)


def _is_loopback(peer: str | None) -> bool:
    try:
        address = ip_address(peer or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
