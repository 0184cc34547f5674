"""Keep every waiting delivery with an integration that can send it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, false, func, select, update

from worker.ledger.delivery.failures import INTEGRATION_GONE, end_discarded
from worker.ledger.reports import tallies
from worker.ledger.rows import chunks, is_among
from worker.ledger.schema import (
    IS_LIVE,
    IS_OPEN_UNINDEXED,
    IS_PENDING,
    IS_PENDING_UNINDEXED,
    IS_READY_UNINDEXED,
    PENDING_ORDER,
    BatchStatus,
    batch,
    delivery,
    integration,
)

_is_same_account = integration.c.ad_account == delivery.c.ad_account
# Of a delivery that is joined with its integration, which may be gone.
CAN_SEND: ColumnElement[bool] = func.coalesce(and_(integration.c.enabled, _is_same_account), false())
_SENDS: ColumnElement[bool] = exists().where(
    integration.c.credential_id == batch.c.credential_id,
    integration.c.ad_account == batch.c.ad_account,
    integration.c.enabled,
)


@dataclass(frozen=True, slots=True)
class UnsentDeliveries:
    """Count an integration's deliveries that are not sent yet: without a batch, in a waiting one, being sent."""

    pending: int
    in_batches: int
    being_sent: int

    @property
    def total(self) -> int:
        return self.pending + self.in_batches + self.being_sent


def count_unsent(connection: Connection, integration_number: int) -> UnsentDeliveries:
    """Count what an integration still has to deliver."""
    pending = select(func.count()).where(delivery.c.integration_id == integration_number, IS_PENDING)
    live = select(batch.c.id).where(IS_LIVE)
    in_batches = (
        select(batch.c.status, func.count())
        .join(batch, batch.c.id == delivery.c.batch_id)
        .where(delivery.c.batch_id.in_(live), IS_OPEN_UNINDEXED)
        .where(delivery.c.integration_id == integration_number)
    )
    by_status = {row[0]: row[1] for row in connection.execute(in_batches.group_by(batch.c.status))}
    return UnsentDeliveries(
        connection.scalar(pending) or 0,
        by_status.get(BatchStatus.READY.value, 0),
        by_status.get(BatchStatus.SENDING.value, 0),
    )


def take_back(connection: Connection, integration_number: int, now: float) -> int:
    """Return an integration's deliveries in waiting batches to pending. Returns how many.

    A batch that is being sent is left to its worker, which releases them if the batch has to be sent again.
    """
    batch_ids = connection.scalars(select(batch.c.id).where(IS_LIVE, IS_READY_UNINDEXED)).all()
    return _release(connection, batch_ids, delivery.c.integration_id == integration_number, now)


def release_orphans(connection: Connection, batch_ids: Sequence[int], now: float) -> int:
    """Take deliveries out of waiting batches that their integration can no longer send. Returns how many.

    Those of a disabled integration become pending. Those of a deleted or moved one are discarded.
    """
    return _release(connection, batch_ids, ~CAN_SEND, now)


def adopt_orphans(connection: Connection, successor: int, ad_account: int, now: float) -> int:
    """Give an ad account's waiting deliveries that lost their integration to another one. Returns how many."""
    batch_ids = connection.scalars(
        select(batch.c.id).where(IS_LIVE, IS_READY_UNINDEXED, batch.c.ad_account == ad_account)
    ).all()
    is_lost = integration.c.id.is_(None) | ~_is_same_account
    query = select(delivery.c.id).outerjoin(integration, integration.c.id == delivery.c.integration_id)
    query = query.where(is_lost, delivery.c.ad_account == ad_account)
    ids = list(connection.scalars(query.where(IS_PENDING)))
    for chunk in chunks(batch_ids):
        ids += connection.scalars(
            query.where(is_among(connection, delivery.c.batch_id, chunk), IS_OPEN_UNINDEXED)
        )
    _hand_over(connection, ids, successor, now)
    # In their old batches they would be sent with the old access token.
    take_back(connection, successor, now)
    return len(ids)


