"""Read all rows about visitors, and erase some with the books in balance."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Text, cast, delete, func, select, update

from worker.ledger.delivery.remembered_ids import DEPARTING_COLUMNS, departing_of, remember_ids
from worker.ledger.reports import tallies
from worker.ledger.reports.books import reported_state
from worker.ledger.reports.shop_orders import erase_orders_of
from worker.ledger.reports.tallies import Entry
from worker.ledger.schema import (
    BatchStatus,
    State,
    batch,
    debug_input,
    delivery,
    inbox,
    integration,
    problem_example,
    source,
    tally,
    visitor,
)
from worker.ledger.vault import Vault

_REASON = "Erased at the person's request."
_UNBOOKED = ("pending", "in_flight")
_SENT = (tallies.DELIVERED, tallies.TESTED)


@dataclass(frozen=True, slots=True)
class PersonalRow:
    """Hold a row that may contain personal data. ``body`` is sealed, or None; ``trust`` is None for a visitor.

    ``public_fields`` names the fields of a signed delivery that only public calls gave.
    """

    id: Any
    body: bytes | None
    anonymous_key: bytes | None
    user_key: bytes | None
    trust: int | None = None
    public_fields: str | None = None


@dataclass(frozen=True, slots=True)
class ReducedPayload:
    """Hold the sealed payload of a delivery, and the one without the fields of public calls, with its size.

    ``public_fields`` names those that remain. ``can_be_sent``: whether Pinterest would accept the new one.
    """

    old: bytes
    new: bytes
    size_bytes: int
    public_fields: str | None
    can_be_sent: bool


_NOTHING: Mapping[int, ReducedPayload] = {}


@dataclass(frozen=True, slots=True)
class _ErasedDeliveries:
    """Count the erased deliveries by their former state; name the reduced ones, and those that are being sent now."""

    by_state: Counter[str] = field(default_factory=Counter)
    being_sent: frozenset[int] = frozenset()
    reduced: frozenset[int] = frozenset()


def known_source_ids(connection: Connection) -> list[str]:
    """Return the id of every source that exists or is named in the tallies or the inbox."""
    query = select(source.c.id).union(select(tally.c.source_id), select(inbox.c.source_id))
    return [source_id for source_id in connection.scalars(query) if source_id]


def count_personal_rows(connection: Connection) -> int:
    """Count the rows to search."""
    tables = (inbox, visitor, delivery)
    return sum(connection.scalar(select(func.count()).select_from(table)) or 0 for table in tables)


def inbox_rows_after(connection: Connection, after: int, limit: int) -> list[PersonalRow]:
    """Return inbox rows, parked ones too, in the order of their ids."""
    query = select(inbox.c.id, inbox.c.body, inbox.c.anonymous_key, inbox.c.user_key, inbox.c.trust)
    return _read(connection, query.where(inbox.c.id > after).order_by(inbox.c.id).limit(limit))


def visitor_rows_after(connection: Connection, after: bytes, limit: int) -> list[PersonalRow]:
    """Return visitors in the order of their keys. A key may identify a device or a person."""
    query = select(visitor.c.key, visitor.c.body, visitor.c.key, visitor.c.key)
    return _read(connection, query.where(visitor.c.key > after).order_by(visitor.c.key).limit(limit))


def delivery_rows_after(connection: Connection, after: int, limit: int) -> list[PersonalRow]:
    """Return all deliveries that are not erased, in the order of their ids."""
    names = ("id", "payload", "anonymous_key", "user_key", "trust", "public_fields")
    query = select(*(delivery.c[name] for name in names)).where(
        delivery.c.id > after, delivery.c.state != State.ERASED.value
    )
    return _read(connection, query.order_by(delivery.c.id).limit(limit))


def waiting_events(connection: Connection, ids: Sequence[int]) -> list[Mapping[str, Any]]:
    """Return events of the inbox by id, with their sealed bodies."""
    query = select(inbox.c.id, inbox.c.source_id, inbox.c.received_at, inbox.c.parked_reason, inbox.c.body)
    return _mappings(connection, query.where(inbox.c.id.in_(ids)).order_by(inbox.c.id))


def visitor_bodies(connection: Connection, keys: Sequence[bytes]) -> list[Mapping[str, Any]]:
    """Return sealed visitors by key, without the key."""
    query = select(visitor.c.updated_at, visitor.c.body).where(visitor.c.key.in_(keys))
    return _mappings(connection, query.order_by(visitor.c.key))


def debugged_events(connection: Connection) -> list[Mapping[str, Any]]:
    """Return all stored inputs of the live debugger, sealed."""
    names = ("id", "source_id", "received_at", "body", "anonymous_key", "user_key")
    return _mappings(connection, select(*(debug_input.c[name] for name in names)).order_by(debug_input.c.id))


def erase_events(connection: Connection, ids: Sequence[int], now: float) -> int:
    """Delete events from the inbox. A worker that is processing them fails in its transaction.

    Returns how many were still there. Workers have written deliveries of the others.
    """
    result = connection.execute(delete(inbox).where(inbox.c.id.in_(ids)).returning(inbox.c.source_id))
    counts = Counter(Entry(source_id, 0, "", tallies.EVENT_ERASED) for source_id in result.scalars())
    tallies.append_tallies(connection, counts, now)
    return counts.total()


def count_debug_inputs(connection: Connection) -> int:
    """Count the stored inputs of the live debugger."""
    return connection.scalar(select(func.count()).select_from(debug_input)) or 0


def delete_debug_inputs(connection: Connection) -> int:
    """Delete all stored inputs of the live debugger, of all people: there are few, and they expire soon anyway."""
    return connection.execute(delete(debug_input)).rowcount


def erase_deliveries(
    connection: Connection,
    vault: Vault,
    ids: Sequence[int],
    now: float,
    reduced: Mapping[int, ReducedPayload] = _NOTHING,
) -> _ErasedDeliveries:
    """Remove all personal data from deliveries in any state, except those that are being sent.

    Count, time, event name and ad account remain for the books. A waiting batch is sent without them. A later copy of
    an erased event is a duplicate. Those of ``reduced`` keep their state and get the other payload, unless they could
    then not be sent any more.
    """
    batches = _lock_batches(connection, ids)
    statuses = {batch_id: status for batch_id, (status, _) in batches.items()}
    rows = _lock(connection, ids)
    # The batch of a delivery that was claimed between the two statements is not locked: the next round takes it.
    busy_ids = {row.id for row in rows if _is_busy(row, statuses)}
    free = [row for row in rows if row.id not in busy_ids]
    by_state = {row.id: reported_state(row.state, statuses.get(row.batch_id), test=row.test) for row in free}
    kept_ids = {row_id for row_id, state in by_state.items() if _is_kept(reduced.get(row_id), state)}
    done = frozenset(row_id for row_id in sorted(kept_ids) if _reduce(connection, row_id, reduced[row_id]))
    free = [row for row in free if row.id not in kept_ids]
    by_state = {row.id: by_state[row.id] for row in free}
    tried = {batch_id for batch_id, (_, was_tried) in batches.items() if was_tried}
    departures = [
        departing_of(row, now, may_have_arrived=row.batch_id in tried) for row in free if row.event_name
    ]
    remember_ids(connection, vault, departures, now)
    erase_orders_of(connection, [row.id for row in free])
    _empty(connection, [row.id for row in free], now)
    _shrink(connection, Counter(row.batch_id for row in free if by_state[row.id] == "in_flight"))
    _count(connection, free, by_state, now)
    return _ErasedDeliveries(Counter(by_state.values()), frozenset(busy_ids), done)


def preview_erasure(
    connection: Connection, ids: Sequence[int], reduced: Mapping[int, ReducedPayload] = _NOTHING
) -> _ErasedDeliveries:
    """Return what `erase_deliveries` would do now."""
    query = (
        select(delivery.c.id, delivery.c.state, delivery.c.test, delivery.c.batch_id, batch.c.status)
        .outerjoin(batch, batch.c.id == delivery.c.batch_id)
        .where(delivery.c.id.in_(ids), delivery.c.state != State.ERASED.value)
    )
    rows = connection.execute(query).all()
    busy_ids = frozenset(row.id for row in rows if _is_busy(row, {row.batch_id: row.status}))
    by_state = {
        row.id: reported_state(row.state, row.status, test=row.test) for row in rows if row.id not in busy_ids
    }
    kept_ids = frozenset(row_id for row_id, state in by_state.items() if _is_kept(reduced.get(row_id), state))
    counts = Counter(state for row_id, state in by_state.items() if row_id not in kept_ids)
    return _ErasedDeliveries(counts, busy_ids, kept_ids)


def _mappings(connection: Connection, query: Any) -> list[Mapping[str, Any]]:
    return [dict(row) for row in connection.execute(query).mappings()]


def _read(connection: Connection, query: Any) -> list[PersonalRow]:
    return [PersonalRow(*row) for row in connection.execute(query)]


def _lock_batches(connection: Connection, ids: Sequence[int]) -> dict[int, tuple[int, bool]]:
    """Return each batch's status, and whether an attempt may have reached Pinterest."""
    # Batches before deliveries, in the order of settling. SQLite has locked everything already.
    batch_ids = select(delivery.c.batch_id).where(delivery.c.id.in_(ids), delivery.c.batch_id.is_not(None))
    query = (
        select(batch.c.id, batch.c.status, batch.c.first_tried_at)
        .where(batch.c.id.in_(batch_ids))
        .order_by(batch.c.id)
        .with_for_update()
    )
    rows = connection.execute(query)
    return {row.id: (row.status, row.first_tried_at is not None) for row in rows}


