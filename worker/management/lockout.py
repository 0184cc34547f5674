"""Hold off whoever guesses."""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from ipaddress import ip_address
from time import monotonic

WINDOW_SECONDS = 900.0
# More addresses than this are forgotten, the one that was quiet for longest first: memory stays bounded.
MOST_ADDRESSES = 10_000


class Lockout:
    """Count wrong guesses within the last quarter of an hour, by address and altogether.

    The count is this process's own, and a right guess does not get through either while the door is closed.
    The bound over all addresses is for guesses from many at once; it closes the door for everybody.
    """

    def __init__(
        self, most_by_address: int, most_altogether: int, clock: Callable[[], float] = monotonic
    ) -> None:
        self._most_by_address = most_by_address
        self._clock = clock
        self._altogether: deque[float] = deque(maxlen=most_altogether)
        self._by_address: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_seconds(self, address: str) -> float:
        """Return how long an address has to wait before it may try, 0 where it may now."""
        with self._lock:
            mine = self._by_address.get(_network(address))
            return max(self._left(self._altogether), self._left(mine) if mine else 0.0)

    def wrong(self, address: str) -> None:
        """Count a wrong guess."""
        with self._lock:
            now, network = self._clock(), _network(address)
            mine = self._by_address.setdefault(network, deque(maxlen=self._most_by_address))
            self._by_address.move_to_end(network)
            mine.append(now)
            self._altogether.append(now)
            if len(self._by_address) > MOST_ADDRESSES:
                self._by_address.popitem(last=False)

    def _left(self, guesses: deque[float]) -> float:
        if len(guesses) < (guesses.maxlen or 0):
            return 0.0
        return max(0.0, guesses[0] + WINDOW_SECONDS - self._clock())


def _network(address: str) -> str:
    """Take the 2^64 addresses that one line is given for one."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return address if parsed.version == 4 else str(int(parsed) >> 64)
