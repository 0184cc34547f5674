"""Count failed sign-ins by address, and requests by actor."""

import threading
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from ipaddress import ip_address
from time import monotonic

WINDOW_SECONDS = 900.0
# Bounds the memory: the address that was idle longest is evicted first.
MOST_ADDRESSES = 10_000


class FailureCounter:
    """Count failed attempts within the last quarter of an hour, by address.

    Ask only after an attempt has failed: a token has too many bits to be guessed, and checking one costs a
    hash and a look-up, so that locking out the holders of right ones would only help an attacker. The count is
    this process's own.
    """

    def __init__(self, most_by_address: int, clock: Callable[[], float] = monotonic) -> None:
        self._most_by_address = most_by_address
        self._clock = clock
        self._by_address: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def failed(self, address: str) -> float:
        """Count a failed attempt; return how many seconds its sender has to wait, 0 within the limit."""
        with self._lock:
            now, network = self._clock(), _network(address)
            attempts = self._by_address.setdefault(network, deque(maxlen=self._most_by_address))
            self._by_address.move_to_end(network)
            if len(self._by_address) > MOST_ADDRESSES:
                self._by_address.popitem(last=False)
            if len(attempts) == self._most_by_address:
                wait_seconds = attempts[0] + WINDOW_SECONDS - now
                if wait_seconds > 0:
                    return wait_seconds
            attempts.append(now)
            return 0.0


def _network(address: str) -> str:
    """Return the /64 network of an IPv6 address, which is one line's, and an IPv4 address as it is."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return address if parsed.version == 4 else str(int(parsed) >> 64)


SECONDS_A_MINUTE = 60.0


class SlidingWindow:
    """Count the requests of the last minute, exactly, per actor.

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
