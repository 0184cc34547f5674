"""Map one event to what Pinterest accepts, for one integration."""

from collections.abc import Mapping
from typing import Any, Literal

from worker.events import json_text
from worker.events.received import Received
from worker.events.redact import clean_url
from worker.events.text import clean_text
from worker.pinterest.call import Call, read_call
from worker.pinterest.custom_data import build_custom_data
from worker.pinterest.explain import Explanation, Notes
from worker.pinterest.explain_properties import explain_properties
from worker.pinterest.judge import judge
from worker.pinterest.names import Meaning
from worker.pinterest.options import Options
from worker.pinterest.outcomes import Dropped, Failed, Filtered, Mapped, Outcome
from worker.pinterest.routing import names_for, why_not
from worker.pinterest.source import action_source, app_fields, opted_out
from worker.pinterest.times import TimeError, Timing, time_event
from worker.pinterest.user_data import build_user_data
from worker.pinterest.visitor import Visitor

__all__ = [
    "Dropped",
    "Explanation",
    "Failed",
    "Filtered",
    "Mapped",
    "Options",
    "Outcome",
    "encode",
    "map_event",
]

_LONGEST_URL = 4096


def map_event(
    event: Mapping[str, Any],
    received: Received,
    visitor: Visitor,
    options: Options,
    now: float,
    default_consent: Literal["drop", "allow"],
    explain: Explanation | None = None,
) -> list[Outcome]:
    """Return an event's outcomes: one for each Pinterest event, none for ``identify`` and ``group``.

    Never raises over an event, whatever JSON it holds. The same arguments give the same outcomes, and ``now``
    (Unix seconds) decides only whether an event is late or stale.
    """
    if event.get("type") not in ("track", "page"):
        return []
    call = read_call(event, received, options)
    if explain is not None:
        explain.add("event", f"{event['type']} call {call.name!r}, event id {call.event_id!r}")
    stopped = why_not(call, default_consent, explain)
    if stopped:
        return [Filtered(call.event_id, call.name, stopped)]
    try:
        timing = time_event(event, received, now, explain)
    except TimeError as error:
        return [Failed(None, call.event_id, call.name, error.reason_class, f"{error}.")]
    meanings = names_for(call, explain)
    if not meanings:
        return [Dropped(call.event_id, call.name, "an override drops this event")]
    shared = Notes(explain)
    base = _base(call, visitor, timing, shared)
    return [_finish(base, meaning, call, timing, shared) for meaning in meanings]


def encode(payload: Mapping[str, Any]) -> bytes:
    """Return a payload as the compact UTF-8 JSON that is joined into a request's body."""
    return json_text.write(payload)


def _base(call: Call, visitor: Visitor, timing: Timing, notes: Notes) -> dict[str, Any]:
    """Return what all payloads of one event share."""
    source = action_source(call, notes)
    base: dict[str, Any] = {
        "action_source": source,
        "event_time": timing.event_time,
        "event_id": call.event_id,
    }
    url = _source_url(call, notes)
    if url:
        base["event_source_url"] = url
    if source != "web":
        base |= app_fields(call.context)
    opt_out = opted_out(call.context, call.properties)
    if opt_out is not None:
        base["opt_out"] = opt_out
    base["user_data"] = build_user_data(call, visitor, notes)
    return base


def _source_url(call: Call, notes: Notes) -> str | None:
    url = clean_text(call.page_url, _LONGEST_URL)
    if url is None or not call.options.clean_free_text:
        return url
    cleaned = clean_url(url)
    if cleaned != url and notes.explain is not None:
        notes.explain.add("privacy", "event_source_url: personal data cut out")
    return cleaned or None


def _finish(base: Mapping[str, Any], meaning: Meaning, call: Call, timing: Timing, shared: Notes) -> Outcome:
    """Return the outcome under one of Pinterest's names."""
    notes = Notes(shared.explain, [], [*shared.warnings])
    payload: dict[str, Any] = {"event_name": meaning.pinterest_name, **base}
    data = build_custom_data(call.properties, meaning, call.options, notes)
    if data:
        payload["custom_data"] = data
    if notes.explain is not None:
        explain_properties(call, data, notes)
    return judge(payload, call, timing, notes)