def _lock(connection: Connection, ids: Sequence[int]) -> Sequence[Any]:
    query = select(
        delivery.c.id,
        delivery.c.state,
        delivery.c.test,
        delivery.c.batch_id,
        delivery.c.integration_id,
        delivery.c.event_name,
        *DEPARTING_COLUMNS,
    ).where(delivery.c.id.in_(ids), delivery.c.state != State.ERASED.value)
    return connection.execute(query.order_by(delivery.c.id).with_for_update()).all()


def _is_busy(row: Any, statuses: dict[int, int]) -> bool:
    if row.state != State.OPEN.value or row.batch_id is None:
        return False
    return statuses.get(row.batch_id) not in (BatchStatus.READY.value, BatchStatus.SETTLED.value)


def _is_kept(reduced: ReducedPayload | None, state: str) -> bool:
    """Return whether a delivery remains without the fields of public calls: it was sent, or still can be."""
    return reduced is not None and (reduced.can_be_sent or state in _SENT)


def _reduce(connection: Connection, delivery_id: int, reduced: ReducedPayload) -> bool:
    is_same = (delivery.c.id == delivery_id) & (delivery.c.payload == reduced.old)
    names = ("size_bytes", "public_fields")
    values = {"payload": reduced.new} | {name: getattr(reduced, name) for name in names}
    return connection.execute(update(delivery).where(is_same).values(values)).rowcount > 0


