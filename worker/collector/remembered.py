"""Remember for a few seconds what was looked up."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """Look something up, at most once in so many seconds for each key.

    A change shows after at most that time. The oldest entry goes when there are too many. None is not
    remembered, so that a flood of unknown keys cannot push the known ones out.
    """

    def __init__(
        self, look_up: Callable[[K], V | None], seconds: float, at_most: int, now: Callable[[], float]
    ) -> None:
        self._look_up = look_up
        self._seconds = seconds
        self._at_most = at_most
        self._now = now
        self._kept: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """Return what belongs to a key; what the look-up raises passes through."""
        now = self._now()
        with self._lock:
            kept = self._kept.get(key)
        # A clock that was set back must not keep an entry for longer.
        if kept is not None and 0 <= now - kept[0] < self._seconds:
            return kept[1]
        value = self._look_up(key)
        if value is None:
            self._forget(key)
        else:
            self._keep(key, now, value)
        return value

    def _keep(self, key: K, now: float, value: V) -> None:
        with self._lock:
            self._kept[key] = (now, value)
            self._kept.move_to_end(key)
            if len(self._kept) > self._at_most:
                self._kept.popitem(last=False)

    def _forget(self, key: K) -> None:
        with self._lock:
            self._kept.pop(key, None)
