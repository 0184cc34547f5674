"""Decide when an event happened, and whether that is too long ago."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from worker.events.received import Received
from worker.events.times import parse_time
from worker.pinterest.explain import Explanation

LATE_SECONDS = 3600
STALE_SECONDS = 7 * 86_400
# Below this a difference between two clocks is a slow line rather than a wrong clock.
CLOCK_TOLERANCE_SECONDS = 60
FUTURE_TOLERANCE_SECONDS = 600


class TimeError(Exception):
    """Say why an event's time cannot be sent; ``reason_class`` is the short name of the reason."""

    def __init__(self, reason_class: str, reason: str) -> None:
        self.reason_class = reason_class
        super().__init__(reason)


class Timing(NamedTuple):
    """Hold when an event happened, in Unix seconds, and how that looks from now."""

    event_time: int
    late: bool
    stale: bool


def time_event(
    event: Mapping[str, Any], received: Received, now: float, explain: Explanation | None = None
) -> Timing:
    """Return when an event happened, by the receiver's clock; it does not depend on ``now``.

    A sender whose ``sentAt`` differs from the time of receipt has a wrong clock, and its ``timestamp`` is
    moved by the difference. A little ahead of the receipt counts as the receipt.

    Raises:
        TimeError: ``bad_timestamp`` when there is no reading it, ``future`` when it is too far ahead.
    """
    happened = _moment(event, "timestamp")
    if happened is None:
        happened = received.received_at
        _tell(explain, "no timestamp: the time of receipt")
    else:
        happened += _skew(event, received, explain)
    ahead = happened - received.received_at
    if ahead > FUTURE_TOLERANCE_SECONDS:
        raise TimeError("future", f"the event is dated {int(ahead)} seconds after it was received")
    if ahead > 0:
        happened = received.received_at
        if ahead >= 1:
            _tell(explain, f"dated {int(ahead)} seconds after its receipt: the time of receipt")
    if explain is not None:
        _tell(explain, f"happened at {datetime.fromtimestamp(int(happened), UTC):%Y-%m-%d %H:%M:%S} UTC")
    age = now - happened
    if age > LATE_SECONDS:
        _tell(explain, f"{int(age)} seconds old: late, Pinterest may count it as offline")
    return Timing(int(happened), age > LATE_SECONDS, age > STALE_SECONDS)


def _moment(event: Mapping[str, Any], field: str) -> float | None:
    raw = event.get(field)
    if raw is None or raw == "":
        return None
    moment = parse_time(raw)
    if moment is None:
        raise TimeError("bad_timestamp", f"{field} is no time")
    return moment


def _skew(event: Mapping[str, Any], received: Received, explain: Explanation | None) -> float:
    sent = _moment(event, "sentAt")
    skew = 0.0 if sent is None else received.received_at - sent
    if abs(skew) <= CLOCK_TOLERANCE_SECONDS:
        return 0.0
    _tell(
        explain,
        f"the sender's clock is {abs(int(skew))} seconds {'behind' if skew > 0 else 'ahead'}: corrected",
    )
    return skew


def _tell(explain: Explanation | None, text: str) -> None:
    if explain is not None:
        explain.add("time", text)
