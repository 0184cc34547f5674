"""When a batch is retried."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Literal

from requests.structures import CaseInsensitiveDict

# Maximum wait that an answer's headers may request: after an hour, Pinterest no longer deduplicates the events.
_MAX_RETRY_AFTER_SECONDS = 3600.0

# More doublings exceed any limit; more than 1,023 overflow a float.
_MOST_DOUBLINGS = 64

# The last attempt is scheduled after the window's end, so that it is the last even if it starts a little early.
_BEYOND_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, for how long and at which intervals a batch is tried. `worker/settings.py` has the defaults."""

    # Attempts through Celery, including the first; later attempts wait in the ledger.
    max_attempts: int
    base_seconds: float
    # Counted from the first attempt.
    window_seconds: float
    # Maximum step between attempts.
    longest_seconds: float = 900.0
    # A Celery ETA must be well below the broker's visibility timeout (300 s), or the message runs twice.
    longest_celery_seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class Wait:
    """Where a batch waits, and for how long; ``over`` means that the window has passed."""

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
    """Decide how long a batch waits after attempt number ``attempt`` failed (1 is the first attempt).

    A wait through Celery is random between 0 and base · 2^(attempt - 1) ("full jitter"); a wait in the ledger is
    random in the upper half of that range. ``longest_seconds`` limits the range. ``after_seconds``, the wait that the
    answer requested, is the minimum, limited to an hour; a minimum too long for a Celery ETA waits in the ledger. The
    last attempt is at the end of the window, or at the minimum if that is later. ``random`` returns [0, 1).

    If the clock steps back, the window becomes longer by the step.
    """
    remaining = policy.window_seconds - max(0.0, now - first_tried_at)
    if remaining <= 0:
        return Wait("over", 0.0)
    floor = _bounded(after_seconds)
    step = min(policy.base_seconds * 2.0 ** min(max(attempt, 1) - 1, _MOST_DOUBLINGS), policy.longest_seconds)
    if attempt < policy.max_attempts and floor <= policy.longest_celery_seconds:
        stage: Literal["celery", "ledger"] = "celery"
        seconds = min(floor + random() * step, policy.longest_celery_seconds)
    else:
        stage = "ledger"
        seconds = max(floor, step / 2) + random() * step / 2
    return Wait(stage, max(floor, min(seconds, remaining + _BEYOND_SECONDS)))


def _bounded(after_seconds: float | None) -> float:
    return 0.0 if after_seconds is None or math.isnan(after_seconds) else _clamp_wait(after_seconds)


# Wait after a 429 without a time: Pinterest's limits are per second and per minute.
_RATE_LIMITED_SECONDS = 5.0

_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
# A larger number is a Unix time, not a wait: it would be a wait of three years.
_LEAST_UNIX_TIME = 1e8


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return the wait that ``Retry-After`` requests, in seconds or as a date, limited to an hour; None without one."""
    headers = CaseInsensitiveDict(headers)
    retry_after = headers.get("Retry-After", "").strip()
    if _NUMBER.fullmatch(retry_after):
        return min(float(retry_after), _MAX_RETRY_AFTER_SECONDS)
    # Both times come from Pinterest's clock, so the local clock does not matter.
    until, now = _time(retry_after), _time(headers.get("Date", ""))
    return _clamp_wait((until - now).total_seconds()) if until and now else None


def rate_limit_seconds(headers: Mapping[str, str]) -> float:
    """Return the wait after a 429: from ``Retry-After`` or ``X-RateLimit-Reset``, else 5 seconds."""
    wait = retry_after_seconds(headers)
    if wait is not None:
        return wait
    headers = CaseInsensitiveDict(headers)
    reset = headers.get("X-RateLimit-Reset", "").replace(";", ",").partition(",")[0].strip()
    if not _NUMBER.fullmatch(reset):
        return _RATE_LIMITED_SECONDS
    if float(reset) < _LEAST_UNIX_TIME:
        return _clamp_wait(float(reset))
    now = _time(headers.get("Date", ""))
    return _clamp_wait(float(reset) - now.timestamp()) if now else _RATE_LIMITED_SECONDS


def _clamp_wait(seconds: float) -> float:
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_SECONDS)


def _time(text: str) -> datetime | None:
    try:
        time = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return time if time.tzinfo else None
