"""Check events, seal them, and have them in the ledger before anybody is told so."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from worker import logs
from worker.collector.cookies import new_id
from worker.collector.errors import RefusedError
from worker.collector.together import Accept
from worker.collector.visit import Visit
from worker.events import json_text
from worker.events.envelope import EnvelopeError, check_envelope
from worker.events.identity import epik_of, page_url, visitor_ids
from worker.events.received import Received
from worker.ledger import inbox
from worker.ledger.inbox import Accepted
from worker.ledger.replays import SignedRequest
from worker.ledger.vault import Vault
from worker.telemetry import tracing

LARGEST_EVENT_BYTES = 64 * 1024
MOST_EVENTS = 500

Offer = Callable[[Sequence[int]], int]

log = logs.of(__name__)


class TooLargeError(Exception):
    """An event is larger than `LARGEST_EVENT_BYTES`."""

    def __init__(self, size_bytes: int) -> None:
        self.message = f"must be at most 64 KB ({LARGEST_EVENT_BYTES} bytes) of JSON, not {size_bytes} bytes."
        super().__init__(f"event {self.message}")


@dataclass(slots=True)
class Prepared:
    """Hold what of a batch may go in, and what is wrong with the rest, by its place in the batch."""

    events: list[Accepted] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)


def prepare_one(raw: object, visit: Visit, source_id: str, vault: Vault) -> Accepted:
    """Check and seal one event.

    Raises:
        EnvelopeError: the event is not what it should be.
        TooLargeError: the event is larger than allowed.
    """
    check_envelope(raw)
    event = _with_message_id(cast("dict[str, Any]", raw))
    text = json_text.write(event)
    if len(text) > LARGEST_EVENT_BYTES:
        raise TooLargeError(len(text))
    received = visit.receive(event)
    body = b'{"event":%b,"received":%b}' % (text, json_text.write(received.to_dict()))
    anonymous_id, user_id = visitor_ids(event, received)
    return Accepted(
        source_id=source_id,
        anonymous_key=_key(vault, "anonymous", source_id, anonymous_id),
        user_key=_key(vault, "user", source_id, user_id),
        informs=_informs(event, received),
        received_at=received.received_at,
        body=vault.seal(body, inbox.BODY),
        trust=visit.trust,
    )


def prepare_batch(raws: Sequence[object], visit: Visit, source_id: str, vault: Vault) -> Prepared:
    """Check and seal a batch's events, each on its own."""
    prepared = Prepared()
    for index, raw in enumerate(raws):
        try:
            prepared.events.append(prepare_one(raw, visit, source_id, vault))
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


def hint(offer: Offer, ids: Sequence[int]) -> None:
    """Hint at events that are safe already, so that no trouble with it is their sender's."""
    try:
        offer(ids)
    except Exception as error:  # noqa: BLE001  # the events are taken, and the caller must hear so
        log.error("hint_failed", events=len(ids), error=logs.where(error))


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


def _with_message_id(event: dict[str, Any]) -> dict[str, Any]:
    # Made up once and stored, so that every later try is the same event.
    return event if event.get("messageId") not in (None, "") else event | {"messageId": new_id()}


def _informs(event: dict[str, Any], received: Received) -> bool:
    return event["type"] == "identify" or epik_of(page_url(event), received) is not None


def _key(vault: Vault, kind: str, source_id: str, visitor_id: str | None) -> bytes | None:
    return None if visitor_id is None else vault.keyed_hash(kind, source_id, visitor_id)
