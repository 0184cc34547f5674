"""Wait for a condition, up to a time limit."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# The limits fit a quick machine; others take twice as long.
_SLACK = 2


def until(what: str, done: Callable[[], T], seconds: float = 60.0, every: float = 0.1) -> T:
    """Return the first true result of ``done()``; fail with ``what`` after the time limit."""
    deadline = time.monotonic() + _SLACK * seconds
    while True:
        result = done()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {_SLACK * seconds:g} s (last seen: {result!r})")
        time.sleep(every)
