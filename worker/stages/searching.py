"""Find an order, an event or a visitor, in whatever state."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.events.keys import fold_keys
from worker.ledger import finding, inbox, sources
from worker.ledger.engine import Ledger
from worker.ledger.finding import Found
from worker.ledger.rows import chunks
from worker.pinterest.custom_data import SOURCES
from worker.stages.opened import Opened, open_rows

MOST_FOUND = 200
# What waits is sealed and has to be opened one by one: so many take a fraction of a second.
MOST_OPENED = 5_000


@dataclass(frozen=True, slots=True)
class InInbox:
    """Hold an event that was accepted and not mapped yet."""

    received_at: float
    name: str
    event_id: str
    # Why it was set aside, where it was.
    parked_reason: str | None


def search(ledger: Ledger, what: str, limit: int = MOST_FOUND) -> list[Found]:
    """Return the deliveries that an order id, an event id, an anonymous id or a user id stands for.

    Only keyed hashes of orders and visitors are kept, so that an id has to be given exactly as it came.
    """
    with ledger.read() as connection:
        source_ids = [source.id for source in sources.every(connection)]
    steps = list(chunks(source_ids)) or [[]]

    def keys(kind: str, step: Sequence[str]) -> list[bytes]:
        return [ledger.vault.keyed_hash(kind, source_id, what) for source_id in step]

    with ledger.read() as connection:
        found = [finding.by_order(connection, what, keys("order", step), limit) for step in steps]
        if not any(found):
            visitor_keys = [(keys("anonymous", step), keys("user", step)) for step in steps]
            found = [finding.by_visitor(connection, *some, limit) for some in visitor_keys]
    # An event id is looked up with each step.
    rows = {row.id: row for step_rows in found for row in step_rows}
    return [rows[row_id] for row_id in sorted(rows)][:limit]


def search_inbox(ledger: Ledger, what: str) -> list[InInbox]:
    """Return the events that an id stands for among the newest that wait to be mapped."""
    with ledger.read() as connection:
        waiting = inbox.newest(connection, MOST_OPENED)
    reasons = {row.id: reason for row, reason in waiting}
    opened, _ = open_rows(ledger.vault, [row for row, _ in waiting])
    return [
        InInbox(
            one.row.received_at,
            str(one.event.get("event") or one.event["type"]),
            str(one.event.get("messageId") or ""),
            reasons[one.row.id],
        )
        for one in opened
        if what in _ids(one)
    ]


def _ids(one: Opened) -> Sequence[str]:
    properties = fold_keys(one.event.get("properties"))
    given = [one.event.get(name) for name in ("messageId", "anonymousId", "userId")]
    given += [properties.get(name) for name in ("eventid", *SOURCES["order_id"])]
    return [str(value) for value in (*given, one.received.dfid) if value is not None]
