"""Limit the rates of callers and the backlog of their events."""

import math
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

from worker.collector.callers import Caller, Outage, TTLCache
from worker.collector.error_responses import RefusedError
from worker.event.received import Trust
from worker.ledger.database import Ledger, LedgerBusyError, is_ledger_unavailable
from worker.ledger.intake import inbox
from worker.ledger.setup.sources import Source
from worker.settings import IntakeRates, Settings

_MOST_CALLERS = 10_000
_MOST_ADDRESSES = 50_000
# Public calls are refused first: the rest of the disk is for signed ones.
_LEAST_FREE_BYTES = {Trust.PUBLIC: 512 * 1024 * 1024, Trust.SIGNED: 256 * 1024 * 1024}
_CHECK_SECONDS = 2.0
_LONGEST_CHECK_SECONDS = 60.0


class _RateLimit:
    """Limit each caller to a rate a second, with a burst of one second.

    A caller with at least one token may take any number: the balance goes below zero, and the next call waits
    until it is paid back. So a batch larger than the burst is possible, and the average rate holds.

    The count is this process's own: N worker processes let in up to N times as many. Beyond
    ``most_callers`` the caller that was idle longest is evicted, which refills its bucket.
    """

    def __init__(
        self, now: Callable[[], float], per_second: float, limited: str, most_callers: int = _MOST_CALLERS
    ) -> None:
        self._now = now
        self._per_second = per_second
        self._message = f"{limited} is limited to %g %%s a second; send this again later." % per_second
        self._most_callers = most_callers
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def spend(self, caller: str, tokens: int = 1, unit: str = "requests", *, refuse: bool = True) -> None:
        """Take tokens; a refused call costs none. Without ``refuse`` the call was let in before.

        Raises:
            RefusedError: 429, with the whole seconds until there is a token again.
        """
        with self._lock:
            balance = self._tokens(caller)
            if balance >= 1 or not refuse:
                self._keep(caller, balance - tokens)
                return
        wait_seconds = max(1, math.ceil((1 - balance) / self._per_second))
        raise RefusedError(429, "RATE_LIMITED", self._message % unit, retry_after_seconds=wait_seconds)

    def _tokens(self, caller: str) -> float:
        now = self._now()
        tokens, then = self._buckets.get(caller, (self._per_second, now))
        return min(self._per_second, tokens + max(0.0, now - then) * self._per_second)

    def _keep(self, caller: str, tokens: float) -> None:
        self._buckets[caller] = (tokens, self._now())
        self._buckets.move_to_end(caller)
        if len(self._buckets) > self._most_callers:
            self._buckets.popitem(last=False)


class CallRates:
    """Limit requests and events a second: per key or source, and for public calls per client address too.

    Public and signed calls have limits of their own, so that no public caller uses up a signed one's.
    """

    def __init__(self, rates: IntakeRates, now: Callable[[], float]) -> None:
        key, source, address = "This key", "This source", "Your address"
        self._public = (
            _RateLimit(now, rates.public_requests, key),
            _RateLimit(now, rates.public_events, key),
        )
        self._signed = (
            _RateLimit(now, rates.signed_requests, source),
            _RateLimit(now, rates.signed_events, source),
        )
        self._address_requests = _optional(now, rates.address_requests, address)
        self._address_events = _optional(now, rates.address_events, address)

    def spend_public_request(self, network: str | None) -> None:
        """Count a call that is not signed, before its key is looked up; None is not limited.

        Raises:
            RefusedError: 429.
        """
        if self._address_requests is not None and network is not None:
            self._address_requests.spend(network)

    def spend_request(self, caller: Caller) -> None:
        """Count a request of a caller.

        Raises:
            RefusedError: 429.
        """
        (self._signed if caller.signed else self._public)[0].spend(caller.name)

    def spend_events(
        self, caller: Caller | None, network: str | None, events: int, *, refuse: bool = True
    ) -> None:
        """Count the events of a request, whose caller may be unknown yet; without ``refuse`` it is let in already.

        Raises:
            RefusedError: 429.
        """
        is_signed = caller is not None and caller.signed
        if self._address_events is not None and network is not None and not is_signed:
            self._address_events.spend(network, events, "events", refuse=refuse)
        if caller is not None:
            limit = (self._signed if is_signed else self._public)[1]
            limit.spend(caller.name, events, "events", refuse=refuse)


