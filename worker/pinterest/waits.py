"""Read from an answer's headers how long to wait."""

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

from requests.structures import CaseInsensitiveDict

from worker.pinterest.backoff import LONGEST_AFTER_SECONDS

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
        return min(float(told), LONGEST_AFTER_SECONDS)
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
    return min(max(seconds, 0.0), LONGEST_AFTER_SECONDS)


def _time(text: str) -> datetime | None:
    try:
        time = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return time if time.tzinfo else None
