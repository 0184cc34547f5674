"""Count failed sign-ins by address, and requests by actor, and bound the work on passwords."""

import threading
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from enum import StrEnum
from ipaddress import ip_address
from time import monotonic, sleep
from typing import TypeVar

_T = TypeVar("_T")

_WINDOW_SECONDS = 900.0
# Bounds the memory: the address that was idle longest is evicted first.
_MOST_ADDRESSES = 10_000


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
            if len(self._by_address) > _MOST_ADDRESSES:
                self._by_address.popitem(last=False)
            wait_seconds = self._wait_seconds(attempts, now)
            if not wait_seconds:
                attempts.append(now)
            return wait_seconds

    def is_over(self, address: str) -> bool:
        """Return whether one more failed attempt is over the limit; count nothing."""
        with self._lock:
            attempts = self._by_address.get(_network(address), deque())
            return self._wait_seconds(attempts, self._clock()) > 0

    def _wait_seconds(self, attempts: "deque[float]", now: float) -> float:
        if len(attempts) < self._most_by_address:
            return 0.0
        return max(0.0, attempts[0] + _WINDOW_SECONDS - now)


def _network(address: str) -> str:
    """Return the /64 network of an IPv6 address, which is one line's, and an IPv4 address as it is."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    return address if ip.version == 4 else str(int(ip) >> 64)


class Lane(StrEnum):
    """Name a line of people who wait until their password is checked."""

    # The person has signed in with this browser before.
    KNOWN_BROWSER = "known browser"
    OTHERS = "others"
    # There were too many wrong passwords from this address.
    GUESSING_ADDRESS = "guessing address"


# How many may be in a line, and for how many seconds a wrong password keeps it occupied.
_LINES = {Lane.KNOWN_BROWSER: (2, 0.5), Lane.OTHERS: (2, 0.5), Lane.GUESSING_ADDRESS: (1, 1.0)}


class LaneFullError(Exception):
    """As many people wait as the lane takes."""


class PasswordLanes:
    """Let each lane check one password at a time, and take so few that the other pages keep their threads.

    A check costs 50 ms of a core. Wrong passwords of any number of senders take at most five checks a second, and
    take no turn from a browser that is known. No lane is ever closed, so that the right password gets its turn.
    The lanes are this process's own.
    """

    def __init__(self, sleep: Callable[[float], object] = sleep) -> None:
        self._sleep = sleep
        self._places = {lane: threading.BoundedSemaphore(most) for lane, (most, _) in _LINES.items()}
        self._turns = {lane: threading.Lock() for lane in Lane}

    def check(self, lane: Lane, check: Callable[[], _T | None]) -> _T | None:
        """Wait for a turn, and return what a check of a password returns: None if it is wrong.

        Raises:
            LaneFullError: too many wait already.
        """
        if not self._places[lane].acquire(blocking=False):
            raise LaneFullError
        try:
            with self._turns[lane]:
                result = check()
                if result is None:
                    self._sleep(_LINES[lane][1])
                return result
        finally:
            self._places[lane].release()


_SECONDS_A_MINUTE = 60.0


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

    def take(self, key: str) -> float:
        """Count one request and return 0, or count nothing and return the seconds to wait."""
        with self._lock:
            now = self._clock()
            times = self._taken[key]
            while times and times[0] <= now - _SECONDS_A_MINUTE:
                times.popleft()
            if len(times) >= self._most:
                return times[0] + _SECONDS_A_MINUTE - now
            times.append(now)
            return 0.0
