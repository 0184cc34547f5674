"""Gather what a process measures, and write it into the ledger every few seconds.

Counting costs a lock and an addition, and never a write: whoever is refused a million times makes one row
of it. A process that is killed loses what it counted since the last write; what must be exact is counted in
the transaction that it belongs to.
"""

import threading
from collections.abc import Callable

from worker import logs
from worker.ledger.database import Ledger
from worker.ledger.reports import measures
from worker.ledger.reports.measures import Histogram, Measured

log = logs.of(__name__)

_WRITE_SECONDS = 5.0


class Meter:
    """Gather counts and observations; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._measured = Measured()

    def count(self, name: str, label: str = "", n: int = 1) -> None:
        """Count something that happened."""
        with self._lock:
            self._measured.count(name, label, n)

    def observe(self, histogram: Histogram, value: float, label: str = "") -> None:
        """Count a value in its bucket."""
        with self._lock:
            self._measured.observe(histogram, value, label)

    def write(self, ledger: Ledger) -> None:
        """Write what was gathered; where the ledger does not take it, it is kept for the next time."""
        with self._lock:
            taken, self._measured = self._measured, Measured()
        if not taken.amounts:
            return
        try:
            with ledger.write() as connection:
                measures.append_measures(connection, taken)
        except Exception:
            with self._lock:
                self._measured.merge(taken)
            raise


class MeterWriter:
    """Write a meter every few seconds from a thread of its own, and once more when it is closed."""

    def __init__(self, meter: Meter, ledger: Callable[[], Ledger], seconds: float = _WRITE_SECONDS) -> None:
        self._meter, self._ledger, self._seconds = meter, ledger, seconds
        self._closing = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="meter-writer", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def close(self, timeout_seconds: float = 2.0) -> None:
        """Write what is left, unless the ledger takes longer than the time given."""
        self._closing.set()
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while not self._closing.wait(self._seconds):
            self._write()
        self._write()

    def _write(self) -> None:
        try:
            self._meter.write(self._ledger())
            self._failing = False
        except Exception as error:  # noqa: BLE001 - the thread must outlive a database that is away
            if not self._failing:
                log.warning("measures_not_written", error=type(error).__name__)
            self._failing = True
