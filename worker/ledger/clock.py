"""Tell the time that all hosts share: the database server's."""

import threading
import time
from collections.abc import Callable

_MEASURE_SECONDS = 10.0
# A slower answer says too little about the moment in which the server looked at its clock.
_LONGEST_ANSWER_SECONDS = 1.0


class SharedClock:
    """Follow another clock without a query for each look. Until it is measured, this machine's clock applies.

    ``look`` returns the other clock's time, or None without an answer. Between two measurements the time runs on
    evenly: a step of this machine's clock changes nothing.
    """

    def __init__(
        self, look: Callable[[], float | None], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._look, self._monotonic = look, monotonic
        self._ahead: float | None = None
        self._due_at = float("-inf")
        self._thread: threading.Thread | None = None

    def now(self) -> float:
        """Return the time in Unix seconds; a thread measures it again every few seconds."""
        here = self._monotonic()
        if here >= self._due_at:
            self._due_at = here + _MEASURE_SECONDS
            self._thread = threading.Thread(target=self.measure, name="clock", daemon=True)
            self._thread.start()
        return time.time() if self._ahead is None else here + self._ahead

    def finish(self) -> None:
        """Wait a few seconds for a measurement that runs, before its connection is closed."""
        if self._thread is not None:
            self._thread.join(2 * _LONGEST_ANSWER_SECONDS)

    def skew_seconds(self) -> float:
        """Return how far this machine's clock is ahead of the other one; 0 until that is measured."""
        return time.time() - self.now()

    def measure(self) -> None:
        """Look at the other clock; if it does not answer, the last measurement remains."""
        before = self._monotonic()
        self._due_at = before + _MEASURE_SECONDS
        there = self._look()
        after = self._monotonic()
        if there is not None and after - before <= _LONGEST_ANSWER_SECONDS:
            self._ahead = there - (before + after) / 2
