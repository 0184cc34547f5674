"""Limit the processor time of one event."""

import time
from collections.abc import Callable
from typing import TypeVar

_Result = TypeVar("_Result")

# The slowest known event of 64 KB takes less than 20 ms.
_MAX_CPU_SECONDS = 0.5
# Imports and garbage collection may slow down the first try, but not by more than this.
_FIRST_TRY_FACTOR = 10


class CostlyEventError(Exception):
    """Mapping an event takes too long; ``seconds`` is the processor time of the last try."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__("Mapping the event takes too much processor time.")


def within_budget(work: Callable[[], _Result], deliveries: Callable[[_Result], int]) -> _Result:
    """Run ``work``, which must be safe to repeat, within the budget of one event.

    The budget is ``_MAX_CPU_SECONDS`` for each of the deliveries that the event became.

    Raises:
        CostlyEventError: the work exceeded the budget by far, or twice.
    """
    for factor in (_FIRST_TRY_FACTOR, 1):
        start = time.thread_time()
        result = work()
        seconds = time.thread_time() - start
        budget = _MAX_CPU_SECONDS * max(1, deliveries(result))
        if seconds <= budget:
            return result
        if seconds > factor * budget:
            break
    raise CostlyEventError(seconds)
