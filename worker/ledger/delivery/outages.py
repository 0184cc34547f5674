"""Query what the retry after an outage needs: which ad accounts failed, and whether sending works again."""

from collections.abc import Iterable

from sqlalchemy import Connection, exists, func, select

from worker.ledger.schema import IS_OPEN_UNINDEXED, BatchStatus, State, ad_account, batch, delivery


def first_failures(connection: Connection, reason_classes: Iterable[str], since: float) -> dict[str, float]:
    """Return when each ad account first failed with one of these reason classes, after ``since``."""
    wanted = (
        select(ad_account.c.ad_account_id, func.min(delivery.c.ended_at))
        .join(delivery, delivery.c.ad_account == ad_account.c.id)
        .where(
            delivery.c.state == State.FAILED.value,
            delivery.c.reason_class.in_(list(reason_classes)),
            delivery.c.ended_at >= since,
        )
        .group_by(ad_account.c.ad_account_id)
    )
    return {row[0]: row[1] for row in connection.execute(wanted)}


def last_delivered_at(connection: Connection, ad_account_id: str, since: float) -> float | None:
    """Return when Pinterest last accepted an event for an ad account, if after ``since``."""
    took_one = exists().where(delivery.c.batch_id == batch.c.id, IS_OPEN_UNINDEXED)
    wanted = (
        select(batch.c.settled_at)
        .join(ad_account, ad_account.c.id == batch.c.ad_account)
        .where(
            ad_account.c.ad_account_id == ad_account_id,
            batch.c.status == BatchStatus.SETTLED.value,
            batch.c.settled_at > since,
            ~batch.c.test,
            took_one,
        )
        .order_by(batch.c.settled_at.desc())
    )
    return connection.scalar(wanted.limit(1))
