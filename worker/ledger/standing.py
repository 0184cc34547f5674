"""Tell how much waits, for each integration and each ad account, and for how long."""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from worker.ledger.schema import BatchStatus, State, ad_account, batch, delivery


@dataclass(frozen=True, slots=True)
class Waiting:
    """Hold how many deliveries wait, and since when the oldest of them does."""

    deliveries: int
    since: float


def pending(connection: Connection) -> dict[int, Waiting]:
    """Return what waits for a batch, by the integration's number; one without anything is left out."""
    # The oldest is the one that was written first, which the index gives without reading the rows.
    counted = (
        select(delivery.c.integration_id, func.count().label("n"), func.min(delivery.c.id).label("first"))
        .where(delivery.c.state == State.OPEN.value, delivery.c.batch_id.is_(None))
        .group_by(delivery.c.integration_id)
        .subquery()
    )
    wanted = select(counted.c.integration_id, counted.c.n, delivery.c.accepted_at).join(
        delivery, delivery.c.id == counted.c.first
    )
    return {row.integration_id: Waiting(row.n, row.accepted_at) for row in connection.execute(wanted)}


def in_flight(connection: Connection) -> dict[str, Waiting]:
    """Return what stands in batches that are not settled, by the ad account's id."""
    wanted = (
        select(
            ad_account.c.ad_account_id,
            func.sum(batch.c.events).label("n"),
            func.min(batch.c.created_at).label("created_at"),
        )
        .join(ad_account, ad_account.c.id == batch.c.ad_account)
        .where(batch.c.status.in_([BatchStatus.READY.value, BatchStatus.SENDING.value]))
        .group_by(ad_account.c.ad_account_id)
    )
    return {row.ad_account_id: Waiting(int(row.n), row.created_at) for row in connection.execute(wanted)}
