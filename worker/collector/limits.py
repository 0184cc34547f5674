"""Bound what callers may send, and what may pile up behind them."""

import math
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from worker.collector.errors import RefusedError
from worker.collector.remembered import Remembered
from worker.ledger import inbox
from worker.ledger.engine import Ledger
from worker.ledger.sources import BACKLOG_EVENTS, Source
from worker.settings import Settings

REQUESTS_PER_SECOND = 1_000
MOST_CALLERS = 10_000
LEAST_FREE_BYTES = 256 * 1024 * 1024
CHECK_SECONDS = 2.0
LONGEST_CHECK_SECONDS = 60.0


class RequestRate:
    """Let each caller make so many requests a second, with a burst of one second's worth.

    The count is this process's own: with N worker processes a caller may make up to N times as many. Callers
    that were quiet the longest are forgotten beyond `MOST_CALLERS`, which gives them a full bucket again.
    """

    def __init__(
        self,
        now: Callable[[], float],
        per_second: float = REQUESTS_PER_SECOND,
        most_callers: int = MOST_CALLERS,
    ) -> None:
        self._now = now
        self._per_second = per_second
        self._most_callers = most_callers
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def spend(self, caller: str) -> None:
        """Take one token.

        Raises:
            RefusedError: 429, with the whole seconds until there is a token again.
        """
        with self._lock:
            tokens = self._tokens(caller)
            if tokens >= 1:
                self._keep(caller, tokens - 1)
                return
        wait_seconds = max(1, math.ceil((1 - tokens) / self._per_second))
        message = f"This key may make {self._per_second:g} requests a second; send this again later."
        raise RefusedError(429, "RATE_LIMITED", message, retry_after_seconds=wait_seconds)

    def _tokens(self, caller: str) -> float:
        now = self._now()
        tokens, then = self._buckets.get(caller, (self._per_second, now))
        return min(self._per_second, tokens + max(0.0, now - then) * self._per_second)

    def _keep(self, caller: str, tokens: float) -> None:
        self._buckets[caller] = (tokens, self._now())
        self._buckets.move_to_end(caller)
        if len(self._buckets) > self._most_callers:
            self._buckets.popitem(last=False)


class Backlog:
    """Know about how many events of a source wait.

    Counting a million rows takes a good part of a second: one request counts while the others go by the last
    number, no more often than every two seconds, and no more than a twentieth of the time.
    """

    def __init__(self, count: Callable[[str], int], now: Callable[[], float]) -> None:
        self._count = count
        self._now = now
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, source_id: str) -> int:
        """Return the number that was counted last."""
        now = self._now()
        with self._lock:
            waiting, due = self._counts.get(source_id, (0, now))
            # A clock that was set back must not put the next count off for long.
            if 0 < due - now <= LONGEST_CHECK_SECONDS:
                return waiting
            self._keep(source_id, waiting, now + CHECK_SECONDS)
        started = time.monotonic()
        waiting = self._count(source_id)
        rest_seconds = max(CHECK_SECONDS, 19 * (time.monotonic() - started))
        with self._lock:
            self._keep(source_id, waiting, now + min(rest_seconds, LONGEST_CHECK_SECONDS))
        return waiting

    def _keep(self, source_id: str, waiting: int, due: float) -> None:
        self._counts[source_id] = (waiting, due)
        self._counts.move_to_end(source_id)
        if len(self._counts) > MOST_CALLERS:
            self._counts.popitem(last=False)


class Room:
    """Know whether the inbox and the disk have room for more.

    Neither is looked at for each request, so that a source may pass its bound by what it sends meanwhile.
    """

    def __init__(
        self,
        ledger: Ledger,
        folder: Path,
        now: Callable[[], float],
        free_bytes: Callable[[Path], int] | None = None,
    ) -> None:
        self._ledger = ledger
        self._backlog = Backlog(self._count, now)
        self._free = Remembered(free_bytes or _free_bytes, CHECK_SECONDS, 1, now)
        self._folder = folder

    def check(self, source: Source) -> None:
        """Refuse where an outage behind the collector would fill the machine.

        Raises:
            RefusedError: 503, with the time to wait.
        """
        if (self._free.get(self._folder) or 0) < LEAST_FREE_BYTES:
            message = "The disk is nearly full; send this later."
            raise RefusedError(503, "DISK_FULL", message, retry_after_seconds=60)
        if self._backlog.of(source.id) >= source.options.get("backlog_limit", BACKLOG_EVENTS):
            message = "Too many events of this source wait to be worked on; send this later."
            raise RefusedError(503, "BACKLOG_FULL", message, retry_after_seconds=30)

    def _count(self, source_id: str) -> int:
        with self._ledger.read() as connection:
            return inbox.backlog(connection, source_id)


def state_folder(ledger: Ledger, settings: Settings) -> Path:
    """Return the folder whose volume must keep some room; a database server watches over its own disk."""
    if ledger.is_sqlite and ledger.url.database:
        return Path(ledger.url.database).parent
    return settings.var if settings.var.exists() else Path.cwd()


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free
