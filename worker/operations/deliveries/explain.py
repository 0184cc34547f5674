"""Explain what delivery would send for events, and why, by the code that delivers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from worker.event.envelope import EnvelopeError, check_envelope, decode_json
from worker.event.json_in_text import with_opened_fields
from worker.event.received import Received
from worker.ledger.setup import sources
from worker.operations.caller import Caller
from worker.operations.errors import ConflictError, InvalidError
from worker.pinterest.mapping.call import Options
from worker.pinterest.mapping.mapping import Explanation, Mapped, map_event
from worker.pinterest.user_data.visitor import Visitor, apply_identify, with_click_ids
from worker.pipeline.ingest.outcomes import Destination, Destinations

MOST_EVENTS = 100
# Used where no visitor's are given; documentation may use this address.
EXAMPLE_IP, EXAMPLE_USER_AGENT = "203.0.113.50", "Mozilla/5.0 ..."
# Pinterest wants these in clear, and they say something of a person all the same.
_IN_CLEAR = ("client_ip_address", "client_user_agent")
_HIDDEN = "(hidden)"


@dataclass(frozen=True, slots=True)
class _Place:
    """Hold one integration as the explanation needs it."""

    name: str
    options: Options
    default_consent: Literal["drop", "allow"]
    # The country of the phone numbers that ``identify`` brings.
    default_country: str | None = None


def parse_events(text: bytes) -> list[Any]:
    """Read an event, or ``{"batch": [events]}``, from JSON; an event without a type is a track call.

    Raises:
        InvalidError: the text is not JSON.
    """
    try:
        decoded = decode_json(text)
    except EnvelopeError as error:
        raise InvalidError(error.field, error.message) from None
    batch = decoded.get("batch") if isinstance(decoded, dict) else None
    events = batch if isinstance(batch, list) else [decoded]
    return [{"type": "track"} | event if isinstance(event, dict) else event for event in events]


def explain(
    caller: Caller,
    events: Sequence[Any],
    received: Received,
    *,
    source_id: str | None = None,
    country: str | None = None,
    show_personal: bool = False,
    path: str = "events.{}",
) -> list[dict[str, Any]]:
    """Return for each event of one visitor, in order, what each integration of a source would get, and why.

    Without a source it is an integration with default settings; ``country`` is that of its phone numbers. Nothing is
    stored or sent. Personal data is hidden; ``show_personal`` shows it and records who read it. ``path`` names an
    event by its index in an error.

    Raises:
        InvalidError: something is not an event, or there is no such source.
        ConflictError: the config of an integration cannot be read.
    """
    events = [with_opened_fields(event) for event in events]
    for index, event in enumerate(events):
        try:
            check_envelope(event)
        except EnvelopeError as error:
            raise InvalidError(f"{path.format(index)}.{error.field}", error.message) from None
    places = [_unnamed(country)] if source_id is None else _places(caller, source_id, received.channel)
    if show_personal:
        with caller.changing() as change:
            target = source_id or "no source"
            change.record("explain.show_personal", target, {"events": [None, len(events)]})
    return _explain_events(events, places, received, show_personal=show_personal)


def _unnamed(default_country: str | None) -> _Place:
    options = Options(consent_categories=("advertising",), default_country=default_country)
    return _Place("an integration with default settings", options, "drop", default_country)


def _places(caller: Caller, source_id: str, channel: str) -> list[_Place]:
    with caller.ledger.read() as connection:
        if sources.load_source(connection, source_id) is None:
            raise InvalidError("source_id", f"there is no source {source_id}")
        destinations = Destinations(connection, [source_id])
    country = destinations.default_country(source_id)
    for error in destinations.unreadable(source_id).values():
        raise ConflictError(f"An integration of {source_id} cannot be read: {error}")
    return [_place(target, channel, country) for target in destinations.of(source_id)]


def _place(target: Destination, channel: str, country: str | None) -> _Place:
    name = f"{target.integration.name} ({target.integration.id})"
    return _Place(name, target.options, target.source.default_consent(channel), country)


def _explain_events(
    events: Sequence[Mapping[str, Any]], places: Sequence[_Place], received: Received, *, show_personal: bool
) -> list[dict[str, Any]]:
    visitor = Visitor.EMPTY
    # All places belong to one source.
    country = places[0].default_country if places else None
    groups = places[0].options.consent_groups if places else None
    explanations = []
    for event in events:
        if event["type"] == "identify":
            visitor = apply_identify(visitor, event, received, country, groups)
        visitor = with_click_ids(visitor, event, received, groups)
        results = [_at(place, event, received, visitor, show_personal=show_personal) for place in places]
        explanations.append({"type": event["type"], "name": event.get("event"), "results": results})
    return explanations


def _at(
    place: _Place, event: Mapping[str, Any], received: Received, visitor: Visitor, *, show_personal: bool
) -> dict[str, Any]:
    lines = Explanation(show_personal=show_personal)
    now, consent = received.received_at, place.default_consent
    outcomes = map_event(event, received, visitor, place.options, now, consent, explain=lines)
    return {
        "integration": place.name,
        "lines": lines.to_dict(),
        "outcomes": [_outcome(outcome, show_personal=show_personal) for outcome in outcomes],
    }


def _outcome(outcome: Any, *, show_personal: bool) -> dict[str, Any]:
    word = "sent" if isinstance(outcome, Mapped) else type(outcome).__name__.lower()
    # Through JSON and back, so that a caller gets plain lists and dictionaries only.
    fields: dict[str, Any] = json.loads(json.dumps(asdict(outcome)))
    user_data = (fields.get("payload") or {}).get("user_data") or {}
    for name in _IN_CLEAR if not show_personal else ():
        if name in user_data:
            user_data[name] = _HIDDEN
    return {"outcome": word} | fields
