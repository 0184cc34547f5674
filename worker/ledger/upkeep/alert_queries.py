"""Query the figures of the alert rules, cheaply enough for every 30 seconds."""

from collections import defaultdict
from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Connection, extract, func, select

from worker.ledger.delivery.failure_groups import needs_attention
from worker.ledger.delivery.pending import KINDS, first_pending
from worker.ledger.reports import tallies
from worker.ledger.reports.tallies import SECONDS_PER_HOUR
from worker.ledger.rows import chunks
from worker.ledger.schema import (
    COUNTS_EVENTS,
    IS_LIVE,
    IS_OPEN_UNINDEXED,
    BatchStatus,
    State,
    ad_account,
    batch,
    delivery,
    inbox,
    integration,
    tally,
)

_MOST_PARKED = 10_000


def count_failed_with(connection: Connection, reason_classes: Collection[str], limit: int) -> dict[str, int]:
    """Count, by ad account, these reason classes among the ``limit`` newest failed deliveries that need attention."""
    latest = (
        select(delivery.c.ad_account, delivery.c.reason_class, delivery.c.event_name, delivery.c.ended_at)
        .where(delivery.c.state == State.FAILED.value)
        .order_by(delivery.c.id.desc())
        .limit(limit)
        .subquery()
    )
    query = (
        select(ad_account.c.ad_account_id, func.count())
        .join(latest, latest.c.ad_account == ad_account.c.id)
        .where(latest.c.reason_class.in_(list(reason_classes)), needs_attention(latest.c))
        .group_by(ad_account.c.ad_account_id)
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def delivered_per_hour(connection: Connection, now: float) -> dict[str, int]:
    """Return deliveries per hour by ad account id, averaged over the last one or two hours."""
    hours = 1 + (now % SECONDS_PER_HOUR) / SECONDS_PER_HOUR
    counts = _last_hours(connection, tallies.DELIVERED, now)
    return {account: int(n / hours) for account, n in counts.items()}


def contradicted_by_account(connection: Connection, now: float) -> dict[str, int]:
    """Count, by ad account id, signed events whose ids public ones with other content had used before.

    Counts the last one or two hours.
    """
    return _last_hours(connection, tallies.CONTRADICTED, now)


def _last_hours(connection: Connection, outcome: str, now: float) -> dict[str, int]:
    """Sum an outcome by ad account id over this hour and the one before."""
    hour = int(now // SECONDS_PER_HOUR)
    query = (
        select(ad_account.c.ad_account_id, func.sum(tally.c.n))
        .join(integration, integration.c.ad_account == ad_account.c.id)
        .join(tally, tally.c.integration_id == integration.c.id)
        .where(tally.c.hour >= hour - 1, tally.c.outcome == outcome)
        .group_by(ad_account.c.ad_account_id)
    )
    return {account: int(n) for account, n in connection.execute(query)}


def oldest_event_times(connection: Connection) -> dict[str, float]:
    """Return, by ad account id, when the oldest waiting event happened.

    Looks at the first pending event of each kind and at the oldest unsettled batch.
    """
    times_by_account: dict[int, list[float]] = defaultdict(list)
    for kind in KINDS:
        first = select(integration.c.ad_account, first_pending(delivery.c.event_time, *kind))
        for account, event_time in connection.execute(first):
            if event_time is not None:
                times_by_account[account].append(float(event_time))
    # In two steps: in one, PostgreSQL may scan the deliveries of all batches.
    query = select(func.min(batch.c.id)).where(IS_LIVE).group_by(batch.c.ad_account)
    for chunk in chunks(connection.scalars(query).all()):
        in_flight = (
            select(delivery.c.ad_account, func.min(delivery.c.event_time))
            .where(delivery.c.batch_id.in_(chunk), IS_OPEN_UNINDEXED)
            .group_by(delivery.c.ad_account)
        )
        for row in connection.execute(in_flight):
            times_by_account[row[0]].append(float(row[1]))
    names = {row.id: row.ad_account_id for row in connection.execute(select(ad_account))}
    return {names[account]: min(times) for account, times in times_by_account.items()}


def due_since(connection: Connection) -> dict[str, float]:
    """Return, by ad account id, since when the batch that may be sent has waited for a worker the longest."""
    query = (
        select(ad_account.c.ad_account_id, func.min(batch.c.not_before))
        .join(batch, batch.c.ad_account == ad_account.c.id)
        .where(IS_LIVE, batch.c.status == BatchStatus.READY.value)
        .group_by(ad_account.c.ad_account_id)
    )
    return {account: float(since) for account, since in connection.execute(query)}


def inbox_span(connection: Connection) -> int:
    """Return an upper bound of the events in the inbox, without counting them."""
    # In two queries: SQLite would scan all ids for both in one.
    first = connection.scalar(select(func.min(inbox.c.id)))
    last = connection.scalar(select(func.max(inbox.c.id)))
    return last - first + 1 if first is not None and last is not None else 0


def count_parked(connection: Connection) -> int:
    """Count parked events among the oldest rows; other events leave the inbox before them."""
    oldest = select(inbox.c.parked_reason).order_by(inbox.c.id).limit(_MOST_PARKED).subquery()
    query = select(func.count()).select_from(oldest).where(oldest.c.parked_reason.is_not(None))
    return connection.scalar(query) or 0


def created_by_hour(connection: Connection, since_hour: int) -> list[tuple[str, str, int, int]]:
    """Return (integration, event name, hour, created deliveries) from an hour on, of enabled integrations."""
    query = (
        select(integration.c.public_id, tally.c.event_name, tally.c.hour, func.sum(tally.c.n))
        .join(integration, integration.c.id == tally.c.integration_id)
        .where(
            tally.c.hour >= since_hour,
            tally.c.outcome == tallies.CREATED,
            tally.c.event_name != "",
            integration.c.enabled,
        )
        .group_by(integration.c.public_id, tally.c.event_name, tally.c.hour)
    )
    return [(id_, name, hour, int(n)) for id_, name, hour, n in connection.execute(query)]


class EndedCount(NamedTuple):
    """Count the deliveries of one event name that ended in an hour with an outcome of the tallies."""

    source_id: str
    event_name: str
    hour: int
    outcome: str
    n: int


class FailureKind(NamedTuple):
    """Name a kind of failure of a source's events."""

    source_id: str
    event_name: str
    reason_class: str


def ended_by_name(connection: Connection, since_hour: int) -> list[EndedCount]:
    """Count delivered, failed and filtered deliveries from an hour on."""
    keys = (tally.c.source_id, tally.c.event_name, tally.c.hour, tally.c.outcome)
    outcomes = (tallies.DELIVERED, tallies.FAILED, tallies.FILTERED)
    query = select(*keys, func.sum(tally.c.n)).where(
        tally.c.hour >= since_hour, tally.c.outcome.in_(outcomes), tally.c.integration_id != 0
    )
    return [EndedCount(*row[:4], int(row[4])) for row in connection.execute(query.group_by(*keys))]


def last_accepted_hours(connection: Connection, since_hour: int) -> dict[str, int]:
    """Return the last hour since 1970 in which each source sent an event, from an hour on."""
    query = select(tally.c.source_id, func.max(tally.c.hour)).where(
        COUNTS_EVENTS, tally.c.hour >= since_hour, tally.c.outcome == tallies.ACCEPTED
    )
    return {row[0]: row[1] for row in connection.execute(query.group_by(tally.c.source_id))}


def failure_kinds(connection: Connection, limit: int) -> dict[FailureKind, float]:
    """Return the kinds of the ``limit`` newest failures that need attention, with the time of the first."""
    columns = (
        delivery.c.integration_id,
        delivery.c.event_name,
        delivery.c.reason_class,
        delivery.c.accepted_at,
        delivery.c.ad_account,
        delivery.c.ended_at,
    )
    latest = (
        select(*columns)
        .where(delivery.c.state == State.FAILED.value)
        .order_by(delivery.c.id.desc())
        .limit(limit)
        .subquery()
    )
    keys = (integration.c.source_id, latest.c.event_name, latest.c.reason_class)
    query = (
        select(*keys, func.min(latest.c.accepted_at))
        .join(integration, integration.c.id == latest.c.integration_id)
        .where(needs_attention(latest.c))
        .group_by(*keys)
    )
    return {
        FailureKind(source_id, name, kind or ""): float(at)
        for source_id, name, kind, at in connection.execute(query)
    }


def server_time(connection: Connection) -> float | None:
    """Return the database server's time in Unix seconds, or None on SQLite."""
    if connection.dialect.name == "sqlite":
        return None
    return float(connection.scalar(select(extract("epoch", func.clock_timestamp()))) or 0.0)