def _empty(connection: Connection, ids: Sequence[int], now: float) -> None:
    values = {
        "state": State.ERASED.value,
        "batch_id": None,
        # A shop may put the number of an order or a person into it.
        "event_id": "erased:" + cast(delivery.c.id, Text),
        "payload": None,
        "size_bytes": 0,
        "reason_class": "erased",
        "reason": _REASON,
        "warning": None,
        "consent": None,
        "public_fields": None,
        "ended_at": now,
        "order_key": None,
        "content_key": None,
        "business_key": None,
        "anonymous_key": None,
        "user_key": None,
        "currency": None,
        "value_thousandths": None,
    }
    connection.execute(update(delivery).where(delivery.c.id.in_(ids)).values(values))
    connection.execute(delete(problem_example).where(problem_example.c.delivery_id.in_(ids)))


def _shrink(connection: Connection, counts: Counter[int]) -> None:
    for batch_id, n in sorted(counts.items()):
        connection.execute(update(batch).where(batch.c.id == batch_id).values(events=batch.c.events - n))


def _count(connection: Connection, rows: Sequence[Any], by_state: dict[int, str], now: float) -> None:
    numbers = {row.integration_id for row in rows}
    query = select(integration.c.id, integration.c.source_id).where(integration.c.id.in_(numbers))
    sources = {row.id: row.source_id for row in connection.execute(query)}
    counts: Counter[Entry] = Counter()
    for row in rows:
        entry = Entry(sources.get(row.integration_id, ""), row.integration_id, row.event_name, tallies.ERASED)
        counts[entry] += 1
        if by_state[row.id] not in _UNBOOKED:
            counts[entry._replace(outcome=tallies.LEFT + by_state[row.id])] += 1
    tallies.append_tallies(connection, counts, now)