def _optional(now: Callable[[], float], per_second: float, limited: str) -> _RateLimit | None:
    return _RateLimit(now, per_second, limited, _MOST_ADDRESSES) if per_second else None


class _Backlog:
    """Estimate how many signed and public events of a source wait.

    Counting a million rows takes a good part of a second: one request counts while the others go by the last
    number, no more often than every two seconds, and no more than a twentieth of the time.
    """

    def __init__(self, count: Callable[[str], Mapping[Trust, int]], now: Callable[[], float]) -> None:
        self._count = count
        self._now = now
        self._counts: OrderedDict[str, tuple[Mapping[Trust, int], float]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, source_id: str, trust: Trust) -> int:
        """Return the number that was counted last."""
        now = self._now()
        with self._lock:
            counts, due = self._counts.get(source_id, ({}, now))
            # A clock that was set back must not delay the next count for long.
            if 0 < due - now <= _LONGEST_CHECK_SECONDS:
                return counts.get(trust, 0)
            self._keep(source_id, counts, now + _CHECK_SECONDS)
        start = time.monotonic()
        try:
            counts = self._count(source_id)
        except Exception as error:
            if not is_ledger_unavailable(error):
                raise
        rest_seconds = max(_CHECK_SECONDS, 19 * (time.monotonic() - start))
        with self._lock:
            self._keep(source_id, counts, now + min(rest_seconds, _LONGEST_CHECK_SECONDS))
        return counts.get(trust, 0)

    def _keep(self, source_id: str, counts: Mapping[Trust, int], due: float) -> None:
        self._counts[source_id] = (counts, due)
        self._counts.move_to_end(source_id)
        if len(self._counts) > _MOST_CALLERS:
            self._counts.popitem(last=False)


class AdmissionControl:
    """Refuse events when the backlog or the disk is full. Public events never use up the limits of signed ones.

    The checks are cached, so a source may exceed its limit by the events of a few seconds.
    """

    def __init__(
        self,
        ledger: Ledger,
        folder: Path,
        now: Callable[[], float],
        free_bytes: Callable[[Path], int] | None = None,
        outage: Outage | None = None,
    ) -> None:
        self._ledger = ledger
        self._backlog = _Backlog(self._count, now)
        self._free = TTLCache(free_bytes or _free_bytes, _CHECK_SECONDS, 1, now)
        self._folder = folder
        self._outage = outage

    def check(self, source: Source, trust: Trust = Trust.SIGNED) -> None:
        """Refuse where an outage behind the collector would fill the machine.

        Raises:
            RefusedError: 503, with the time to wait.
        """
        if (self._free.get(self._folder) or 0) < _LEAST_FREE_BYTES[trust]:
            message = "The disk is nearly full. Send this again later."
            raise RefusedError(503, "DISK_FULL", message, retry_after_seconds=60)
        if self._backlog.of(source.id, trust) >= source.backlog_limit(trust):
            message = "Too many events of this source wait to be processed. Send this again later."
            raise RefusedError(503, "BACKLOG_FULL", message, retry_after_seconds=30)

    def _count(self, source_id: str) -> Mapping[Trust, int]:
        if self._outage and self._outage.is_away:
            raise LedgerBusyError("the ledger is away")
        with self._ledger.read() as connection:
            counts = inbox.backlogs(connection, [source_id])
        return {trust: counts[source_id, trust] for trust in Trust}


def state_folder(ledger: Ledger, settings: Settings) -> Path:
    """Return the folder whose volume is checked for free space. A database server checks its own disk."""
    if ledger.is_sqlite and ledger.url.database:
        return Path(ledger.url.database).parent
    return settings.var if settings.var.exists() else Path.cwd()


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free
