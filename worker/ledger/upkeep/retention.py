"""Find overdue inbox rows, and delete what was kept long enough."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, or_, select

from worker.ledger.delivery.remembered_ids import DEPARTING_COLUMNS, departing_of, remember_ids
from worker.ledger.intake import inbox
from worker.ledger.reports import tallies
from worker.ledger.reports.books import reported_state
from worker.ledger.rows import upsert
from worker.ledger.schema import (
    IS_OPEN_UNINDEXED,
    BatchStatus,
    State,
    attempt,
    audit,
    batch,
    credential,
    delivery,
    integration,
    pipeline_key,
    ui_session,
    watermark,
)
from worker.ledger.schema import inbox as inbox_table
from worker.ledger.vault import Vault

_RANGE_MAX_ROWS = 500
_FRONT, _ROUND, _ROUND_END = "inbox", "inbox_round", "inbox_round_end"


def any_overdue(connection: Connection, received_before: float) -> bool:
    """Return whether any inbox row was received before a time."""
    return bool(inbox.overdue_ids(connection, 0, received_before, 1))


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
    front, _ = read_watermark(connection, _FRONT)
    position, began = read_watermark(connection, _ROUND)
    end, _ = read_watermark(connection, _ROUND_END)
    # A clock that stepped back must not delay the next round.
    if position >= end and abs(now - began) >= round_seconds:
        position, began = 0, now
        end = (connection.scalar(select(func.max(inbox_table.c.id))) or 0) if is_queue_long else front
    ranges: list[tuple[int, int]] = []
    if position < end:
        position = _read_on(connection, position, end, received_before, (most_ranges + 1) // 2, held, ranges)
    if position >= end:
        front = max(front, end)
    if not is_queue_long:
        front = _read_on(connection, front, None, received_before, most_ranges, held, ranges)
    set_watermark(connection, _FRONT, front, now)
    set_watermark(connection, _ROUND, position, began)
    set_watermark(connection, _ROUND_END, end, began)
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
        ids = inbox.overdue_ids(connection, position, received_before, _RANGE_MAX_ROWS)
        is_last = len(ids) < _RANGE_MAX_ROWS
        if end is not None:
            is_last = is_last or ids[-1] >= end
            ids = [event_id for event_id in ids if event_id <= end]
        if free := [event_id for event_id in ids if event_id not in held]:
            ranges.append((free[0], free[-1]))
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


def ended_delivery_ids(connection: Connection, before: float, most: int) -> list[int]:
    """Return some of the deliveries that ended before a time, the oldest first."""
    by_themselves = (
        select(delivery.c.id)
        .where(delivery.c.ended_at < before, delivery.c.state != State.OPEN.value)
        .order_by(delivery.c.ended_at)
    )
    found = list(connection.scalars(by_themselves.limit(most)))
    # In two steps: in one, SQLite scans the deliveries of all batches and looks up each batch.
    batches = list(connection.scalars(_settled_with_deliveries(before).limit(most)))
    with_their_batch = select(delivery.c.id).where(delivery.c.batch_id.in_(batches), IS_OPEN_UNINDEXED)
    found += connection.scalars(with_their_batch.limit(most - len(found)))
    return sorted(found)


def _settled_with_deliveries(before: float) -> Any:
    has_some = select(delivery.c.id).where(delivery.c.batch_id == batch.c.id, IS_OPEN_UNINDEXED).exists()
    return (
        select(batch.c.id)
        .where(batch.c.settled_at < before, batch.c.status == BatchStatus.SETTLED.value, has_some)
        .order_by(batch.c.settled_at)
    )


def purge_deliveries(
    connection: Connection, vault: Vault, ids: Sequence[int], ended_before: float, now: float
) -> int:
    """Delete those of the deliveries that ended before a time, and update the books.

    The ids of those that were delivered are remembered for as long as a second copy may come.
    """
    if not ids:
        return 0
    # Locked, because an operator may retry a failed one now.
    still_ended = _ended(ended_before).where(delivery.c.id.in_(ids)).with_for_update(of=delivery)
    rows = connection.execute(still_ended.order_by(delivery.c.id)).all()
    delivered = [row for row in rows if row.state == State.OPEN.value]
    remember_ids(
        connection, vault, [departing_of(row, row.ended, may_have_arrived=True) for row in delivered], now
    )
    connection.execute(delete(delivery).where(delivery.c.id.in_([row.id for row in rows])))
    stood = [reported_state(row.state, row.status, test=row.test) for row in rows]
    counts = Counter(
        tallies.Entry("", row.integration_id, "", tallies.PURGED + word)
        for row, word in zip(rows, stood, strict=True)
    )
    tallies.append_tallies(connection, counts, now)
    return len(rows)


def purge_batches(connection: Connection, settled_before: float, most: int) -> int:
    """Delete batches that no delivery refers to, with their attempts."""
    referred = select(delivery.c.id).where(delivery.c.batch_id == batch.c.id).exists()
    empty = select(batch.c.id).where(
        batch.c.settled_at < settled_before,
        batch.c.status.in_([BatchStatus.SETTLED, BatchStatus.SPLIT]),
        ~referred,
    )
    ids = list(connection.scalars(empty.order_by(batch.c.settled_at).limit(most)))
    if ids:
        connection.execute(delete(attempt).where(attempt.c.batch_id.in_(ids)))
        connection.execute(delete(batch).where(batch.c.id.in_(ids)))
    return len(ids)


def purge_audit(connection: Connection, before: float) -> int:
    """Delete old audit entries."""
    return connection.execute(delete(audit).where(audit.c.at < before)).rowcount


def _ended(before: float) -> Any:
    return (
        select(
            delivery.c.id,
            delivery.c.state,
            batch.c.status,
            delivery.c.test,
            delivery.c.integration_id,
            delivery.c.event_name,
            func.coalesce(delivery.c.ended_at, batch.c.settled_at).label("ended"),
            *DEPARTING_COLUMNS,
        )
        .outerjoin(batch, batch.c.id == delivery.c.batch_id)
        .where(
            func.coalesce(delivery.c.ended_at, batch.c.settled_at) < before,
            or_(delivery.c.state != State.OPEN.value, batch.c.status == BatchStatus.SETTLED.value),
        )
    )


def read_watermark(connection: Connection, name: str) -> tuple[int, float]:
    """Return how far something got, and when; zeros if it never ran."""
    wanted = select(watermark.c.position, watermark.c.at).where(watermark.c.name == name)
    found = connection.execute(wanted).one_or_none()
    return (found.position, found.at) if found else (0, 0.0)


def set_watermark(connection: Connection, name: str, position: int, at: float) -> None:
    """Store how far something got, and when."""
    values = {"position": position, "at": at}
    statement = upsert(connection, watermark).values(name=name, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=values))


def purge_sessions(connection: Connection, now: float) -> int:
    """Delete expired sessions."""
    return connection.execute(delete(ui_session).where(ui_session.c.expires_at <= now)).rowcount


def purge_keys(connection: Connection, expired_before: float) -> int:
    """Delete pipeline keys that expired before a time."""
    old = pipeline_key.c.expires_at < expired_before
    return connection.execute(delete(pipeline_key).where(old)).rowcount


def purge_credentials(connection: Connection, made_before: float) -> int:
    """Delete access tokens that no integration and no batch uses.

    Locks them first and checks again: an operator may be giving the same token to an integration now.
    """
    unused = _unused(made_before)
    held = list(connection.scalars(select(credential.c.id).where(*unused).with_for_update()))
    if not held:
        return 0
    return connection.execute(delete(credential).where(credential.c.id.in_(held), *unused)).rowcount


def _unused(made_before: float) -> tuple[Any, ...]:
    sends = select(integration.c.id).where(integration.c.credential_id == credential.c.id).exists()
    sent = select(batch.c.id).where(batch.c.credential_id == credential.c.id).exists()
    return (credential.c.created_at < made_before, ~sends, ~sent)
