"""Bound the processor time that one event may take."""

import time
from collections.abc import Callable
from typing import TypeVar

_Result = TypeVar("_Result")

# The slowest event of 64 KB that the tests know takes less than 20 ms.
MAX_CPU_SECONDS = 0.5
# Loading a module or collecting the garbage of other events may slow down the first try, but not by so much.
_FIRST_TRY_FACTOR = 10


class CostlyEventError(Exception):
    """Say in a sentence that an event costs too much; ``seconds`` is the processor time of the last try."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__("Mapping the event takes too much processor time.")


def within_budget(work: Callable[[], _Result], deliveries: Callable[[_Result], int]) -> _Result:
    """Return what an event was mapped to; the work must be safe to repeat.

    The budget is ``MOST_CPU_SECONDS`` for each of the deliveries that the event became.

    Raises:
        CostlyEventError: the work exceeded the budget by far, or twice.
    """
    for most in (_FIRST_TRY_FACTOR, 1):
        began = time.thread_time()
        result = work()
        spent = time.thread_time() - began
        budget = MAX_CPU_SECONDS * max(1, deliveries(result))
        if spent <= budget:
            return result
        if spent > most * budget:
            break
    raise CostlyEventError(spent)
