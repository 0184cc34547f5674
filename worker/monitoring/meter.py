"""Aggregate the measurements of a process, and write them to the ledger every few seconds.

Counting costs a lock and an addition, and never a write: a client that is refused a million times causes one row.
A process that is killed loses its counts since the last write. Numbers that must be exact are counted in the
transaction that they belong to.
"""

import threading
from collections.abc import Callable
from socket import gethostname

from worker import logs
from worker.ledger.database import Ledger
from worker.ledger.reports import measures
from worker.ledger.reports.measures import Histogram, Measured

log = logs.of(__name__)

_WRITE_SECONDS = 5.0
# A larger difference between the clocks of a host and of the database is recorded this often.
_GOOD_SKEW_SECONDS = 2.0
_SKEW_SECONDS = 60.0


class Meter:
    """Aggregate counts and observations. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._measured = Measured()

    def count(self, name: str, label: str = "", n: int = 1) -> None:
        """Add ``n`` to a counter."""
        with self._lock:
            self._measured.count(name, label, n)

    def observe(self, histogram: Histogram, value: float, label: str = "") -> None:
        """Add a value to a histogram."""
        with self._lock:
            self._measured.observe(histogram, value, label)

    def write(self, ledger: Ledger) -> None:
        """Write the measurements to the ledger; if that fails, keep them for the next write and raise the error."""
        with self._lock:
            collection, self._measured = self._measured, Measured()
        if not collection.amounts:
            return
        try:
            with ledger.write() as connection:
                measures.append_measures(connection, collection)
        except Exception:
            with self._lock:
                self._measured.merge(collection)
            raise


class MeterWriter:
    """Write a meter every few seconds in its own thread, and once more on close."""

    def __init__(self, meter: Meter, ledger: Callable[[], Ledger], seconds: float = _WRITE_SECONDS) -> None:
        self._meter, self._ledger, self._seconds = meter, ledger, seconds
        self._closing = threading.Event()
        self._failing = False
        self._skew_at = float("-inf")
        self._thread = threading.Thread(target=self._run, name="meter-writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self, timeout_seconds: float = 2.0) -> None:
        """Write the rest; wait for it for ``timeout_seconds`` at most."""
        self._closing.set()
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while not self._closing.wait(self._seconds):
            self._write()
        self._write()

    def _record_skew(self, ledger: Ledger) -> None:
        skew_seconds, now = ledger.clock_skew_seconds(), ledger.now()
        if abs(skew_seconds) > _GOOD_SKEW_SECONDS and not 0 <= now - self._skew_at < _SKEW_SECONDS:
            with ledger.write() as connection:
                measures.record_skew(connection, gethostname(), skew_seconds, now)
            self._skew_at = now

    def _write(self) -> None:
        try:
            self._meter.write(self._ledger())
            self._record_skew(self._ledger())
            self._failing = False
        except Exception as error:  # noqa: BLE001 - the thread must survive an outage of the database
            if not self._failing:
                log.warning("measures_not_written", error=type(error).__name__)
            self._failing = True
