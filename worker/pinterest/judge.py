"""Judge whether a finished payload may be sent."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from worker.pinterest.call import Call
from worker.pinterest.contract import check, has_identity
from worker.pinterest.explain import Notes
from worker.pinterest.names import CUSTOM
from worker.pinterest.outcomes import Failed, Mapped
from worker.pinterest.times import Timing

# Pinterest's schema takes these; whether it takes the event is for the person who sends it by hand to try.
_SENDABLE_BY_FORCE = frozenset(("stale", "missing_value", "missing_num_items"))
_NEEDED = "an e-mail address, a mobile advertising id, or both an IP address and a user agent"


_PAIR = {"client_ip_address", "client_user_agent"}


class _Refusal(NamedTuple):
    reason_class: str
    reason: str


def judge(payload: dict[str, Any], call: Call, timing: Timing, notes: Notes) -> Mapped | Failed:
    """Return a payload as mapped, or as failed with the reason."""
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
        identifiers=_identifiers(tuple(payload["user_data"])),
    )


def _failed(refusal: _Refusal, payload: dict[str, Any], call: Call, notes: Notes) -> Failed:
    if notes.explain is not None:
        notes.explain.add("failed", refusal.reason)
    sendable = refusal.reason_class in _SENDABLE_BY_FORCE and check(payload) is None
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
    wrong = check(payload)
    return _Refusal("contract", f"Pinterest would refuse the event: {wrong}") if wrong else None


def _refuse_checkout(data: Mapping[str, Any], call: Call, notes: Notes) -> _Refusal | None:
    for key, what in (("value", "value"), ("num_items", "number of items")):
        if key in data:
            continue
        if call.options.field_mapping == "signal":
            needs = f"A checkout needs a {what}, and none is given or follows from the products."
            return _Refusal(f"missing_{key}", needs)
        notes.warn(f"checkout without a {what}")
    return None


def _custom_name(payload: Mapping[str, Any], call: Call) -> str | None:
    return call.name if payload["event_name"] == CUSTOM.pinterest_name else None


# Events of one kind have the same identifiers.
@lru_cache(maxsize=512)
def _identifiers(present: tuple[str, ...]) -> tuple[str, ...]:
    names = set(present) - _PAIR
    if _PAIR.issubset(present):
        names.add("ip_ua")
    return tuple(sorted(names))
