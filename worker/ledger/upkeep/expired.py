"""Delete expired deliveries with their batches, and expired rows of other tables."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, or_, select

from worker import retention
from worker.ledger.delivery.remembered_ids import DEPARTING_COLUMNS, departing_of, remember_ids
from worker.ledger.reports import tallies
from worker.ledger.reports.books import reported_state
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
    order_identity,
    person_request,
    pipeline_key,
    problem_example,
    remembered_id,
    signed_request,
    source_usage,
    ui_session,
    visitor,
)
from worker.ledger.upkeep import suppressed_persons
from worker.ledger.vault import Vault

_SECONDS_PER_DAY = 86_400


def ended_delivery_ids(connection: Connection, before: float, limit: int) -> list[int]:
    """Return the ids of up to ``limit`` deliveries that ended before a time: those that ended first, in order of id."""
    by_themselves = (
        select(delivery.c.id)
        .where(delivery.c.ended_at < before, delivery.c.state != State.OPEN.value)
        .order_by(delivery.c.ended_at)
    )
    ids = list(connection.scalars(by_themselves.limit(limit)))
    # In two steps: in one, SQLite scans the deliveries of all batches and looks up each batch.
    batches = list(connection.scalars(_settled_with_deliveries(before).limit(limit)))
    with_their_batch = select(delivery.c.id).where(delivery.c.batch_id.in_(batches), IS_OPEN_UNINDEXED)
    ids += connection.scalars(with_their_batch.limit(limit - len(ids)))
    return sorted(ids)


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
    still_ended = _select_ended(ended_before).where(delivery.c.id.in_(ids)).with_for_update(of=delivery)
    rows = connection.execute(still_ended.order_by(delivery.c.id)).all()
    delivered = [row for row in rows if row.state == State.OPEN.value]
    remember_ids(
        connection, vault, [departing_of(row, row.ended, may_have_arrived=True) for row in delivered], now
    )
    connection.execute(delete(delivery).where(delivery.c.id.in_([row.id for row in rows])))
    states = [reported_state(row.state, row.status, test=row.test) for row in rows]
    counts = Counter(
        tallies.Entry("", row.integration_id, "", tallies.PURGED + word)
        for row, word in zip(rows, states, strict=True)
    )
    tallies.append_tallies(connection, counts, now)
    return len(rows)


def purge_batches(connection: Connection, settled_before: float, limit: int) -> int:
    """Delete up to ``limit`` batches that ended before a time and have no delivery any more, with their attempts."""
    referred = select(delivery.c.id).where(delivery.c.batch_id == batch.c.id).exists()
    empty = select(batch.c.id).where(
        batch.c.settled_at < settled_before,
        batch.c.status.in_([BatchStatus.SETTLED, BatchStatus.SPLIT]),
        ~referred,
    )
    ids = list(connection.scalars(empty.order_by(batch.c.settled_at).limit(limit)))
    if ids:
        connection.execute(delete(attempt).where(attempt.c.batch_id.in_(ids)))
        connection.execute(delete(batch).where(batch.c.id.in_(ids)))
    return len(ids)


def _select_ended(before: float) -> Any:
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


def purge_aged(connection: Connection, ended_before: float, now: float, limit: int) -> dict[str, int]:
    """Delete expired rows of other tables, up to ``limit`` of each large one; return how many of each kind.

    ``ended_before`` is now minus RETENTION_DAYS.
    """
    today = int(now // _SECONDS_PER_DAY)
    large = {
        "visitors": (visitor.c.key, visitor.c.updated_at, _days_ago(retention.VISITOR_DAYS, now)),
        "signed requests": (signed_request.c.key, signed_request.c.forget_at, now),
        "ids": (remembered_id.c.key, remembered_id.c.last_day, today),
        "ids of orders": (order_identity.c.key, order_identity.c.last_day, today),
    }
    small = {
        "audit": audit.c.at < _days_ago(retention.AUDIT_DAYS, now),
        "person requests": person_request.c.at < _days_ago(retention.PERSON_REQUEST_DAYS, now),
        "sessions": ui_session.c.expires_at <= now,
        "keys": pipeline_key.c.expires_at < ended_before,
        "alerts": alert_notice.c.at < ended_before,
        "debug inputs": debug_input.c.forget_at <= now,
        "usage": source_usage.c.day < today - retention.USAGE_DAYS,
        "problem examples": problem_example.c.at < ended_before,
    }
    counts = {"credentials": _purge_credentials(connection, ended_before)}
    suppressed_persons.drop_past_erasures(connection, now)
    for name, (key, column, bound) in large.items():
        old = select(key).where(column < bound).order_by(column).limit(limit)
        counts[name] = connection.execute(delete(key.table).where(key.in_(old))).rowcount
    for name, is_old in small.items():
        counts[name] = connection.execute(delete(is_old.left.table).where(is_old)).rowcount
    return counts


def _days_ago(days: int, now: float) -> float:
    return now - days * _SECONDS_PER_DAY


def _purge_credentials(connection: Connection, made_before: float) -> int:
    """Delete access tokens that were stored before a time and that no integration and no batch uses.

    Locks them first and checks again: an operator may be giving the same token to an integration now.
    """
    conditions = _unused(made_before)
    locked_ids = list(connection.scalars(select(credential.c.id).where(*conditions).with_for_update()))
    if not locked_ids:
        return 0
    return connection.execute(delete(credential).where(credential.c.id.in_(locked_ids), *conditions)).rowcount


def _unused(made_before: float) -> tuple[Any, ...]:
    sends = select(integration.c.id).where(integration.c.credential_id == credential.c.id).exists()
    sent = select(batch.c.id).where(batch.c.credential_id == credential.c.id).exists()
    return (credential.c.created_at < made_before, ~sends, ~sent)
