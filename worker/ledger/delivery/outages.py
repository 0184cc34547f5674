"""Query what the retry after an outage needs: earlier attempts, and whether sending works again."""

from collections import defaultdict
from collections.abc import Iterable

from sqlalchemy import CTE, Connection, exists, or_, select

from worker.ledger.schema import IS_OPEN_UNINDEXED, BatchStatus, ad_account, attempt, batch, delivery


def attempt_reason_classes(connection: Connection, batch_ids: Iterable[int]) -> dict[int, set[str]]:
    """Return the reason classes of all attempts of batches and of the batches that they were split from."""
    line = _line(batch_ids)
    wanted = select(line.c.whose, attempt.c.reason_class).join(line, attempt.c.batch_id == line.c.id)
    found: dict[int, set[str]] = defaultdict(set)
    for whose, reason_class in connection.execute(wanted.distinct()):
        found[whose].add(reason_class)
    return dict(found)


def has_attempt_with(
    connection: Connection, batch_id: int, reason_classes: Iterable[str], statuses: Iterable[int]
) -> bool:
    """Return whether an attempt of a batch, or of one that it was split from, has one of these outcomes."""
    line = _line([batch_id])
    so = or_(attempt.c.reason_class.in_(list(reason_classes)), attempt.c.http_status.in_(list(statuses)))
    found = select(attempt.c.id).join(line, attempt.c.batch_id == line.c.id).where(so)
    return connection.execute(found.limit(1)).first() is not None


def _line(batch_ids: Iterable[int]) -> CTE:
    """Select batches and all batches that they were split from."""
    first = select(batch.c.id.label("whose"), batch.c.id, batch.c.parent_id)
    line = first.where(batch.c.id.in_(list(batch_ids))).cte("line", recursive=True)
    parents = select(line.c.whose, batch.c.id, batch.c.parent_id).join(line, batch.c.id == line.c.parent_id)
    return line.union_all(parents)


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
