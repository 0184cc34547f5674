"""Find the deliveries and waiting events of an order, an event or a visitor."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.event.text import fold_keys
from worker.ledger.delivery import find_deliveries
from worker.ledger.delivery.find_deliveries import FoundDelivery
from worker.ledger.intake import inbox
from worker.ledger.rows import chunks
from worker.ledger.setup import sources
from worker.operations.caller import Caller
from worker.pinterest.custom_data.custom_data import PROPERTY_KEYS
from worker.pipeline.ingest.accepting import OpenedEvent, open_rows

MOST_FOUND = 200
# Waiting events are sealed and have to be opened one by one: this many take a fraction of a second.
MOST_OPENED = 5_000


@dataclass(frozen=True, slots=True)
class _WaitingEvent:
    """Hold an event that was accepted and not mapped yet; ``received_at`` is in Unix seconds."""

    received_at: float
    name: str
    event_id: str
    # Why it was set aside, where it was.
    parked_reason: str | None


@dataclass(frozen=True, slots=True)
class IdMatches:
    """Hold the matches of an id. ``has_more`` says that there are more deliveries than these.

    ``waiting`` comes from the newest `MOST_OPENED` events of the inbox; ``waits_more`` says that there are older ones.
    ``is_partial`` says that older deliveries were not searched for a visitor.
    """

    deliveries: Sequence[FoundDelivery] = ()
    has_more: bool = False
    waiting: Sequence[_WaitingEvent] = ()
    waits_more: bool = False
    is_partial: bool = False


def find_by_id(caller: Caller, text: str, newest: int | None = None) -> IdMatches:
    """Find an order id, an event id, an anonymous id or a user id, in whatever state.

    Only keyed hashes of orders and visitors are kept, so that an id has to be given exactly as it came, but for the #
    that Shopify shows before the number of an order. Orders and events have an index. For a visitor all deliveries are
    read, or the ``newest`` ones.
    """
    with caller.ledger.read() as connection:
        after_id = (
            max(0, find_deliveries.newest_delivery_id(connection) - newest) if newest is not None else 0
        )
    deliveries, was_visitor = _deliveries(caller, text, after_id)
    with caller.ledger.read() as connection:
        rows = inbox.newest_waiting_events(connection, MOST_OPENED)
    reasons = {row.id: reason for row, reason in rows}
    events, _ = open_rows(caller.ledger.vault, [row for row, _ in rows])
    matches = [
        _WaitingEvent(
            event.row.received_at,
            str(event.event.get("event") or event.event["type"]),
            str(event.event.get("messageId") or ""),
            reasons[event.row.id],
        )
        for event in events
        if text in _ids(event)
    ]
    has_more = len(deliveries) > MOST_FOUND
    is_partial = was_visitor and after_id > 0
    return IdMatches(deliveries[:MOST_FOUND], has_more, matches, len(rows) == MOST_OPENED, is_partial)


def _deliveries(caller: Caller, text: str, after_id: int) -> tuple[list[FoundDelivery], bool]:
    """Return at most one delivery more than `MOST_FOUND`, and whether they were read to find a visitor."""
    limit = MOST_FOUND + 1
    with caller.ledger.read() as connection:
        steps = list(chunks([source.id for source in sources.iterate_sources(connection)])) or [[]]

    def keys(kind: str, step: Sequence[str], value: str = text) -> list[bytes]:
        return [caller.ledger.vault.keyed_hash(kind, source_id, value) for source_id in step]

    def order_keys(step: Sequence[str]) -> list[bytes]:
        return [key for spelling in {text, text.lstrip("# ")} for key in keys("order", step, spelling)]

    with caller.ledger.read() as connection:
        rows_of_steps = [
            find_deliveries.find_of_order(connection, text, order_keys(step), limit) for step in steps
        ]
        if is_no_order := not any(rows_of_steps):
            visitor_keys = [(keys("anonymous", step), keys("user", step)) for step in steps]
            rows_of_steps = [
                find_deliveries.find_of_visitor(connection, *pair, limit, after_id) for pair in visitor_keys
            ]
    # An event id is looked up with each step.
    rows = {row.id: row for step_rows in rows_of_steps for row in step_rows}
    return [rows[row_id] for row_id in sorted(rows)][:limit], is_no_order


def _ids(opened: OpenedEvent) -> Sequence[str]:
    properties = fold_keys(opened.event.get("properties"))
    values = [opened.event.get(name) for name in ("messageId", "anonymousId", "userId")]
    values += [properties.get(name) for name in ("eventid", *PROPERTY_KEYS["order_id"])]
    return [str(value) for value in (*values, opened.received.dfid) if value is not None]
