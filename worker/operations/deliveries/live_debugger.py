"""Follow deliveries as they come, and show one of them, or an event as it came in, with personal data masked."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from worker.event.times import parse_time
from worker.ledger.database import is_ledger_unavailable
from worker.ledger.delivery import failures, find_deliveries
from worker.ledger.delivery.failures import Failure, FailureFilter
from worker.ledger.delivery.find_deliveries import FoundDelivery, Wanted
from worker.ledger.delivery.new_deliveries import PAYLOAD
from worker.ledger.intake import debug_inputs
from worker.ledger.intake.debug_inputs import MAX_INPUTS, Input
from worker.ledger.rows import LARGEST_ID
from worker.ledger.setup import integrations, sources
from worker.ledger.setup.sources import Source
from worker.ledger.vault import SealError
from worker.operations.caller import Caller
from worker.operations.deliveries.masking import masked_event, masked_payload
from worker.operations.deliveries.selection import all_sources
from worker.operations.errors import InvalidError, NotFoundError
from worker.pipeline.ingest.debugging import Decision, open_debug_input

_MOST_SHOWN = 50
# A page looks at this many ids at a time, and for this long: it answers however rare the chosen deliveries are.
_IDS_A_STEP = 10_000
_LOOK_SECONDS = 0.15
_MOVING = ("pending", "in_flight")
_FOLLOW_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Choose deliveries, as texts; an empty field chooses all.

    ``since`` and ``until`` are times in UTC. ``sort`` is ``oldest`` for the oldest first. ``cursor`` is the id of the
    last delivery that the page before has looked at.
    """

    state: str = ""
    name: str = ""
    text: str = ""
    source_id: str = ""
    since: str = ""
    until: str = ""
    sort: str = ""
    cursor: str = ""

    @property
    def is_live(self) -> bool:
        """Return whether new events appear in what is chosen."""
        return not (self.until or self.cursor or self.sort)

    def takes(self, row: Input) -> bool:
        """Return whether an event that was kept as it came in is chosen; it has no state of its own."""
        is_named = not self.name or self.name.casefold() == row.name.casefold()
        return self.is_live and is_named and not self.state and self.text in row.event_id


@dataclass(frozen=True, slots=True)
class _ChosenDeliveries:
    """Hold deliveries and kept events, and the sources, with those that are debugged.

    ``cursor`` is where the next page goes on, None at the end. Where few deliveries are chosen, a page ends before it
    is full: then ``looked_until`` says up to which time it has looked.
    """

    found: Sequence[FoundDelivery]
    order_ids: Mapping[int, str]
    kept: Sequence[Input]
    sources: Sequence[Source]
    debugged: Sequence[Source]
    cursor: int | None = None
    looked_until: float | None = None


@dataclass(frozen=True, slots=True)
class _DebugInput:
    """Hold an event as it came in, masked, with each decision about it; ``problem`` says why it cannot be opened."""

    kept: Input
    event: Any
    received: Mapping[str, Any]
    decisions: Sequence[Decision]
    problem: str = ""

    def decided(self, integration_id: str | None) -> Decision | None:
        """Return what one integration decided."""
        return next(
            (decision for decision in self.decisions if decision.integration_id == integration_id), None
        )


@dataclass(frozen=True, slots=True)
class _DeliveryDetail:
    """Hold one delivery in its stages; ``payload`` is masked JSON, empty if there is no payload, None if not opened."""

    delivery: FoundDelivery
    integration_name: str
    failure: Failure | None
    tries: Sequence[dict[str, Any]]
    came: _DebugInput | None
    payload: str | None


