"""Report how many deliveries wait for each integration and ad account, and since when."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, exists, func, select

from worker.ledger.delivery.pending import KINDS, first_pending, pending_of_each
from worker.ledger.schema import (
    IS_LIVE,
    IS_OPEN_UNINDEXED,
    IS_PENDING,
    BatchStatus,
    ad_account,
    batch,
    credential,
    delivery,
    inbox,
    integration,
)

_PAUSED, _BREAKER = "paused", "breaker"


@dataclass(frozen=True, slots=True)
class WaitingDeliveries:
    """Count waiting deliveries, with the time of the oldest."""

    deliveries: int
    since: float


def pending_by_integration(connection: Connection) -> dict[int, WaitingDeliveries]:
    """Return what waits for a batch, by integration number. Integrations without pending deliveries are left out."""
    # The oldest is the first in the index, which is read without the rows.
    counts = (
        select(delivery.c.integration_id, func.count().label("n"), func.min(delivery.c.id).label("first"))
        .where(IS_PENDING)
        .group_by(delivery.c.integration_id)
        .subquery()
    )
    query = select(counts.c.integration_id, counts.c.n, delivery.c.accepted_at).join(
        delivery, delivery.c.id == counts.c.first
    )
    return {
        row.integration_id: WaitingDeliveries(row.n, row.accepted_at) for row in connection.execute(query)
    }


def pending_by_account(connection: Connection) -> dict[str, WaitingDeliveries]:
    """Return what waits for a batch, by ad account id. Accounts without pending deliveries are left out."""
    query = select(integration.c.id, ad_account.c.ad_account_id).join(
        ad_account, ad_account.c.id == integration.c.ad_account
    )
    account_ids = {row.id: row.ad_account_id for row in connection.execute(query)}
    by_account: dict[str, WaitingDeliveries] = {}
    for number, waiting in pending_by_integration(connection).items():
        if number in account_ids:
            total = by_account.get(account_ids[number], WaitingDeliveries(0, waiting.since))
            by_account[account_ids[number]] = WaitingDeliveries(
                total.deliveries + waiting.deliveries, min(total.since, waiting.since)
            )
    return by_account


def in_flight_by_account(connection: Connection) -> dict[str, WaitingDeliveries]:
    """Return what is in unsettled batches, by ad account id."""
    query = (
        select(
            ad_account.c.ad_account_id,
            func.sum(batch.c.events).label("n"),
            func.min(batch.c.created_at).label("created_at"),
        )
        .join(ad_account, ad_account.c.id == batch.c.ad_account)
        .where(batch.c.status.in_([BatchStatus.READY.value, BatchStatus.SENDING.value]))
        .group_by(ad_account.c.ad_account_id)
    )
    return {
        row.ad_account_id: WaitingDeliveries(int(row.n), row.created_at) for row in connection.execute(query)
    }


def in_flight_by_integration(connection: Connection) -> dict[int, int]:
    """Count the deliveries in unsettled batches, by integration number."""
    # There are few live batches, and an index finds the deliveries of each.
    live = select(batch.c.id).where(IS_LIVE)
    query = (
        select(delivery.c.integration_id, func.count().label("n"))
        .where(delivery.c.batch_id.in_(live), IS_OPEN_UNINDEXED)
        .group_by(delivery.c.integration_id)
    )
    return {row.integration_id: row.n for row in connection.execute(query)}


@dataclass(frozen=True, slots=True)
class AccountState:
    """Hold an ad account's load and limits. Times are in Unix seconds.

    ``pending`` counts up to a limit per integration. ``rate_tokens`` is how many requests may be sent at once.
    ``last_request_at`` is 0 before the first, and later than it after a burst.
    """

    ad_account_id: str
    pending: int
    pending_since: float | None
    in_flight: int
    in_flight_since: float | None
    paused: bool
    breaker_open: bool
    rate_tokens: float
    last_request_at: float = 0.0


def account_statuses(connection: Connection, now: float, most_pending: int) -> list[AccountState]:
    """Return the state of each ad account that an integration uses, in the order of their ids."""
    in_flight, pending = in_flight_by_account(connection), _pending_by_account(connection, most_pending)
    problems_by_account = _problems(connection)
    query = select(ad_account).where(ad_account.c.id.in_(select(integration.c.ad_account)))
    return [
        _account_state(
            row,
            pending.get(row.id),
            in_flight.get(row.ad_account_id),
            problems_by_account.get(row.id, ()),
            now,
        )
        for row in connection.execute(query.order_by(ad_account.c.ad_account_id))
    ]


def oldest_waiting_since(connection: Connection) -> float | None:
    """Return when the oldest event that waits to be ingested was received. Parked events need manual action."""
    query = select(inbox.c.received_at).where(inbox.c.parked_reason.is_(None))
    return connection.scalar(query.order_by(inbox.c.id).limit(1))


def _account_state(
    row: Any,
    pending: WaitingDeliveries | None,
    in_flight: WaitingDeliveries | None,
    problems: Sequence[str],
    now: float,
) -> AccountState:
    spent_tokens = max(0.0, row.arrival_at - now) * row.rate_limit_rps
    return AccountState(
        ad_account_id=row.ad_account_id,
        pending=pending.deliveries if pending else 0,
        pending_since=pending.since if pending else None,
        in_flight=in_flight.deliveries if in_flight else 0,
        in_flight_since=in_flight.since if in_flight else None,
        paused=_PAUSED in problems,
        breaker_open=_BREAKER in problems,
        rate_tokens=max(0.0, row.rate_limit_burst - spent_tokens),
        last_request_at=row.arrival_at,
    )


def _problems(connection: Connection) -> dict[int, list[str]]:
    """Return the problems of each ad account. Credentials that no integration uses do not count."""
    problems: dict[int, list[str]] = defaultdict(list)
    query = select(credential.c.ad_account, credential.c.paused_at, credential.c.breaker_open_until).where(
        credential.c.id.in_(select(integration.c.credential_id))
    )
    for row in connection.execute(query):
        if row.paused_at is not None:
            problems[row.ad_account].append(_PAUSED)
        if row.breaker_open_until is not None:
            problems[row.ad_account].append(_BREAKER)
    return problems


def _pending_by_account(connection: Connection, limit: int) -> dict[int, WaitingDeliveries]:
    by_account: dict[int, WaitingDeliveries] = {}
    for kind in KINDS:
        for account, n, since in connection.execute(_pending_of_kind(limit, *kind)):
            if since is not None:
                total = by_account.get(account, WaitingDeliveries(0, since))
                by_account[account] = WaitingDeliveries(total.deliveries + n, min(total.since, since))
    return by_account


def _pending_of_kind(limit: int, test: bool, offline: bool) -> Select[Any]:
    rows = pending_of_each(delivery.c.accepted_at, test, offline).limit(limit).subquery()
    count = select(func.count()).select_from(rows).scalar_subquery()
    first = first_pending(delivery.c.accepted_at, test, offline)
    return select(integration.c.ad_account, count, first)


def last_delivered_at(connection: Connection, ad_account_id: str, since: float) -> float | None:
    """Return when Pinterest last accepted an event for an ad account, if after ``since``."""
    took_one = exists().where(delivery.c.batch_id == batch.c.id, IS_OPEN_UNINDEXED)
    query = (
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
    return connection.scalar(query.limit(1))
