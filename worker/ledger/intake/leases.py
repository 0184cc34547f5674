"""Say which inbox rows a worker holds for long, which wait the longest, and which are overdue.

A lease saves work but is not a fence: `inbox.take_events` decides who settles an event.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    cast,
    delete,
    extract,
    func,
    literal,
    literal_column,
    not_,
    select,
    union_all,
)

from worker.event.received import Trust
from worker.ledger.intake.inbox import overdue_ids
from worker.ledger.rows import has_passed, upsert
from worker.ledger.schema import inbox, inbox_lease, source
from worker.ledger.upkeep import watermarks

_RANGE_MAX_ROWS = 500
_FRONT, _ROUND, _ROUND_END = "inbox", "inbox_round", "inbox_round_end"
# Any number that no other advisory lock has.
_CLAIM_LOCK = 7_161_201


def save_lease(connection: Connection, holder: str, ids: Sequence[int], seconds: float) -> None:
    """Lease rows to a holder or renew the lease. The ids replace those of the holder's earlier lease."""
    values = {"inbox_ids": list(ids), "lease_until": _now(connection) + seconds}
    statement = upsert(connection, inbox_lease).values(holder=holder, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["holder"], set_=values))


def end_lease(connection: Connection, holder: str) -> None:
    """End a holder's lease, if it has one."""
    connection.execute(delete(inbox_lease).where(inbox_lease.c.holder == holder))


def leased_ids(connection: Connection, but: str = "") -> set[int]:
    """Return the ids of all rows with a valid lease, except those of one holder."""
    live = select(inbox_lease.c.inbox_ids).where(
        inbox_lease.c.holder != but, not_(has_passed(inbox_lease.c.lease_until, _now(connection)))
    )
    return {event_id for ids in connection.scalars(live) for event_id in ids}


def any_lease_expired(connection: Connection) -> bool:
    """Return whether any lease has expired."""
    expired = select(inbox_lease.c.holder).where(has_passed(inbox_lease.c.lease_until, _now(connection)))
    return connection.scalar(expired.limit(1)) is not None


def take_expired_leases(connection: Connection) -> list[int]:
    """Delete expired leases. Returns the ids, in order, that no valid lease holds."""
    expired = delete(inbox_lease).where(has_passed(inbox_lease.c.lease_until, _now(connection)))
    id_lists = connection.scalars(expired.returning(inbox_lease.c.inbox_ids))
    return sorted({event_id for ids in id_lists for event_id in ids})


def try_claim_lock(connection: Connection) -> bool:
    """Return whether only this transaction may choose rows to lease. Others skip their turn.

    SQLite has a single writer anyway.
    """
    if connection.dialect.name == "sqlite":
        return True
    return bool(connection.scalar(select(func.pg_try_advisory_xact_lock(_CLAIM_LOCK))))


def _now(connection: Connection) -> ColumnElement[float]:
    """Return the time that decides leases, by the database server's clock or that of the only host."""
    if connection.dialect.name == "sqlite":
        return literal(time.time(), Double)
    return cast(extract("epoch", func.clock_timestamp()), Double)


class InboxGroup(NamedTuple):
    """Name the events of one source and trust. Groups take turns."""

    source_id: str
    trust: int


@dataclass(frozen=True, slots=True)
class WaitingGroup:
    """Hold a group with waiting events and when the oldest one was received."""

    group: InboxGroup
    received_at: float


def waiting_groups(connection: Connection, received_before: float) -> list[WaitingGroup]:
    """Return the groups with an event received before a time, the group with the oldest event first.

    Costs one index lookup per source and trust, however long the backlog is.
    """
    oldest = [_oldest_of(trust).label(trust.name) for trust in Trust]
    groups = [
        WaitingGroup(InboxGroup(row.id, trust), received_at)
        for row in connection.execute(select(source.c.id, *oldest))
        for trust in Trust
        if (received_at := getattr(row, trust.name)) is not None and received_at < received_before
    ]
    return sorted(groups, key=lambda head: head.received_at)


def _oldest_of(trust: Trust) -> Any:
    return (
        select(inbox.c.received_at)
        .where(_belongs_to(source.c.id, trust))
        .order_by(inbox.c.received_at)
        .limit(1)
        .scalar_subquery()
    )


