"""Tell how much waits, for each integration and each ad account, and for how long."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, ScalarSelect, Select, and_, func, select

from worker.ledger.schema import (
    IS_LIVE,
    IS_OPEN_UNINDEXED,
    IS_PENDING,
    PENDING_ORDER,
    BatchStatus,
    ad_account,
    batch,
    credential,
    delivery,
    inbox,
    integration,
)

# What may share a batch is of one kind: a test or not, offline or not.
Kind = tuple[bool, bool]
KINDS: tuple[Kind, ...] = ((False, False), (False, True), (True, False), (True, True))


def is_pending_of(integration_number: Any, test: bool, offline: bool) -> ColumnElement[bool]:
    """Name what waits, of one kind: in exactly the columns of its index, so that nothing but that is read."""
    return and_(
        delivery.c.integration_id == integration_number,
        delivery.c.test == test,
        delivery.c.offline == offline,
        IS_PENDING,
    )


def pending_of_each(column: ColumnElement[Any], test: bool, offline: bool) -> Select[Any]:
    """Select a column of what waits for the integration that the statement around this one is at, in order."""
    waiting = select(column).where(is_pending_of(integration.c.id, test, offline)).correlate(integration)
    return waiting.order_by(PENDING_ORDER)


def first_pending(column: ColumnElement[Any], test: bool, offline: bool) -> ScalarSelect[Any]:
    """Return a column of the first that waits for that integration, NULL where none does."""
    return pending_of_each(column, test, offline).limit(1).scalar_subquery()


_PAUSED, _BREAKER = "paused", "breaker"


@dataclass(frozen=True, slots=True)
class WaitingDeliveries:
    """Hold how many deliveries wait, and since when the oldest of them does."""

    deliveries: int
    since: float


def pending_by_integration(connection: Connection) -> dict[int, WaitingDeliveries]:
    """Return what waits for a batch, by the integration's number; one without anything is left out."""
    # The oldest is the one that was written first, which the index gives without reading the rows.
    counted = (
        select(delivery.c.integration_id, func.count().label("n"), func.min(delivery.c.id).label("first"))
        .where(IS_PENDING)
        .group_by(delivery.c.integration_id)
        .subquery()
    )
    wanted = select(counted.c.integration_id, counted.c.n, delivery.c.accepted_at).join(
        delivery, delivery.c.id == counted.c.first
    )
    return {
        row.integration_id: WaitingDeliveries(row.n, row.accepted_at) for row in connection.execute(wanted)
    }


def pending_by_account(connection: Connection) -> dict[str, WaitingDeliveries]:
    """Return what waits for a batch, by the ad account's id; one without anything is left out."""
    wanted = select(integration.c.id, ad_account.c.ad_account_id).join(
        ad_account, ad_account.c.id == integration.c.ad_account
    )
    account_ids = {row.id: row.ad_account_id for row in connection.execute(wanted)}
    found: dict[str, WaitingDeliveries] = {}
    for number, waiting in pending_by_integration(connection).items():
        if number in account_ids:
            so_far = found.get(account_ids[number], WaitingDeliveries(0, waiting.since))
            found[account_ids[number]] = WaitingDeliveries(
                so_far.deliveries + waiting.deliveries, min(so_far.since, waiting.since)
            )
    return found


def in_flight_by_account(connection: Connection) -> dict[str, WaitingDeliveries]:
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
    return {
        row.ad_account_id: WaitingDeliveries(int(row.n), row.created_at) for row in connection.execute(wanted)
    }


def in_flight_by_integration(connection: Connection) -> dict[int, int]:
    """Return how many deliveries stand in batches that are not settled, by the integration's number."""
    # The live batches are few, and each one's deliveries are found by its number.
    live = select(batch.c.id).where(IS_LIVE)
    counted = (
        select(delivery.c.integration_id, func.count().label("n"))
        .where(delivery.c.batch_id.in_(live), IS_OPEN_UNINDEXED)
        .group_by(delivery.c.integration_id)
    )
    return {row.integration_id: row.n for row in connection.execute(counted)}


@dataclass(frozen=True, slots=True)
class AccountState:
    """Hold what one ad account has to do and may do; times are in Unix seconds.

    ``pending`` counts up to a bound for each integration. ``rate_tokens`` is how many requests may go at once.
    """

    ad_account_id: str
    pending: int
    pending_since: float | None
    in_flight: int
    in_flight_since: float | None
    paused: bool
    breaker_open: bool
    rate_tokens: float


def account_statuses(connection: Connection, now: float, most_pending: int) -> list[AccountState]:
    """Return where each ad account that an integration uses stands, in the order of their ids."""
    flying, waiting = in_flight_by_account(connection), _pending_by_account(connection, most_pending)
    troubled = _troubled(connection)
    wanted = select(ad_account).where(ad_account.c.id.in_(select(integration.c.ad_account)))
    return [
        _standing(row, waiting.get(row.id), flying.get(row.ad_account_id), troubled.get(row.id, ()), now)
        for row in connection.execute(wanted.order_by(ad_account.c.ad_account_id))
    ]


def oldest_waiting_since(connection: Connection) -> float | None:
    """Return when the oldest event that waits to be ingested came in; one that was parked waits for a hand."""
    waiting = select(inbox.c.received_at).where(inbox.c.parked_reason.is_(None))
    return connection.scalar(waiting.order_by(inbox.c.id).limit(1))


def _standing(
    row: Any,
    pending: WaitingDeliveries | None,
    flying: WaitingDeliveries | None,
    troubles: Sequence[str],
    now: float,
) -> AccountState:
    spent = max(0.0, row.arrival_at - now) * row.rate_limit_rps
    return AccountState(
        ad_account_id=row.ad_account_id,
        pending=pending.deliveries if pending else 0,
        pending_since=pending.since if pending else None,
        in_flight=flying.deliveries if flying else 0,
        in_flight_since=flying.since if flying else None,
        paused=_PAUSED in troubles,
        breaker_open=_BREAKER in troubles,
        rate_tokens=max(0.0, row.rate_limit_burst - spent),
    )


def _troubled(connection: Connection) -> dict[int, list[str]]:
    """Return what troubles ad accounts; a credential that no integration uses any more troubles nobody."""
    found: dict[int, list[str]] = defaultdict(list)
    used = select(credential.c.ad_account, credential.c.paused_at, credential.c.breaker_open_until).where(
        credential.c.id.in_(select(integration.c.credential_id))
    )
    for row in connection.execute(used):
        if row.paused_at is not None:
            found[row.ad_account].append(_PAUSED)
        if row.breaker_open_until is not None:
            found[row.ad_account].append(_BREAKER)
    return found


def _pending_by_account(connection: Connection, most: int) -> dict[int, WaitingDeliveries]:
    found: dict[int, WaitingDeliveries] = {}
    for kind in KINDS:
        for account, n, since in connection.execute(_pending_of_kind(most, *kind)):
            if since is not None:
                so_far = found.get(account, WaitingDeliveries(0, since))
                found[account] = WaitingDeliveries(so_far.deliveries + n, min(so_far.since, since))
    return found


def _pending_of_kind(most: int, test: bool, offline: bool) -> Select[Any]:
    some = pending_of_each(delivery.c.accepted_at, test, offline).limit(most).subquery()
    counted = select(func.count()).select_from(some).scalar_subquery()
    first = first_pending(delivery.c.accepted_at, test, offline)
    return select(integration.c.ad_account, counted, first)
