"""Check the events of a request, and store them before it is answered."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.collector.errors import RefusedError
from worker.collector.together import Accept
from worker.collector.visit import Visit
from worker.events.envelope import EnvelopeError
from worker.ledger.inbox import Accepted
from worker.ledger.replays import SignedRequest
from worker.ledger.vault import Vault
from worker.stages.accepting import Offer, TooLargeError, hint, prepare_event
from worker.telemetry import tracing

MOST_EVENTS = 500


@dataclass(slots=True)
class Prepared:
    """Hold what of a batch may go in, and what is wrong with the rest, by its place in the batch."""

    events: list[Accepted] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)


def prepare_batch(raws: Sequence[object], visit: Visit, source_id: str, vault: Vault) -> Prepared:
    """Check and seal a batch's events, each on its own."""
    prepared = Prepared()
    for index, raw in enumerate(raws):
        try:
            prepared.events.append(prepare_event(raw, visit.receive, source_id, vault, visit.trust))
        except EnvelopeError as error:
            prepared.errors.append({"index": index, "field": error.field, "message": str(error)})
        except TooLargeError as error:
            prepared.errors.append({"index": index, "field": "event", "message": str(error)})
    return prepared


def store(
    accept: Accept,
    offer: Offer,
    events: Sequence[Accepted],
    now: float,
    signed: SignedRequest | None = None,
) -> None:
    """Commit events in one transaction, then publish their ids; a repeated signed request changes nothing.

    After the commit the events are safe: a failed hint is only logged, because the sweeper repeats it.
    """
    ids = accept(events, now, signed)
    if not ids:
        return
    hint(offer, ids)
    if (tracer := tracing.tracer()) is not None:
        requests = [tracing.Request(event.source_id, event.received_at) for event in events]
        tracer.record("collector.accept", requests, now)


def events_of(body: object) -> list[object]:
    """Return the events of a batch's body.

    Raises:
        EnvelopeError: there is no list of events in it.
        RefusedError: 413, there are too many.
    """
    events = body.get("batch") if isinstance(body, dict) else None
    if not isinstance(events, list) or not events:
        raise EnvelopeError("batch", 'must be a list of events: {"batch": [event, …]}.')
    if len(events) > MOST_EVENTS:
        message = f"batch must hold at most {MOST_EVENTS} events, not {len(events)}."
        raise RefusedError(413, "TOO_MANY_EVENTS", message)
    return events


def of_type(raw: object, kind: str) -> object:
    """Return an event with the type that its address implies.

    Raises:
        EnvelopeError: the event says that it is of another type.
    """
    if not isinstance(raw, dict):
        return raw
    said = raw.get("type")
    if said is not None and said != kind:
        raise EnvelopeError("type", f"must be {kind} at this address, or be left out.")
    return raw | {"type": kind}