def hand_over_pending(
    connection: Connection, integration_number: int, successor: int, now: float, limit: int
) -> int:
    """Give up to ``limit`` pending deliveries to another integration of the same ad account. Returns how many."""
    query = select(delivery.c.id).where(delivery.c.integration_id == integration_number, IS_PENDING)
    first_ids = query.order_by(delivery.c.test, delivery.c.offline, PENDING_ORDER).limit(limit)
    ids = list(connection.scalars(first_ids))
    _hand_over(connection, ids, successor, now)
    return len(ids)


def count_waiting_batches(connection: Connection) -> tuple[int, int]:
    """Count the batches that wait, and those of them that an enabled integration can send."""
    query = select(func.count()).select_from(batch).where(IS_LIVE, IS_READY_UNINDEXED)
    return connection.scalar(query) or 0, connection.scalar(query.where(_SENDS)) or 0


def count_owned(connection: Connection) -> tuple[int, int]:
    """Count the deliveries that wait, and those of them whose integration still delivers to their ad account."""
    query = (
        select(func.count(), func.count(integration.c.id))
        .select_from(delivery)
        .outerjoin(batch, batch.c.id == delivery.c.batch_id)
        .outerjoin(integration, and_(integration.c.id == delivery.c.integration_id, _is_same_account))
        .where(IS_OPEN_UNINDEXED, delivery.c.batch_id.is_(None) | IS_READY_UNINDEXED)
    )
    n, owned = connection.execute(query).one()
    return n, owned


def _release(connection: Connection, batch_ids: Iterable[int], scope: ColumnElement[bool], now: float) -> int:
    rows: list[Any] = []
    for chunk in chunks(sorted(batch_ids)):
        # Locked, so that no worker starts one meanwhile.
        lock = select(batch.c.id).where(is_among(connection, batch.c.id, chunk), IS_READY_UNINDEXED)
        ready_ids = list(connection.scalars(lock.order_by(batch.c.id).with_for_update()))
        query = (
            select(
                delivery.c.id,
                delivery.c.batch_id,
                (integration.c.id.is_(None) | ~_is_same_account).label("lost"),
            )
            .outerjoin(integration, integration.c.id == delivery.c.integration_id)
            .where(is_among(connection, delivery.c.batch_id, ready_ids), IS_OPEN_UNINDEXED, scope)
        )
        rows += connection.execute(query).all()
    for chunk in chunks([row.id for row in rows]):
        statement = update(delivery).where(is_among(connection, delivery.c.id, chunk), IS_OPEN_UNINDEXED)
        connection.execute(statement.values(batch_id=None))
    for chunk in chunks([row.id for row in rows if row.lost]):
        orphans = update(delivery).where(is_among(connection, delivery.c.id, chunk), IS_PENDING_UNINDEXED)
        end_discarded(connection, orphans, INTEGRATION_GONE, now)
    for batch_id, n in sorted(Counter(row.batch_id for row in rows).items()):
        shrunk = update(batch).where(batch.c.id == batch_id).values(events=batch.c.events - n)
        if connection.execute(shrunk.returning(batch.c.events)).scalar_one() <= 0:
            values = {"status": BatchStatus.SPLIT.value, "settled_at": now}
            connection.execute(update(batch).where(batch.c.id == batch_id).values(values))
    return len(rows)


def _hand_over(connection: Connection, ids: Sequence[int], successor: int, now: float) -> None:
    """Give deliveries to another integration, and move what the books count as created."""
    rows: list[Any] = []
    for chunk in chunks(ids):
        query = select(delivery.c.integration_id, delivery.c.event_name)
        rows += connection.execute(query.where(is_among(connection, delivery.c.id, chunk))).all()
        statement = update(delivery).where(is_among(connection, delivery.c.id, chunk))
        connection.execute(statement.values(integration_id=successor))
    sources = {
        row.id: row.source_id for row in connection.execute(select(integration.c.id, integration.c.source_id))
    }
    counts: Counter[tallies.Entry] = Counter()
    for row in rows:
        for number, n in ((row.integration_id, -1), (successor, 1)):
            counts[tallies.Entry(sources.get(number, ""), number, row.event_name, tallies.CREATED)] += n
    tallies.append_tallies(connection, counts, now)
