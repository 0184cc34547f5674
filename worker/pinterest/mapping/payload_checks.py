"""Determine the event time, and decide whether a payload may be sent."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from worker.event.problems import Problem
from worker.event.received import Received
from worker.event.times import EARLIEST_SECONDS, parse_time
from worker.pinterest.custom_data.refunds import Refund
from worker.pinterest.event_names.event_names import CUSTOM_KIND
from worker.pinterest.mapping.call import Call, Explanation, Notes
from worker.pinterest.mapping.contract import contract_error, has_identity

_LATE_SECONDS = 3600
_STALE_SECONDS = 7 * 86_400
# A smaller difference between two clocks is network delay, not a wrong clock.
_CLOCK_TOLERANCE_SECONDS = 60
# A larger delay is a request that waited in a queue, and no clock that is behind.
_LONGEST_DELAY_SECONDS = 5_400
_FUTURE_TOLERANCE_SECONDS = 600


class TimeError(Exception):
    """The event's time cannot be sent; ``reason_class`` is the short name of the reason."""

    def __init__(self, reason_class: str, reason: str) -> None:
        self.reason_class = reason_class
        super().__init__(reason)


class Timing(NamedTuple):
    """When an event happened, in Unix seconds, and whether that is long ago."""

    event_time: int
    late: bool
    stale: bool


def time_event(
    event: Mapping[str, Any], received: Received, now: float, explain: Explanation | None = None
) -> Timing:
    """Return when an event happened, by the receiver's clock; the event time does not depend on ``now``.

    If ``sentAt`` differs from the time of receipt, the sender's clock is wrong, and ``timestamp`` is corrected by the
    difference. A ``sentAt`` long before the receipt is a request that waited, and corrects nothing. A time slightly
    after the receipt becomes the time of receipt.

    Raises:
        TimeError: ``bad_timestamp`` if a time cannot be parsed, ``future`` if it is too far in the future.
    """
    happened = _read_time(event, "timestamp")
    if happened is None:
        happened = received.received_at
        _explain_time(explain, "no timestamp: the time of receipt")
    else:
        skew = _skew(event, received, explain)
        # A clock that is behind does not move an event beyond its receipt.
        happened = happened + skew if skew <= 0 else max(happened, min(happened + skew, received.received_at))
    ahead = happened - received.received_at
    if ahead > _FUTURE_TOLERANCE_SECONDS:
        raise TimeError("future", f"the event is dated {ahead / 3_600:,.1f} h after it was received")
    if ahead > 0:
        happened = received.received_at
        if ahead >= 1:
            _explain_time(explain, f"dated {int(ahead)} s after its receipt: the time of receipt")
    if explain is not None:
        # A clock that is thousands of years ahead moves the time before the first year.
        shown = datetime.fromtimestamp(max(int(happened), EARLIEST_SECONDS), UTC)
        _explain_time(explain, f"happened at {shown:%Y-%m-%d %H:%M:%S} UTC")
    age = now - happened
    if age > _LATE_SECONDS:
        _explain_time(explain, f"{int(age)} s old: late, Pinterest may count it as offline")
    return Timing(int(happened), age > _LATE_SECONDS, age > _STALE_SECONDS)


def _read_time(event: Mapping[str, Any], field: str) -> float | None:
    raw = event.get(field)
    if raw is None or (type(raw) is str and not raw.strip()):
        return None
    seconds = parse_time(raw)
    if seconds is None:
        raise TimeError("bad_timestamp", f"{field} is not a time")
    return seconds


def _skew(event: Mapping[str, Any], received: Received, explain: Explanation | None) -> float:
    sent = _read_time(event, "sentAt")
    skew = 0.0 if sent is None else received.received_at - sent
    if abs(skew) <= _CLOCK_TOLERANCE_SECONDS:
        return 0.0
    if skew > _LONGEST_DELAY_SECONDS:
        _explain_time(explain, f"sent {int(skew)} s before its receipt: it waited, no correction")
        return 0.0
    _explain_time(
        explain,
        f"the sender's clock is {abs(int(skew))} s {'behind' if skew > 0 else 'ahead'}: corrected",
    )
    return skew


def _explain_time(explain: Explanation | None, text: str) -> None:
    if explain is not None:
        explain.add("time", text)


# Not frozen: that would take as long as hashing four values.
@dataclass(slots=True)
class Mapped:
    """An event in Pinterest's format.

    Pinterest cannot deduplicate ``offline`` events; ``late`` events are over an hour old. ``identifiers`` has the names
    of those that are present, with ``ip_ua`` for IP address and user agent together. ``public_fields`` names the fields
    of the user data that neither the event nor a signed call gave.
    """

    event_name: str
    event_id: str
    event_time: int
    action_source: str
    payload: dict[str, Any]
    source_name: str
    custom_event_name: str | None
    late: bool
    offline: bool
    computed: tuple[str, ...]
    warnings: tuple[str, ...]
    problems: tuple[Problem, ...]
    identifiers: tuple[str, ...]
    consent: str | None = None
    public_fields: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """An event that may not be sent, and why. It has its payload if an operator may force sending it."""

    event_name: str | None
    event_id: str
    source_name: str
    reason_class: str
    reason: str
    payload: dict[str, Any] | None = None
    custom_event_name: str | None = None
    event_time: int | None = None
    warnings: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    consent: str | None = None
    public_fields: str | None = None


