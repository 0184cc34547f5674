"""Delete what was kept long enough, and sum up counter rows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Table, delete, func, insert, or_, select, true

from worker.ledger.delivery.deliveries import MAX_THOUSANDTHS
from worker.ledger.delivery.remembered_ids import DEPARTING_COLUMNS, departing_of, remember_ids
from worker.ledger.reports import tallies
from worker.ledger.reports.books import reported_state
from worker.ledger.rows import upsert
from worker.ledger.schema import (
    IS_OPEN_UNINDEXED,
    BatchStatus,
    State,
    alert_notice,
    attempt,
    audit,
    batch,
    credential,
    debug_input,
    delivery,
    integration,
    measure,
    order_identity,
    person_request,
    pipeline_key,
    problem_example,
    remembered_id,
    rollup,
    sale,
    signed_request,
    source_usage,
    tally,
    ui_session,
    visitor,
    watermark,
)
from worker.ledger.upkeep import suppressions
from worker.ledger.vault import Vault

_SECONDS_PER_DAY = 86_400
# Click ids are useful for about a year; traits are kept as long.
_VISITOR_DAYS = 400
# Three years, in which a request may have to be proved.
_REQUEST_DAYS = 1_095


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


def purge_aged(connection: Connection, ended_before: float, now: float, most: int) -> dict[str, int]:
    """Delete rows whose time is over, up to ``most`` of each large table; return how many of each kind.

    ``ended_before`` is the end of the retention that the operator sets.
    """
    today = int(now // _SECONDS_PER_DAY)
    year_ago = now - _VISITOR_DAYS * _SECONDS_PER_DAY
    large = {
        "visitors": (visitor.c.key, visitor.c.updated_at, year_ago),
        "signed requests": (signed_request.c.key, signed_request.c.forget_at, now),
        "ids": (remembered_id.c.key, remembered_id.c.last_day, today),
        "ids of orders": (order_identity.c.key, order_identity.c.last_day, today),
    }
    small = {
        "audit": audit.c.at < year_ago,
        "person requests": person_request.c.at < now - _REQUEST_DAYS * _SECONDS_PER_DAY,
        "sessions": ui_session.c.expires_at <= now,
        "keys": pipeline_key.c.expires_at < ended_before,
        "alerts": alert_notice.c.at < ended_before,
        "debug inputs": debug_input.c.forget_at <= now,
        "usage": source_usage.c.day < today - _VISITOR_DAYS,
        "problem examples": problem_example.c.at < ended_before,
    }
    counts = {"credentials": _purge_credentials(connection, ended_before)}
    suppressions.drop_past_erasures(connection, now)
    for name, (key, column, bound) in large.items():
        old = select(key).where(column < bound).order_by(column).limit(most)
        counts[name] = connection.execute(delete(key.table).where(key.in_(old))).rowcount
    for name, is_old in small.items():
        counts[name] = connection.execute(delete(is_old.left.table).where(is_old)).rowcount
    return counts


def _purge_credentials(connection: Connection, made_before: float) -> int:
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


# Counter → the columns that make a key, those that are summed up, and those of which the largest is kept.
COUNTERS: Mapping[str, tuple[Sequence[Column[Any]], Sequence[Column[Any]], Sequence[Column[Any]]]] = {
    "tally": (
        (tally.c.hour, tally.c.source_id, tally.c.integration_id, tally.c.event_name, tally.c.outcome),
        (tally.c.n,),
        (tally.c.last_at,),
    ),
    "rollup": ((rollup.c.minute, rollup.c.integration_id, rollup.c.what), (rollup.c.n,), ()),
    "sale": (
        (sale.c.day, sale.c.integration_id, sale.c.event_name, sale.c.currency),
        (sale.c.n, sale.c.value_thousandths),
        (),
    ),
    "measure": ((measure.c.name, measure.c.label, measure.c.bound), (measure.c.n, measure.c.total), ()),
    "source_usage": (
        (source_usage.c.day, source_usage.c.source_id, source_usage.c.what),
        (source_usage.c.n,),
        (),
    ),
}


def fold_counters(connection: Connection, counter: str, most_groups: int = 500, since_hour: int = 0) -> int:
    """Sum up a counter's rows with the same key. Returns how many rows that saved.

    Tallies and rollups are read from ``since_hour`` on, the first hour that can have new rows.
    """
    which: ColumnElement[bool] = true()
    if counter == "tally":
        which = tally.c.hour >= since_hour
    elif counter == "rollup":
        which = rollup.c.minute >= since_hour * 60
    elif counter == "sale":
        # Larger sums are not folded any further, so that none exceeds 63 bits.
        which = sale.c.value_thousandths < 10 * MAX_THOUSANDTHS
    keys, sums, latest = COUNTERS[counter]
    return _fold_rows(connection, sums[0].table, keys, sums, which, most_groups, latest)


def _fold_rows(
    connection: Connection,
    table: Table,
    keys: Sequence[Column[Any]],
    sums: Sequence[Column[Any]],
    which: ColumnElement[bool],
    most_groups: int,
    latest: Sequence[Column[Any]] = (),
) -> int:
    """Replace rows with equal keys by one row with their sums, and with the largest of each ``latest`` column.

    Returns how many rows that saved.
    """
    crowded = (
        select(*keys, func.max(table.c.id).label("last"))
        .where(which)
        .group_by(*keys)
        .having(func.count() > 1)
        .limit(most_groups)
    )
    saved = 0
    for row in connection.execute(crowded).all():
        these = [key == value for key, value in zip(keys, row, strict=False)] + [table.c.id <= row.last]
        removed = connection.execute(delete(table).where(*these).returning(*sums, *latest)).all()
        # Empty if another process folded them meanwhile.
        if removed:
            values = dict(zip((key.name for key in keys), row, strict=False))
            for number, (column, each) in enumerate(
                zip((*sums, *latest), zip(*removed, strict=True), strict=True)
            ):
                known = [value for value in each if value is not None]
                values[column.name] = sum(known) if number < len(sums) else max(known, default=None)
            connection.execute(insert(table).values(**values))
            saved += len(removed) - 1
    return saved
