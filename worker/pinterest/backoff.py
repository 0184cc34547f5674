"""When a batch is tried again: the retry policy as a value."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

# Bounds what an answer's headers may ask for: an hour later events lose their deduplication at Pinterest.
LONGEST_AFTER_SECONDS = 3600.0

# Beyond this the doubling is over any bound, and beyond 1,023 it is over any float.
_MOST_DOUBLINGS = 64

# The last try is aimed behind the window's end: one that starts a little early is then still the last.
_BEYOND_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Hold how often, how long and how far apart a batch is tried."""

    # Tries of Celery's stage, the first included; what fails after them waits in the ledger.
    max_attempts: int = 5
    base_seconds: float = 4.0
    # Counted from the first try.
    window_seconds: float = 86_400.0
    # The step at which the ledger's waits stop growing.
    longest_seconds: float = 900.0
    # No Celery ETA may come near the broker's visibility timeout (300 s): the message would run twice.
    longest_celery_seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class Wait:
    """Say who waits, and how long; ``over`` means that the window has passed and nobody does."""

    stage: Literal["celery", "ledger", "over"]
    seconds: float


def next_wait(
    policy: RetryPolicy,
    attempt: int,
    first_tried_at: float,
    now: float,
    after_seconds: float | None,
    random: Callable[[], float],
) -> Wait:
    """Decide how long a batch waits after its ``attempt``-th try failed (1: the first one just did).

    Celery's stage draws from 0 to base · 2^(attempt - 1), which spreads a herd best ("full jitter"); the
    ledger's from the upper half of that, up to the longest step. What the answer asked for is a floor
    under the draw, bounded to an hour; one too long for a Celery ETA waits in the ledger. A wait ends with
    the window, where one last try is made, unless the floor lies beyond it. ``random`` draws from [0, 1).

    A clock that stepped back prolongs the window by its step, and does no more.
    """
    remaining = policy.window_seconds - max(0.0, now - first_tried_at)
    if remaining <= 0:
        return Wait("over", 0.0)
    floor = _bounded(after_seconds)
    step = min(policy.base_seconds * 2.0 ** min(max(attempt, 1) - 1, _MOST_DOUBLINGS), policy.longest_seconds)
    if attempt < policy.max_attempts and floor <= policy.longest_celery_seconds:
        stage: Literal["celery", "ledger"] = "celery"
        drawn = min(floor + random() * step, policy.longest_celery_seconds)
    else:
        stage = "ledger"
        drawn = max(floor, step / 2) + random() * step / 2
    return Wait(stage, max(floor, min(drawn, remaining + _BEYOND_SECONDS)))


def _bounded(after_seconds: float | None) -> float:
    if after_seconds is None or math.isnan(after_seconds):
        return 0.0
    return min(max(after_seconds, 0.0), LONGEST_AFTER_SECONDS)