def list_deliveries(caller: Caller, criteria: DeliveryFilter) -> _ChosenDeliveries:
    """Return a page of the deliveries that a filter chooses, and the events kept while their source is debugged.

    Raises:
        InvalidError: a time cannot be read, or the range is empty.
    """
    source_list = all_sources(caller)
    since, until = _time_of(criteria, "since"), _time_of(criteria, "until")
    if since and until and since >= until:
        raise InvalidError("until", "must be later than From")
    conditions = Wanted(criteria.state, criteria.name.lower(), criteria.text, criteria.source_id)
    with caller.ledger.read() as connection:
        first = find_deliveries.first_delivery_since(connection, since) if since else 1
        last = (
            find_deliveries.first_delivery_since(connection, until) - 1
            if until
            else find_deliveries.newest_delivery_id(connection)
        )
        deliveries, cursor = _look(connection, conditions, criteria, first, last)
        inputs = debug_inputs.newest_debug_inputs(connection, caller.now, MAX_INPUTS, criteria.source_id)
        looked_at = find_deliveries.find_after(connection, cursor - 1, 1) if cursor else []
    return _ChosenDeliveries(
        deliveries,
        _order_ids(caller, deliveries),
        [event for event in inputs if criteria.takes(event)][:_MOST_SHOWN],
        source_list,
        [source for source in source_list if source.debug_until > caller.now],
        cursor,
        looked_at[0].accepted_at if looked_at and len(deliveries) < _MOST_SHOWN else None,
    )


def _look(
    connection: Connection, conditions: Wanted, criteria: DeliveryFilter, first: int, last: int
) -> tuple[list[FoundDelivery], int | None]:
    """Look through a range of ids for a short time; return what was found, and where to go on."""
    newest_first, deadline = criteria.sort != "oldest", time.monotonic() + _LOOK_SECONDS
    if criteria.cursor.isdecimal() and len(criteria.cursor) < 19:
        if newest_first:
            last = min(last, int(criteria.cursor) - 1)
        else:
            first = max(first, int(criteria.cursor) + 1)
    deliveries: list[FoundDelivery] = []
    while first <= last:
        if newest_first:
            start, end = max(first, last - _IDS_A_STEP + 1), last
        else:
            start, end = first, min(last, first + _IDS_A_STEP - 1)
        limit = _MOST_SHOWN - len(deliveries)
        deliveries += find_deliveries.find_chosen(
            connection, conditions, start, end, limit, newest_first=newest_first
        )
        if len(deliveries) == _MOST_SHOWN:
            return deliveries, deliveries[-1].id
        first, last = (first, start - 1) if newest_first else (end + 1, last)
        if time.monotonic() >= deadline:
            break
    if first > last:
        return deliveries, None
    return deliveries, last + 1 if newest_first else first - 1


def _time_of(criteria: DeliveryFilter, name: str) -> float | None:
    text = str(getattr(criteria, name))
    at = parse_time(text) if text else None
    if text and at is None:
        raise InvalidError(name, "must be a time like 2026-01-29T14:00")
    return at


def _order_ids(caller: Caller, deliveries: Sequence[FoundDelivery]) -> dict[int, str]:
    """Return the order ids of deliveries by id, as far as a payload has them.

    A duplicate, for example, has no payload; it has the order id of another delivery of its order.
    """
    order_ids = {delivery.id: _order_id(caller, delivery.payload) for delivery in deliveries}
    missing = {
        delivery.order_key
        for delivery in deliveries
        if delivery.order_key is not None and not order_ids[delivery.id]
    }
    if missing:
        with caller.ledger.read() as connection:
            rows = find_deliveries.payloads_of_orders(connection, missing)
        by_key: dict[bytes | None, str] = {row.order_key: _order_id(caller, row.payload) for row in rows}
        order_ids |= {
            delivery.id: by_key.get(delivery.order_key, "")
            for delivery in deliveries
            if not order_ids[delivery.id]
        }
    return {number: order_id for number, order_id in order_ids.items() if order_id}


def _order_id(caller: Caller, sealed: bytes | None) -> str:
    """Return the order id of a payload; empty without one, or if it cannot be opened."""
    if sealed is None:
        return ""
    try:
        payload = json.loads(caller.ledger.vault.open(sealed, PAYLOAD))
    except (SealError, ValueError):
        return ""
    return str((payload.get("custom_data") or {}).get("order_id") or "")


