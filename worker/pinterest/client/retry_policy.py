"""When a batch is tried again: the retry policy as a value."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Literal

from requests.structures import CaseInsensitiveDict

# Bounds what an answer's headers may ask for: an hour later events lose their deduplication at Pinterest.
MAX_RETRY_AFTER_SECONDS = 3600.0

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
    return min(max(after_seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


# A refusal for speed that names no time: Pinterest's limits are per second and per minute.
_RATE_LIMITED_SECONDS = 5.0

_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
# No limit is reset in three years: such a number is a time, not a wait.
_LEAST_UNIX_TIME = 1e8


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return the bounded wait that ``Retry-After`` names, in seconds or as a date; None where it names none."""
    headers = CaseInsensitiveDict(headers)
    told = headers.get("Retry-After", "").strip()
    if _NUMBER.fullmatch(told):
        return min(float(told), MAX_RETRY_AFTER_SECONDS)
    # Both times are by Pinterest's clock, so that ours may be wrong.
    until, now = _time(told), _time(headers.get("Date", ""))
    return _clamp_wait((until - now).total_seconds()) if until and now else None


def rate_limit_seconds(headers: Mapping[str, str]) -> float:
    """Return how long to wait after a refusal for speed: as told, in any of two headers, else a few seconds."""
    told = retry_after_seconds(headers)
    if told is not None:
        return told
    headers = CaseInsensitiveDict(headers)
    reset = headers.get("X-RateLimit-Reset", "").replace(";", ",").partition(",")[0].strip()
    if not _NUMBER.fullmatch(reset):
        return _RATE_LIMITED_SECONDS
    if float(reset) < _LEAST_UNIX_TIME:
        return _clamp_wait(float(reset))
    now = _time(headers.get("Date", ""))
    return _clamp_wait(float(reset) - now.timestamp()) if now else _RATE_LIMITED_SECONDS


def _clamp_wait(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


def _time(text: str) -> datetime | None:
    try:
        time = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return time if time.tzinfo else None
