"""Show what delivery would make of events, with the reasons, by the code that delivers."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from worker.events.envelope import check_envelope
from worker.events.received import Received
from worker.ledger import sources
from worker.ledger.engine import Ledger
from worker.pinterest.mapping import Explanation, Mapped, map_event
from worker.pinterest.options import Options
from worker.pinterest.visitor import Visitor, apply_identify, remember
from worker.stages.destinations import Destination, Destinations

# What Pinterest wants in clear and says something of a person all the same.
IN_CLEAR = ("client_ip_address", "client_user_agent")
HIDDEN = "(hidden)"


@dataclass(frozen=True, slots=True)
class Place:
    """Hold one integration as the explanation needs it; the unnamed one has every default."""

    name: str
    options: Options
    default_consent: Literal["drop", "allow"]
    # Where the source's visitors have their telephones, for what they tell at ``identify``.
    default_country: str | None = None


def unnamed(default_country: str | None = None) -> Place:
    """Return an integration that nobody made, for events whose source is not named."""
    options = Options(consent_categories=("advertising",), default_country=default_country)
    return Place("an integration with every default", options, "drop", default_country)


def places(ledger: Ledger, source_id: str, channel: str) -> list[Place]:
    """Return where a source's events go.

    Raises:
        LookupError: there is no such source.
    """
    with ledger.read() as connection:
        source = sources.find(connection, source_id)
        if source is None:
            raise LookupError(f"There is no source {source_id}.")
        destinations = Destinations(connection, [source_id])
    country = destinations.default_country(source_id)
    return [_place(target, channel, country) for target in destinations.of(source_id)]


def written(decoded: Any) -> list[Any]:
    """Return the events that somebody wrote down: one, or `{"batch": [events]}`; without a type it is a track call."""
    batch = decoded.get("batch") if isinstance(decoded, dict) else None
    events = batch if isinstance(batch, list) else [decoded]
    return [{"type": "track"} | event if isinstance(event, dict) else event for event in events]


def explain(
    events: Sequence[Mapping[str, Any]],
    where: Sequence[Place],
    received: Received,
    *,
    show_personal: bool = False,
) -> list[dict[str, Any]]:
    """Go through events of one visitor in order; return for each what every place would get, and why.

    Raises:
        EnvelopeError: an event is not one.
    """
    visitor = Visitor.EMPTY
    # All places are one source's.
    country = where[0].default_country if where else None
    explained = []
    for event in events:
        check_envelope(event)
        if event["type"] == "identify":
            visitor = apply_identify(visitor, event, received, country)
        visitor = remember(visitor, event, received)
        results = [_at(place, event, received, visitor, show_personal=show_personal) for place in where]
        explained.append({"type": event["type"], "name": event.get("event"), "results": results})
    return explained


def _at(
    place: Place, event: Mapping[str, Any], received: Received, visitor: Visitor, *, show_personal: bool
) -> dict[str, Any]:
    lines = Explanation(show_personal=show_personal)
    outcomes = map_event(
        event, received, visitor, place.options, time.time(), place.default_consent, explain=lines
    )
    return {
        "integration": place.name,
        "lines": lines.to_dict(),
        "outcomes": [_outcome(outcome, show_personal=show_personal) for outcome in outcomes],
    }


def _outcome(outcome: Any, *, show_personal: bool) -> dict[str, Any]:
    word = "sent" if isinstance(outcome, Mapped) else type(outcome).__name__.lower()
    # Through JSON and back, so that a caller gets plain lists and dictionaries only.
    plain: dict[str, Any] = json.loads(json.dumps(asdict(outcome)))
    user_data = (plain.get("payload") or {}).get("user_data") or {}
    for name in IN_CLEAR if not show_personal else ():
        if name in user_data:
            user_data[name] = HIDDEN
    return {"outcome": word} | plain


def _place(target: Destination, channel: str, country: str | None) -> Place:
    name = f"{target.integration.name} ({target.integration.id})"
    return Place(name, target.options, target.source.default_consent(channel), country)
