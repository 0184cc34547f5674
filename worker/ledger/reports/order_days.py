"""Keep what became of the orders of each day, and know which days have changed since.

Nothing that delivers events writes here. Which days have changed is found by the times of what changes a fate: every
delivery of an order is pending, or in a live batch, or its batch was settled or it ended at a time, and an order was
recorded at a time. So a kept day is exact, and the other days are few.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, insert, select, text, true, update

from worker.ledger.rows import chunks, is_among
from worker.ledger.schema import (
    IS_LIVE,
    State,
    batch,
    delivery,
    integration,
    order_day,
    shop_order,
    watermark,
)
from worker.ledger.upkeep.watermarks import read_watermark, set_watermark
from worker.ledger.vault import SECONDS_A_DAY

_NAME = "order days"
# Longer than a transaction may take from reading the clock to its commit.
_MARGIN_SECONDS = 300.0
# As literal text: SQLite matches a partial index by the text of its condition.
_IS_PENDING = text(f"delivery.state = {State.OPEN.value} AND delivery.batch_id IS NULL")


class KnownDay(NamedTuple):
    """Hold the sums of a day and its orders that an ad account does not have, as `order_day` has them."""

    sums: Sequence[Sequence[Any]]
    undelivered: Mapping[str, Sequence[tuple[int, int]]]


def known_days(connection: Connection, first_day: int, last_day: int) -> dict[int, KnownDay]:
    """Return the days of a range that have not changed since they were summed up."""
    query = select(order_day).where(
        order_day.c.day.between(first_day, last_day), order_day.c.integrations == _integrations(connection)
    )
    days_by_number = {row.day: KnownDay(row.sums, row.undelivered) for row in connection.execute(query)}
    if days_by_number:
        for day in _changed_days(connection, read_watermark(connection, _NAME)[1]):
            days_by_number.pop(day, None)
    return days_by_number


def other_days(kept_days: Iterable[int], first_day: int, last_day: int) -> list[tuple[int, int]]:
    """Return the days of a range that are not known, as ranges."""
    ranges: list[tuple[int, int]] = []
    for day in sorted(set(range(first_day, last_day + 1)).difference(kept_days)):
        if ranges and ranges[-1][1] == day - 1:
            ranges[-1] = (ranges[-1][0], day)
        else:
            ranges.append((day, day))
    return ranges


def drop_changed_days(connection: Connection, first_day: int, last_day: int, now: float) -> list[int]:
    """Delete the days that have changed, and watch from now on. Returns the days that can be summed up now."""
    position, watched_since = read_watermark(connection, _NAME)
    kept_days = set(connection.scalars(select(order_day.c.day)))
    changed_days = _changed_days(connection, watched_since) if kept_days else set()
    is_stale = order_day.c.day.in_(changed_days) | (order_day.c.integrations != _integrations(connection))
    statement = delete(order_day).where(is_stale | (order_day.c.day < first_day)).returning(order_day.c.day)
    kept_days -= set(connection.scalars(statement))
    set_watermark(connection, _NAME, position, now)
    # The index is on the time, which is within a day of the day in any time zone.
    since = (first_day - 1) * SECONDS_A_DAY
    days = set(
        connection.scalars(select(shop_order.c.day).where(shop_order.c.ordered_at >= since).distinct())
    )
    days -= kept_days | _changed_days(connection, now)
    return sorted(day for day in days if first_day <= day <= last_day)


def version(connection: Connection) -> tuple[int, str]:
    """Return what must be the same when a day is kept as when it was summed up."""
    return read_watermark(connection, _NAME)[0], _integrations(connection)


def keep_day(connection: Connection, day: int, day_sums: KnownDay, seen: tuple[int, str]) -> bool:
    """Keep a day's sums unless orders were deleted since they were read."""
    # Locks the row, so that no process deletes orders before the commit.
    statement = update(watermark).where(watermark.c.name == _NAME, watermark.c.position == seen[0])
    if connection.execute(statement.values(position=seen[0])).rowcount == 0:
        return False
    connection.execute(delete(order_day).where(order_day.c.day == day))
    values = {"day": day, "integrations": seen[1], "sums": day_sums.sums, "undelivered": day_sums.undelivered}
    connection.execute(insert(order_day).values(values))
    return True


def forget_days(connection: Connection, days: set[int]) -> None:
    """Forget days whose orders were deleted."""
    connection.execute(
        update(watermark).where(watermark.c.name == _NAME).values(position=watermark.c.position + 1)
    )
    connection.execute(delete(order_day).where(order_day.c.day.in_(days)))


def _changed_days(connection: Connection, watched_since: float) -> set[int]:
    """Return the days of which an order, or a delivery of one, may have changed since a time."""
    since = watched_since - _MARGIN_SECONDS
    # In steps: in one statement, a database may begin with all orders.
    batches = select(batch.c.id)
    ids = list(connection.scalars(batches.where(batch.c.settled_at > since)))
    ids += connection.scalars(batches.where(IS_LIVE))
    keys = select(delivery.c.order_key)
    changed_keys = set(connection.scalars(keys.where(_IS_PENDING)))
    has_ended = (delivery.c.ended_at.is_not(None), delivery.c.ended_at > since)
    changed_keys.update(connection.scalars(keys.where(*has_ended)))
    for chunk in chunks(ids):
        changed_keys.update(connection.scalars(keys.where(is_among(connection, delivery.c.batch_id, chunk))))
    # A condition on them would make SQLite read the index of all orders.
    changed_keys.discard(None)
    days = set(
        connection.scalars(select(shop_order.c.day).where(shop_order.c.recorded_at > since).distinct())
    )
    for some_keys in chunks(sorted(changed_keys)):
        has_key = is_among(connection, shop_order.c.order_key, some_keys)
        days.update(connection.scalars(select(shop_order.c.day).where(has_key).distinct()))
    return days


def _integrations(connection: Connection) -> str:
    query = select(integration.c.source_id, integration.c.ad_account).where(integration.c.enabled == true())
    pairs = connection.execute(query.order_by(integration.c.source_id, integration.c.ad_account)).all()
    return sha256(repr([tuple(pair) for pair in pairs]).encode()).hexdigest()
