"""Find deliveries in any state."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, text, union_all

from worker.event.received import Trust
from worker.ledger.delivery.signed_precedence import REPLACED_MARK, shown_event_id, shown_time
from worker.ledger.reports.books import reported_state
from worker.ledger.schema import (
    BatchStatus,
    State,
    ad_account,
    attempt,
    batch,
    credential,
    delivery,
    integration,
)

# As literal text: SQLite matches a partial index by the text of its condition.
_IS_OPEN = text(f"delivery.state = {State.OPEN.value}")
_IS_NOT_OPEN = text(f"delivery.state != {State.OPEN.value}")


@dataclass(frozen=True, slots=True)
class FoundDelivery:
    """Hold one delivery and its state, named as in the books."""

    id: int
    state: str
    ad_account_id: str
    integration_id: str | None
    event_name: str
    source_name: str
    event_id: str
    event_time: int
    accepted_at: float
    ended_at: float | None
    reason_class: str | None
    reason: str | None
    warning: str | None
    # None if the integration was deleted.
    source_id: str | None
    signed: bool = False
    consent: str | None = None
    currency: str | None = None
    value_thousandths: int | None = None
    order_key: bytes | None = None
    # The order id in the sealed payload is read for the rows that are shown.
    payload: bytes | None = None


def find_after(connection: Connection, delivery_id: int, limit: int) -> list[FoundDelivery]:
    """Return the deliveries with higher ids, in order."""
    return _read(connection, _deliveries().where(delivery.c.id > delivery_id).limit(limit))


def find_by_ids(
    connection: Connection, ids: Sequence[int], *, with_payloads: bool = False
) -> list[FoundDelivery]:
    """Return deliveries by id."""
    query = _deliveries().add_columns(delivery.c.payload) if with_payloads else _deliveries()
    return _read(connection, query.where(delivery.c.id.in_(ids)))


@dataclass(frozen=True, slots=True)
class Wanted:
    """Choose deliveries; an empty field chooses all. ``name`` is Pinterest's or the shop's, in lower case."""

    state: str = ""
    name: str = ""
    text: str = ""
    source_id: str = ""


def first_delivery_since(connection: Connection, at: float) -> int:
    """Return the lowest id from which on deliveries were accepted at or after a time.

    Ids ascend with the time of acceptance, so that a few reads by id find it. Some events are mapped minutes late.
    """
    low, high = 1, newest_delivery_id(connection) + 1
    while low < high:
        middle = (low + high) // 2
        next_one = select(delivery.c.id, delivery.c.accepted_at).where(delivery.c.id >= middle)
        row = connection.execute(next_one.order_by(delivery.c.id).limit(1)).one_or_none()
        if row is None or row.accepted_at >= at:
            high = middle
        else:
            low = row.id + 1
    return low


def find_chosen(
    connection: Connection, criteria: Wanted, first_id: int, last_id: int, limit: int, *, newest_first: bool
) -> list[FoundDelivery]:
    """Return the chosen deliveries in a range of ids, with their payloads. It is read to its end if few are chosen."""
    order = delivery.c.id.desc() if newest_first else delivery.c.id
    numbers = (
        select(delivery.c.id)
        .outerjoin(batch, batch.c.id == delivery.c.batch_id)
        .where(delivery.c.id.between(first_id, last_id), *_conditions(criteria))
    )
    ids = list(connection.scalars(numbers.order_by(order).limit(limit)))
    if not ids:
        return []
    with_payloads = _deliveries().add_columns(delivery.c.payload).where(delivery.c.id.in_(ids))
    return _read(connection, with_payloads.order_by(None).order_by(order))


def _conditions(criteria: Wanted) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if criteria.state:
        conditions.append(_has_state(criteria.state))
    if criteria.name:
        names = (func.lower(delivery.c.event_name), func.lower(delivery.c.source_name))
        conditions.append(or_(*(name == criteria.name for name in names)))
    if criteria.text:
        conditions.append(delivery.c.event_id.contains(criteria.text, autoescape=True))
    if criteria.source_id:
        own_ids = select(integration.c.id).where(integration.c.source_id == criteria.source_id)
        conditions.append(delivery.c.integration_id.in_(own_ids))
    return conditions


def _has_state(state: str) -> ColumnElement[bool]:
    """Return the condition of a state as `reported_state` names it."""
    name = state.upper()
    if name in State.__members__ and name != State.OPEN.name:
        return delivery.c.state == State[name].value
    is_open, is_settled = delivery.c.state == State.OPEN.value, batch.c.status == BatchStatus.SETTLED.value
    if state == "pending":
        return and_(is_open, delivery.c.batch_id.is_(None))
    if state == "in_flight":
        return and_(is_open, delivery.c.batch_id.is_not(None), ~is_settled)
    return and_(is_open, is_settled, delivery.c.test if state == "tested" else ~delivery.c.test)


def find_of_event(connection: Connection, event_id: str, limit: int) -> list[FoundDelivery]:
    """Return the deliveries of an event."""
    return _read(connection, _any_of(*_ids_of_event(event_id)).limit(limit))


def find_of_order(
    connection: Connection, event_id: str, order_keys: Sequence[bytes], limit: int
) -> list[FoundDelivery]:
    """Return the deliveries of an event or an order. Each of the two conditions has its index."""
    of_order = select(delivery.c.id).where(delivery.c.order_key.in_(order_keys))
    return _read(connection, _any_of(*_ids_of_event(event_id), of_order).limit(limit))


class _OrderPayload(NamedTuple):
    """The sealed payload of an earlier delivery of an order, with its integration's number and field mapping."""

    order_key: bytes
    integration: int
    field_mapping: str
    payload: bytes
    accepted_at: float


_MOST_PAYLOADS = 1_000


