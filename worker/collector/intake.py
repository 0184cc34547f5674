"""Check the events of a request, and store them before it is answered."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection

from worker.collector.error_responses import RefusedError
from worker.collector.request_context import RequestContext
from worker.event.envelope import EnvelopeError
from worker.ledger.database import Ledger, LedgerBusyError, is_ledger_unavailable
from worker.ledger.intake import inbox
from worker.ledger.intake.inbox import Accepted, SignedRequest
from worker.ledger.vault import Vault
from worker.monitoring import tracing
from worker.pipeline.ingest.accepting import PublishIds, TooLargeError, prepare_event, publish_ids

Accept = Callable[[Sequence[Accepted], float, SignedRequest | None], list[int]]

# A larger transaction would delay the next requests.
MAX_COMMIT_EVENTS = 1_000
# The database's host may have vanished. A caller then gets its answer within ten seconds.
_TURN_SECONDS = 7.0


class _MaySign(Protocol):
    @property
    def signed(self) -> SignedRequest | None: ...


_R = TypeVar("_R", bound=_MaySign)


@dataclass(slots=True)
class _Request:
    events: Sequence[Accepted]
    now: float
    signed: SignedRequest | None = None
    ids: list[int] = field(default_factory=list)
    error: BaseException | None = None
    done: bool = False
    # Its caller no longer waits.
    left: bool = False


class GroupCommit:
    """Commit the events of concurrent requests in one transaction.

    A commit takes as long for one event as for 500. The thread that holds the lock writes the events of all waiting
    requests, so small requests do not wait for one commit each.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: deque[_Request] = deque()
        self._turn = threading.Lock()

    def accept(
        self, events: Sequence[Accepted], now: float, signed: SignedRequest | None = None
    ) -> list[int]:
        """Return the ids of the events after their commit; errors of the ledger are raised.

        A signed request that was accepted before stores nothing and returns no ids. The signature is stored in
        the transaction of its events: after an error the same request is accepted when it is repeated.

        Raises:
            LedgerBusyError: earlier requests took too long. The events may be stored nevertheless.
        """
        request = _Request(events, now, signed)
        self._waiting.append(request)
        if not self._turn.acquire(timeout=_TURN_SECONDS):
            request.left = True
            raise LedgerBusyError("the ledger did not take the events of earlier requests in time")
        try:
            while not request.done:
                self._write(self._next())
        finally:
            self._turn.release()
        if request.error is not None:
            raise request.error
        return request.ids

    def _next(self) -> list[_Request]:
        """Take the requests that wait longest, at least one."""
        requests = [self._waiting.popleft()]
        size = len(requests[0].events)
        while self._waiting and size + len(self._waiting[0].events) <= MAX_COMMIT_EVENTS:
            requests.append(self._waiting.popleft())
            size += len(requests[-1].events)
        return requests

    def _write(self, requests: Sequence[_Request]) -> None:
        requests = [request for request in requests if not request.left]
        if not requests:
            return
        try:
            new, ids = self._store(requests)
        except BaseException as error:  # noqa: BLE001 - each of them raises it in its own thread
            self._blame(requests, error)
            return
        next_ids = iter(ids)
        for request in new:
            request.ids = [next(next_ids) for _ in request.events]
        for request in requests:
            request.done = True

    def _store(self, requests: Sequence[_Request]) -> tuple[Sequence[_Request], list[int]]:
        """Commit requests; return those that are new and the ids of their events."""
        now = requests[-1].now
        if all(request.signed is None for request in requests):
            return requests, inbox.accept_at_once(self._ledger, _events_of(requests), now)
        with self._ledger.write() as connection:
            new = without_repeats(connection, requests)
            return new, inbox.accept_events(connection, _events_of(new), now)

    def _blame(self, requests: Sequence[_Request], error: BaseException) -> None:
        if is_ledger_unavailable(error):
            # It is unavailable for the waiting requests as well: they all fail now, not one after the other.
            requests = [*requests, *(self._waiting.popleft() for _ in range(len(self._waiting)))]
        elif len(requests) > 1:
            # One request caused the error. Each is tried alone, so that the others succeed.
            for request in requests:
                self._write([request])
            return
        for request in requests:
            request.error, request.done = error, True


def _events_of(requests: Sequence[_Request]) -> list[Accepted]:
    return [event for request in requests for event in request.events]


def without_repeats(connection: Connection, requests: Sequence[_R]) -> list[_R]:
    """Return the requests without those whose signature was accepted before, also in this transaction."""
    signed = [request.signed for request in requests if request.signed is not None]
    fresh_keys = inbox.insert_signed_requests(connection, signed)
    new: list[_R] = []
    for request in requests:
        if request.signed is not None:
            if request.signed.key not in fresh_keys:
                continue
            fresh_keys.remove(request.signed.key)
        new.append(request)
    return new


_MOST_EVENTS = 500


@dataclass(slots=True)
class PreparedBatch:
    """Hold the valid events of a batch, and the errors of the others with their index."""

    events: list[Accepted] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)


def prepare_batch(
    raws: Sequence[object], context: RequestContext, source_id: str, vault: Vault
) -> PreparedBatch:
    """Check and seal a batch's events, each on its own."""
    batch = PreparedBatch()
    for index, raw in enumerate(raws):
        try:
            batch.events.append(prepare_event(raw, context.receive, source_id, vault, context.trust))
        except EnvelopeError as error:
            batch.errors.append({"index": index, "field": error.field, "message": str(error)})
        except TooLargeError as error:
            batch.errors.append({"index": index, "field": "event", "message": str(error)})
    return batch


def store(
    accept: Accept,
    offer: PublishIds,
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
    publish_ids(offer, ids)
    if (tracer := tracing.tracer()) is not None:
        requests = [tracing.Request(event.source_id, event.received_at) for event in events]
        tracer.record("collector.accept", requests, now)


def batch_events(body: object, limit: int = _MOST_EVENTS) -> list[object]:
    """Return the events of a batch.

    Raises:
        EnvelopeError: it has no list of events.
        RefusedError: 413, there are too many.
    """
    events = body.get("batch") if isinstance(body, dict) else None
    if not isinstance(events, list) or not events:
        raise EnvelopeError("batch", 'must be a list of events: {"batch": [event, …]}.')
    if len(events) > limit:
        message = f"batch must hold at most {limit} events, not {len(events)}."
        raise RefusedError(413, "TOO_MANY_EVENTS", message)
    return events


def with_type(raw: object, kind: str) -> object:
    """Return an event with the type of its URL.

    Raises:
        EnvelopeError: the event has another type.
    """
    if not isinstance(raw, dict):
        return raw
    value = raw.get("type")
    if value is not None and value != kind:
        raise EnvelopeError("type", f"must be {kind} at this address, or be left out.")
    return raw | {"type": kind}
