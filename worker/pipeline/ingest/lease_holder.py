"""Track the inbox rows that this process works on, and lease them in the ledger when that takes long."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import uuid4
from weakref import WeakKeyDictionary

from worker import logs
from worker.ledger.database import Ledger
from worker.ledger.intake import leases

log = logs.of(__name__)

# A normal bulk takes 0.25 s and is never leased.
LEASE_AFTER_SECONDS = 2.0
# A dead or hanging worker keeps its rows for at most this long.
LEASE_SECONDS = 15.0
_RENEW_SECONDS = 5.0
# A thread without progress for this long counts as dead.
_STUCK_SECONDS = 60.0
_WATCH_INTERVAL_SECONDS = 0.5
# The watching thread of an idle process ends after this.
_IDLE_SECONDS = 5.0


class RunLease:
    """Hold the ids that one run works on, and their lease."""

    def __init__(self, ledger: Ledger, ids: Sequence[int]) -> None:
        self.holder = uuid4().hex
        self._ledger = ledger
        self._lock = threading.Lock()
        self._ids = list(ids)
        self._began = self._progressed = time.monotonic()
        self._leased_at: float | None = None
        self._ended = False

    @property
    def ids(self) -> list[int]:
        return self._ids

    def set_ids(self, ids: Sequence[int]) -> None:
        """Set the ids that are left, which also records progress."""
        self._ids = list(ids)
        self._progressed = time.monotonic()

    def _is_due(self) -> bool:
        """Return whether the rows should be leased now, or the lease renewed."""
        now = time.monotonic()
        if now - self._progressed > _STUCK_SECONDS:
            return False
        if self._leased_at is None:
            return now - self._began > LEASE_AFTER_SECONDS
        return now - self._leased_at > _RENEW_SECONDS

    def lease_if_due(self) -> None:
        """Write the lease if it is due and the run has not ended; if the ledger is away, the next check tries again."""
        if not self._is_due():
            return
        with self._lock:
            if self._ended:
                return
            try:
                with self._ledger.write() as connection:
                    leases.save_lease(connection, self.holder, self._ids, LEASE_SECONDS)
                self._leased_at = time.monotonic()
            except Exception as error:  # noqa: BLE001 - leases only save work
                log.warning("lease_not_written", error=type(error).__name__)

    def was_leased(self, ids: Sequence[int]) -> None:
        """Record that the caller leased these rows in its own transaction."""
        self.set_ids(ids)
        self._leased_at = time.monotonic()

    def end(self) -> None:
        """End a written lease; if the ledger is away, it expires."""
        with self._lock:
            self._ended = True
            if self._leased_at is None:
                return
            try:
                with self._ledger.write() as connection:
                    leases.end_lease(connection, self.holder)
            except Exception as error:  # noqa: BLE001 - must not hide an error of the run
                log.warning("lease_not_written", error=type(error).__name__)


class ProcessLeases:
    """Hold the runs of all threads of a process; a thread of its own writes their leases.

    A short run costs a dictionary entry and no write.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, RunLease] = {}
        self._thread: threading.Thread | None = None
        self._checked_at = 0.0

    @contextmanager
    def hold(self, ledger: Ledger, ids: Sequence[int]) -> Iterator[RunLease]:
        """Track ids while the body runs."""
        lease = RunLease(ledger, ids)
        with self._lock:
            self._held[lease.holder] = lease
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="ingest-leases", daemon=True)
                self._thread.start()
        try:
            yield lease
        finally:
            with self._lock:
                del self._held[lease.holder]
            lease.end()

    def ids_of_others(self, holder: str) -> set[int]:
        """Return the ids of the other runs of this process."""
        with self._lock:
            run_leases = [lease for lease in self._held.values() if lease.holder != holder]
        return {event_id for lease in run_leases for event_id in lease.ids}

    def may_check(self, seconds: float) -> bool:
        """Return True to one caller per ``seconds``."""
        now = time.monotonic()
        with self._lock:
            if now - self._checked_at < seconds:
                return False
            self._checked_at = now
        return True

    def _watch(self) -> None:
        used_at = time.monotonic()
        while True:
            time.sleep(_WATCH_INTERVAL_SECONDS)
            now = time.monotonic()
            with self._lock:
                holdings = list(self._held.values())
                if holdings:
                    used_at = now
                elif now - used_at > _IDLE_SECONDS:
                    self._thread = None
                    return
            for lease in holdings:
                lease.lease_if_due()


_BY_LEDGER: WeakKeyDictionary[Ledger, ProcessLeases] = WeakKeyDictionary()
_LOCK = threading.Lock()


def process_leases(ledger: Ledger) -> ProcessLeases:
    """Return the leases of this process in a ledger."""
    with _LOCK:
        return _BY_LEDGER.setdefault(ledger, ProcessLeases())