def get_delivery(caller: Caller, number: int, *, with_payload: bool = False) -> _DeliveryDetail:
    """Return one delivery, with its payload if ``with_payload`` is set or its source was debugged.

    Raises:
        NotFoundError: there is no such delivery.
    """
    with caller.ledger.read() as connection:
        row = (
            next(iter(find_deliveries.find_by_ids(connection, [number])), None)
            if 0 < number <= LARGEST_ID
            else None
        )
        if row is None:
            raise NotFoundError("delivery", str(number))
        failure = next(iter(failures.failed_after(connection, FailureFilter(ids=(number,)), 1)), None)
        tries = (
            failures.attempts_of_batch(connection, failure.batch_id) if failure and failure.batch_id else []
        )
        integration = (
            integrations.load_integration(connection, row.integration_id) if row.integration_id else None
        )
        debug_row = _kept(connection, row, caller.now)
    return _DeliveryDetail(
        row,
        integration.name if integration else "",
        failure,
        tries,
        _open(caller, debug_row) if debug_row else None,
        _payload(caller, number) if with_payload or debug_row else None,
    )


def get_debug_input(caller: Caller, number: int) -> tuple[_DebugInput, Source | None, list[FoundDelivery]]:
    """Return an event that was kept while its source was debugged, with its source and its deliveries.

    Raises:
        NotFoundError: there is no such event, or it is not kept any more.
    """
    with caller.ledger.read() as connection:
        row = debug_inputs.find_debug_input(connection, number, caller.now) if number <= LARGEST_ID else None
        if row is None:
            raise NotFoundError("kept event", str(number))
        source = sources.load_source(connection, row.source_id)
        deliveries = find_deliveries.find_of_event(connection, row.event_id, _MOST_SHOWN)
    return (
        _open(caller, row),
        source,
        [delivery for delivery in deliveries if delivery.source_id == row.source_id],
    )


def follow_deliveries(caller: Caller, after_id: int) -> Iterator[FoundDelivery]:
    """Yield each delivery after an id as soon as it has ended, without end, also after an outage of the database."""
    moving_ids: list[int] = []
    while True:
        try:
            with caller.ledger.read() as connection:
                new = find_deliveries.find_after(connection, after_id, 500)
                looked_at = find_deliveries.find_by_ids(connection, moving_ids) + new
        except Exception as error:
            if not is_ledger_unavailable(error):
                raise
            time.sleep(_FOLLOW_SECONDS)
            continue
        after_id = max([after_id, *(delivery.id for delivery in new)])
        moving_ids = [delivery.id for delivery in looked_at if delivery.state in _MOVING]
        yield from (delivery for delivery in looked_at if delivery.state not in _MOVING)
        time.sleep(_FOLLOW_SECONDS)


def _kept(connection: Connection, delivery: FoundDelivery, now: float) -> Input | None:
    if delivery.source_id is None:
        return None
    return debug_inputs.debug_input_of_event(connection, delivery.source_id, delivery.event_id, now)


def _open(caller: Caller, row: Input) -> _DebugInput:
    try:
        seen = open_debug_input(caller.ledger.vault, row)
    except SealError as error:
        return _DebugInput(row, None, {}, [], f"What came in cannot be opened: {error}.")
    received = seen.received
    origin = {
        "channel": received.channel,
        "ip": received.ip,
        "userAgent": received.user_agent,
        "cookies": {
            "anonymousId": received.dfid,
            "_pin_unauth": received.pin_unauth,
            "_epik": received.epik,
        },
    }
    return _DebugInput(row, masked_event(seen.event), masked_event(origin), seen.decisions)


def _payload(caller: Caller, number: int) -> str:
    with caller.ledger.read() as connection:
        sealed = failures.failed_payload(connection, number)
    if sealed is None:
        return ""
    try:
        text = caller.ledger.vault.open(sealed, PAYLOAD)
    except SealError as error:
        return f"The payload cannot be opened: {error}."
    return json.dumps(masked_payload(json.loads(text)), indent=2, ensure_ascii=False)
