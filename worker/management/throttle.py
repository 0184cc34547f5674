"""Hold each token to so many requests a minute."""

import threading
from collections import defaultdict, deque
from collections.abc import Callable
from time import monotonic

SECONDS_A_MINUTE = 60.0


class SlidingWindow:
    """Count the requests of the last minute, exactly, for each who asks.

    The count is this process's own: with several processes behind one port, each lets as many through. It
    keeps one number for each request let through, so only known tokens may be counted here.
    """

    def __init__(self, most_a_minute: int, clock: Callable[[], float] = monotonic) -> None:
        self._most = most_a_minute
        self._clock = clock
        self._taken: defaultdict[str, deque[float]] = defaultdict(deque)
        self._lock = threading.Lock()

    def take(self, who: str) -> float:
        """Count one request and return 0, or count nothing and return the seconds to wait."""
        with self._lock:
            now = self._clock()
            taken = self._taken[who]
            while taken and taken[0] <= now - SECONDS_A_MINUTE:
                taken.popleft()
            if len(taken) >= self._most:
                return taken[0] + SECONDS_A_MINUTE - now
            taken.append(now)
            return 0.0