def payloads_of_orders(connection: Connection, order_keys: Collection[bytes]) -> list[_OrderPayload]:
    """Return what was sent, or waits to be sent, of these orders, the oldest first."""
    query = (
        select(
            delivery.c.order_key,
            delivery.c.integration_id,
            integration.c.config,
            delivery.c.payload,
            delivery.c.accepted_at,
        )
        .join(integration, integration.c.id == delivery.c.integration_id)
        .where(delivery.c.order_key.in_(list(order_keys)), delivery.c.payload.is_not(None))
        .order_by(delivery.c.id)
        .limit(_MOST_PAYLOADS)
    )
    return [
        _OrderPayload(key, number, config.get("field_mapping") or "signal", payload, accepted_at)
        for key, number, config, payload, accepted_at in connection.execute(query)
    ]


def find_of_visitor(
    connection: Connection,
    anonymous_keys: Sequence[bytes],
    user_keys: Sequence[bytes],
    limit: int,
    after_id: int = 0,
) -> list[FoundDelivery]:
    """Return the deliveries of a visitor among those with higher ids than ``after_id``.

    Reads deliveries until it has found enough: an index would cost every event, and the query is rare.
    """
    is_theirs = or_(delivery.c.anonymous_key.in_(anonymous_keys), delivery.c.user_key.in_(user_keys))
    return _read(connection, _deliveries().where(is_theirs, delivery.c.id > after_id).limit(limit))


def newest_delivery_id(connection: Connection) -> int:
    """Return the id of the newest delivery, or 0."""
    return connection.scalar(select(func.max(delivery.c.id))) or 0


def has_decision_about_consent(connection: Connection, limit: int) -> bool:
    """Return whether one of the newest deliveries came with a decision about consent."""
    newest = select(delivery.c.consent).order_by(delivery.c.id.desc()).limit(limit).subquery()
    return (
        connection.execute(select(newest).where(newest.c.consent.is_not(None)).limit(1)).first() is not None
    )


def _ids_of_event(event_id: str) -> tuple[Any, Any]:
    """Query both indexes of event ids. Includes public events that lost their id to a signed one."""
    with_id = select(delivery.c.id).where(delivery.c.event_id.in_([event_id, event_id + REPLACED_MARK]))
    return with_id.where(_IS_OPEN), with_id.where(_IS_NOT_OPEN)


def _any_of(*id_queries: Any) -> Any:
    # With OR, PostgreSQL may instead read all deliveries in order until it has found enough.
    return _deliveries().where(delivery.c.id.in_(union_all(*id_queries)))


def _deliveries() -> Any:
    tries = select(attempt.c.reason).where(
        attempt.c.batch_id == batch.c.id, batch.c.status == BatchStatus.READY.value
    )
    last_try = tries.order_by(attempt.c.id.desc()).limit(1).correlate(batch).scalar_subquery()
    credential_id = func.coalesce(batch.c.credential_id, integration.c.credential_id)
    return (
        select(
            delivery.c.id,
            delivery.c.state,
            delivery.c.test,
            batch.c.status,
            ad_account.c.ad_account_id,
            integration.c.public_id,
            delivery.c.event_name,
            delivery.c.source_name,
            delivery.c.event_id,
            delivery.c.event_time,
            delivery.c.accepted_at,
            func.coalesce(delivery.c.ended_at, batch.c.settled_at).label("ended_at"),
            delivery.c.reason_class,
            delivery.c.reason,
            delivery.c.warning,
            integration.c.source_id,
            delivery.c.trust,
            delivery.c.consent,
            delivery.c.currency,
            delivery.c.value_thousandths,
            delivery.c.order_key,
            batch.c.not_before,
            credential.c.paused_at,
            credential.c.paused_class,
            credential.c.paused_reason,
            credential.c.breaker_open_until,
            last_try.label("last_try"),
        )
        .join(ad_account, ad_account.c.id == delivery.c.ad_account)
        .outerjoin(batch, batch.c.id == delivery.c.batch_id)
        .outerjoin(integration, integration.c.id == delivery.c.integration_id)
        .outerjoin(credential, credential.c.id == credential_id)
        .order_by(delivery.c.id)
    )


def _waits_for(row: Any) -> str | None:
    """Say what a delivery that is not sent yet waits for."""
    if row.state != State.OPEN.value or row.status not in (None, BatchStatus.READY.value):
        return None
    if row.paused_at is not None:
        return f"Waits: sending to this ad account is paused. {row.paused_reason or ''}".strip()
    if row.breaker_open_until is not None:
        until = shown_time(row.breaker_open_until)
        return f"Waits: Pinterest did not take the last events of this ad account. The next try is after {until}."
    if row.last_try:
        return f"Waits for its next try at {shown_time(row.not_before)}. The last one: {row.last_try}"
    return None


def _read(connection: Connection, query: Any) -> list[FoundDelivery]:
    return [
        FoundDelivery(
            id=row.id,
            state=reported_state(row.state, row.status, test=row.test),
            ad_account_id=row.ad_account_id,
            integration_id=row.public_id,
            event_name=row.event_name,
            source_name=row.source_name,
            event_id=shown_event_id(row.event_id),
            event_time=row.event_time,
            accepted_at=row.accepted_at,
            ended_at=row.ended_at,
            reason_class=row.reason_class or (row.paused_class if row.state == State.OPEN.value else None),
            reason=row.reason or _waits_for(row),
            warning=row.warning,
            source_id=row.source_id,
            signed=row.trust == Trust.SIGNED,
            consent=row.consent,
            currency=row.currency,
            value_thousandths=row.value_thousandths,
            order_key=row.order_key,
            payload=row._mapping.get("payload"),
        )
        for row in connection.execute(query)
    ]