def oldest_ids(
    connection: Connection, groups: Sequence[InboxGroup], received_before: float, limit: int
) -> list[list[int]]:
    """Return the ids of each group's oldest events received before a time, at most ``limit`` per group."""
    if not groups:
        return []
    parts = [_ids_of(number, group, received_before, limit) for number, group in enumerate(groups)]
    ids_by_group: list[list[int]] = [[] for _ in groups]
    for number, event_id in connection.execute(union_all(*parts)):
        ids_by_group[number].append(event_id)
    return ids_by_group


def _ids_of(number: int, group: InboxGroup, received_before: float, limit: int) -> Any:
    ids = (
        select(inbox.c.id)
        .where(_belongs_to(group.source_id, group.trust), inbox.c.received_at < received_before)
        .order_by(inbox.c.received_at)
        .limit(limit)
        .subquery(f"group{number}")
    )
    return select(literal_column(str(number)), ids.c.id)


def _belongs_to(source_id: Any, trust: int) -> Any:
    return (inbox.c.source_id == source_id) & (inbox.c.trust == trust) & inbox.c.parked_reason.is_(None)


def overdue_ranges(
    connection: Connection,
    received_before: float,
    most_ranges: int,
    round_seconds: float,
    now: float,
    held: Collection[int] = (),
    *,
    is_queue_long: bool = False,
) -> list[tuple[int, int]]:
    """Return (first id, last id) of overdue inbox rows, at most 500 rows each.

    Two watermarks move over the inbox. The front names rows when they become overdue, unless the queue is long. A
    round names all rows behind it again, with half of the ranges; it starts ``round_seconds`` after the last one
    started, once that one is complete. Its end is fixed when it starts: however many rows become overdue meanwhile,
    each row is named again within two rounds. ``held`` rows are left out unless they are between others.
    """
    front, _ = watermarks.read_watermark(connection, _FRONT)
    position, round_start = watermarks.read_watermark(connection, _ROUND)
    end, _ = watermarks.read_watermark(connection, _ROUND_END)
    # A clock that stepped back must not delay the next round.
    if position >= end and abs(now - round_start) >= round_seconds:
        position, round_start = 0, now
        end = (connection.scalar(select(func.max(inbox.c.id))) or 0) if is_queue_long else front
    ranges: list[tuple[int, int]] = []
    if position < end:
        position = _read_on(connection, position, end, received_before, (most_ranges + 1) // 2, held, ranges)
    if position >= end:
        front = max(front, end)
    if not is_queue_long:
        front = _read_on(connection, front, None, received_before, most_ranges, held, ranges)
    watermarks.set_watermark(connection, _FRONT, front, now)
    watermarks.set_watermark(connection, _ROUND, position, round_start)
    watermarks.set_watermark(connection, _ROUND_END, end, round_start)
    return ranges


def _read_on(
    connection: Connection,
    position: int,
    end: int | None,
    received_before: float,
    most_ranges: int,
    held: Collection[int],
    ranges: list[tuple[int, int]],
) -> int:
    """Add ranges of overdue rows behind a position up to ``end``; return the last row, or ``end``."""
    while len(ranges) < most_ranges:
        ids = overdue_ids(connection, position, received_before, _RANGE_MAX_ROWS)
        is_last = len(ids) < _RANGE_MAX_ROWS
        if end is not None:
            is_last = is_last or ids[-1] >= end
            ids = [event_id for event_id in ids if event_id <= end]
        if free_ids := [event_id for event_id in ids if event_id not in held]:
            ranges.append((free_ids[0], free_ids[-1]))
        if is_last:
            return end if end is not None else ids[-1] if ids else position
        position = ids[-1]
    return position


def narrow_ranges(ids: Sequence[int]) -> list[tuple[int, int]]:
    """Return ranges that cover the ids, given in order. No range spans more than 500 ids."""
    ranges: list[tuple[int, int]] = []
    for event_id in ids:
        if ranges and event_id - ranges[-1][0] < _RANGE_MAX_ROWS:
            ranges[-1] = (ranges[-1][0], event_id)
        else:
            ranges.append((event_id, event_id))
    return ranges