@dataclass(frozen=True, slots=True)
class Filtered:
    """An event that was not sent because of consent or the bot filter."""

    event_id: str
    source_name: str
    reason: str
    problems: tuple[Problem, ...] = ()
    consent: str | None = None


@dataclass(frozen=True, slots=True)
class Dropped:
    """An event that a rule of the integration dropped, that counts only when it is signed, or that is a refund."""

    event_id: str
    source_name: str
    reason: str
    reason_class: str = "override"
    problems: tuple[Problem, ...] = ()
    event_time: int | None = None
    refund: Refund | None = None
    consent: str | None = None


Outcome = Mapped | Failed | Filtered | Dropped


# Such payloads match Pinterest's schema, so an operator may force sending them; Pinterest may still refuse them.
_SENDABLE_BY_FORCE = frozenset(("stale", "missing_value", "missing_num_items"))
_NEEDED = "an e-mail address, a mobile advertising id, or both an IP address and a user agent"
_PAIR = {"client_ip_address", "client_user_agent"}


class _Refusal(NamedTuple):
    reason_class: str
    reason: str


def check_payload(payload: dict[str, Any], call: Call, timing: Timing, notes: Notes) -> Mapped | Failed:
    """Return the mapped event, or the failed event with the reason."""
    refusal = _refuse(payload, call, timing, notes)
    if refusal:
        return _failed(refusal, payload, call, notes)
    if notes.explain is not None:
        notes.explain.add("payload", "accepted by Pinterest's contract")
    return Mapped(
        event_name=payload["event_name"],
        event_id=call.event_id,
        event_time=timing.event_time,
        action_source=payload["action_source"],
        payload=payload,
        source_name=call.name,
        custom_event_name=_custom_name(payload, call),
        late=timing.late,
        offline=payload["action_source"] == "offline",
        computed=tuple(notes.computed),
        warnings=tuple(notes.warnings),
        problems=tuple(notes.problems),
        identifiers=_identifiers(tuple(payload["user_data"])),
        consent=call.consent,
        public_fields=call.public_fields,
    )


def _failed(refusal: _Refusal, payload: dict[str, Any], call: Call, notes: Notes) -> Failed:
    if notes.explain is not None:
        notes.explain.add("failed", refusal.reason)
    sendable = refusal.reason_class in _SENDABLE_BY_FORCE and contract_error(payload) is None
    return Failed(
        event_name=payload["event_name"],
        event_id=call.event_id,
        source_name=call.name,
        reason_class=refusal.reason_class,
        reason=refusal.reason,
        payload=payload if sendable else None,
        custom_event_name=_custom_name(payload, call),
        event_time=payload["event_time"],
        warnings=tuple(notes.warnings),
        problems=tuple(notes.problems),
        consent=call.consent,
        public_fields=call.public_fields,
    )


def _refuse(payload: Mapping[str, Any], call: Call, timing: Timing, notes: Notes) -> _Refusal | None:
    if not has_identity(payload["user_data"]):
        return _Refusal("no_identity", f"Pinterest needs {_NEEDED}, and the event has none of them.")
    if timing.stale:
        return _Refusal("stale", "The event is more than seven days old, and Pinterest refuses such events.")
    if payload["event_name"] == "checkout":
        missing = _refuse_checkout(payload.get("custom_data", {}), call, notes)
        if missing:
            return missing
    wrong = contract_error(payload)
    return _Refusal("contract", f"Pinterest would refuse the event: {wrong}") if wrong else None


def _refuse_checkout(data: Mapping[str, Any], call: Call, notes: Notes) -> _Refusal | None:
    for key, name in (("value", "value"), ("num_items", "number of items")):
        if key in data:
            continue
        if call.options.field_mapping == "signal":
            why = "it is missing, and cannot be computed from the products"
            if key == "value" and Problem.CURRENCY_UNREADABLE in notes.problems:
                why = "it is left out, because its currency is not known"
            reason = f"A checkout needs a {name}; {why}."
            return _Refusal(f"missing_{key}", reason)
        notes.warn(Problem.CHECKOUT_INCOMPLETE, f"checkout without a {name}")
    return None


def _custom_name(payload: Mapping[str, Any], call: Call) -> str | None:
    return call.name if payload["event_name"] == CUSTOM_KIND.pinterest_name else None


# Cached, because most events have the same identifiers.
@lru_cache(maxsize=512)
def _identifiers(present: tuple[str, ...]) -> tuple[str, ...]:
    names = set(present) - _PAIR
    if _PAIR.issubset(present):
        names.add("ip_ua")
    return tuple(sorted(names))
