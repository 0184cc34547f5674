"""Store the shop's own orders, and compare them with the deliveries."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, case, delete, func, or_, select

from worker.ledger import rows
from worker.ledger.reports import order_days
from worker.ledger.schema import BatchStatus, State, ad_account, batch, delivery, integration, shop_order
from worker.ledger.vault import SECONDS_A_DAY, Vault

_ORDER = b"shop order"
# Pinterest's name of an order, or none yet: an event that failed or was filtered may not have got one.
_ORDER_NAMES = ("checkout", "")
_REFUND = "refund"
_ORDERS_A_STEP = 1_000


class Fate(IntEnum):
    """Say what became of an order in one ad account; the best of its deliveries counts, in this order."""

    DELIVERED = 0
    WAITING = 1
    FAILED = 2
    # Consent was missing.
    FILTERED = 3
    # By a rule, as a duplicate, or by a person.
    NOT_SENT = 4
    NEVER_ARRIVED = 5


@dataclass(frozen=True, slots=True)
class ShopOrder:
    """Hold an order as the shop has it; ``day`` counts since 1970 in the time zone of its source."""

    source_id: str
    order_id: str
    ordered_at: float
    day: int
    currency: str | None = None
    value_thousandths: int | None = None


class OrderSum(NamedTuple):
    """Sum the orders of one day, source, ad account and currency that have one fate.

    ``ad_account_id`` is empty if the source has no enabled integration.
    """

    day: int
    source_id: str
    ad_account_id: str
    currency: str
    fate: Fate
    n: int
    value_thousandths: int


@dataclass(frozen=True, slots=True)
class UndeliveredOrder:
    """Hold an order that an ad account does not have."""

    number: int
    order: ShopOrder
    ad_account_id: str
    fate: Fate
    order_key: bytes


def store_orders(connection: Connection, vault: Vault, orders: Sequence[ShopOrder], now: float) -> int:
    """Store orders; one that is known gets the new time, value and currency. Returns how many were new."""
    orders_by_key = {vault.keyed_hash("order", order.source_id, order.order_id): order for order in orders}
    known_keys: set[bytes] = set()
    for chunk in rows.chunks(list(orders_by_key)):
        query = select(shop_order.c.order_key).where(rows.is_among(connection, shop_order.c.order_key, chunk))
        known_keys.update(connection.scalars(query))
    values = [
        {
            "source_id": order.source_id,
            "order_key": key,
            "sealed_id": vault.seal(order.order_id.encode(), _ORDER),
            "ordered_at": order.ordered_at,
            "day": order.day,
            "currency": order.currency or "",
            "value_thousandths": order.value_thousandths or 0,
            "recorded_at": now,
        }
        for key, order in orders_by_key.items()
    ]
    rows.insert_all(connection, shop_order, values, _replace_known)
    return len(orders_by_key) - len(known_keys)


def _replace_known(new: Any) -> Any:
    names = ("ordered_at", "day", "currency", "value_thousandths", "recorded_at")
    return new.on_conflict_do_update(
        index_elements=["order_key"], set_={name: new.excluded[name] for name in names}
    )


def sum_orders(
    connection: Connection, first_day: int, last_day: int, source_id: str | None = None
) -> list[OrderSum]:
    """Return what became of the orders of some days, the latest day first.

    Exact: days that have changed since upkeep summed them up are read from the orders themselves.
    """
    known_days = order_days.known_days(connection, first_day, last_day)
    lines = [(day, *line) for day, row in known_days.items() for line in row.sums]
    for first, last in order_days.other_days(known_days, first_day, last_day):
        lines += _sum_days(connection, first, last)
    account_rows = connection.execute(select(ad_account.c.id, ad_account.c.ad_account_id))
    accounts = {row.id: row.ad_account_id for row in account_rows}
    sums = [
        OrderSum(day, source, accounts.get(account, ""), currency, Fate(fate), n, value)
        for day, source, account, currency, fate, n, value in lines
        if source_id in (None, source)
    ]
    return sorted(sums, key=lambda order_sum: (-order_sum.day, *order_sum[1:5]))


def _sum_days(connection: Connection, first_day: int, last_day: int) -> list[tuple[Any, ...]]:
    fates = _fates(*_of_days(first_day, last_day, None)).subquery()
    keys = (fates.c.day, fates.c.source_id, fates.c.ad_account, fates.c.currency, fates.c.fate)
    query = select(*keys, func.count(), func.sum(fates.c.value_thousandths)).group_by(*keys)
    return [(*row[:5], int(row[5]), int(row[6])) for row in connection.execute(query)]


def sum_one_day(connection: Connection, day: int) -> tuple[list[list[Any]], dict[str, list[tuple[int, int]]]]:
    """Return a day's sums, and by source the orders with their fates that an ad account does not have."""
    fates = _fates(*_of_days(day, day, None)).subquery()
    query = select(fates.c.source_id, fates.c.id, fates.c.fate).distinct()
    missing: dict[str, list[tuple[int, int]]] = {}
    for source_id, number, fate in connection.execute(
        query.where(fates.c.fate != Fate.DELIVERED.value).order_by(fates.c.id)
    ):
        missing.setdefault(source_id, []).append((number, fate))
    return [list(line[1:]) for line in _sum_days(connection, day, day)], missing


def undelivered_orders(
    connection: Connection,
    vault: Vault,
    days: tuple[int, int],
    fates: Collection[Fate],
    limit: int,
    source_id: str | None = None,
    before: int | None = None,
) -> list[UndeliveredOrder]:
    """Return orders of some days with one of the fates, in each ad account, the last recorded first.

    ``before`` is the number of the last order of the page before.
    """
    known_days = order_days.known_days(connection, *days)
    numbers = {
        number
        for row in known_days.values()
        for source, missing in row.undelivered.items()
        if source_id in (None, source)
        for number, fate in missing
        if fate in fates and (before is None or number < before)
    }
    for first, last in order_days.other_days(known_days, *days):
        numbers.update(_numbers_with_fates(connection, (first, last), fates, limit, source_id, before))
    # An order in several ad accounts is not cut apart.
    page = sorted(numbers, reverse=True)[:limit]
    return [
        order
        for chunk in rows.chunks(page, _ORDERS_A_STEP)
        for order in _with_fates(connection, vault, chunk, fates)
    ]


def _numbers_with_fates(
    connection: Connection,
    days: tuple[int, int],
    fates: Collection[Fate],
    limit: int,
    source_id: str | None,
    before: int | None,
) -> set[int]:
    matches: set[int] = set()
    scope = _of_days(*days, source_id)
    while len(matches) < limit:
        step = select(shop_order.c.id).where(*scope).order_by(shop_order.c.id.desc()).limit(_ORDERS_A_STEP)
        if before is not None:
            step = step.where(shop_order.c.id < before)
        numbers = list(connection.scalars(step))
        if not numbers:
            break
        before = numbers[-1]
        table = _fates(shop_order.c.id.in_(numbers)).subquery()
        matches.update(
            connection.scalars(select(table.c.id).where(table.c.fate.in_([fate.value for fate in fates])))
        )
    return matches


def _with_fates(
    connection: Connection, vault: Vault, numbers: Sequence[int], fates: Collection[Fate]
) -> list[UndeliveredOrder]:
    table = _fates(shop_order.c.id.in_(numbers)).subquery()
    query = (
        select(shop_order, ad_account.c.ad_account_id, table.c.fate)
        .join(table, table.c.id == shop_order.c.id)
        .outerjoin(ad_account, ad_account.c.id == table.c.ad_account)
        .where(table.c.fate.in_([fate.value for fate in fates]))
        .order_by(shop_order.c.id.desc(), ad_account.c.ad_account_id)
    )
    return [
        UndeliveredOrder(
            row.id,
            ShopOrder(
                row.source_id,
                vault.open(row.sealed_id, _ORDER).decode(),
                row.ordered_at,
                row.day,
                row.currency or None,
                row.value_thousandths,
            ),
            row.ad_account_id or "",
            Fate(row.fate),
            row.order_key,
        )
        for row in connection.execute(query)
    ]


def keys_with_deliveries(connection: Connection, keys: Sequence[bytes]) -> set[bytes]:
    """Return which orders have a delivery in any state."""
    known_keys: set[bytes] = set()
    for chunk in rows.chunks(keys):
        has_key = rows.is_among(connection, delivery.c.order_key, chunk)
        known_keys.update(connection.scalars(select(delivery.c.order_key).where(has_key)))
    return known_keys


def count_fates_by_source(connection: Connection, since: float, until: float) -> dict[str, dict[Fate, int]]:
    """Count the orders of each source between two times, in each ad account, by what became of them."""
    fates = _fates(shop_order.c.ordered_at.between(since, until)).subquery()
    counts: dict[str, dict[Fate, int]] = {}
    query = select(fates.c.source_id, fates.c.fate, func.count()).group_by(fates.c.source_id, fates.c.fate)
    for source_id, fate, n in connection.execute(query):
        counts.setdefault(source_id, {})[Fate(fate)] = int(n)
    return counts


def _of_days(first_day: int, last_day: int, source_id: str | None) -> list[ColumnElement[bool]]:
    """Return the conditions of the orders of some days, and of one source."""
    # Days of all time zones are within a day of UTC's. The index is on the time.
    since, until = (first_day - 1) * SECONDS_A_DAY, (last_day + 2) * SECONDS_A_DAY
    conditions: list[ColumnElement[bool]] = [
        shop_order.c.day.between(first_day, last_day),
        shop_order.c.ordered_at.between(since, until),
    ]
    return conditions if source_id is None else [*conditions, shop_order.c.source_id == source_id]


def _fates(*conditions: ColumnElement[bool]) -> Any:
    """Select each order with each ad account of its source, and the best fate of its deliveries there."""
    is_settled = func.coalesce(batch.c.status, -1) == BatchStatus.SETTLED.value
    rank = case(
        ((delivery.c.state == State.OPEN.value) & is_settled, Fate.DELIVERED.value),
        (delivery.c.state == State.OPEN.value, Fate.WAITING.value),
        (delivery.c.state == State.FAILED.value, Fate.FAILED.value),
        (delivery.c.state == State.FILTERED.value, Fate.FILTERED.value),
        else_=Fate.NOT_SENT.value,
    )
    # For each order on its own: grouping all of them would sort them first.
    best = (
        select(func.min(rank))
        .select_from(delivery)
        .outerjoin(batch, batch.c.id == delivery.c.batch_id)
        .where(
            delivery.c.order_key == shop_order.c.order_key,
            delivery.c.ad_account == integration.c.ad_account,
            ~delivery.c.test,
            delivery.c.event_name.in_(_ORDER_NAMES),
            or_(delivery.c.reason_class.is_(None), delivery.c.reason_class != _REFUND),
        )
        .correlate(shop_order, integration)
        .scalar_subquery()
    )
    return (
        select(
            shop_order.c.id,
            shop_order.c.source_id,
            shop_order.c.day,
            shop_order.c.currency,
            shop_order.c.value_thousandths,
            integration.c.ad_account,
            func.coalesce(best, Fate.NEVER_ARRIVED.value).label("fate"),
        )
        .outerjoin(
            integration, and_(integration.c.source_id == shop_order.c.source_id, integration.c.enabled)
        )
        .where(*conditions)
    )


def purge_orders(connection: Connection, before: float, limit: int) -> int:
    """Delete orders that are older than their deliveries are kept. Returns how many."""
    old = select(shop_order.c.id).where(shop_order.c.ordered_at < before)
    ids = list(connection.scalars(old.order_by(shop_order.c.ordered_at).limit(limit)))
    return _delete(connection, shop_order.c.id.in_(ids)) if ids else 0


def erase_orders_of(connection: Connection, delivery_ids: Sequence[int]) -> int:
    """Delete the orders that some deliveries are of. Returns how many."""
    keys = select(delivery.c.order_key).where(
        delivery.c.id.in_(delivery_ids), delivery.c.order_key.is_not(None)
    )
    return _delete(connection, shop_order.c.order_key.in_(keys))


def _delete(connection: Connection, condition: ColumnElement[bool]) -> int:
    days = connection.scalars(delete(shop_order).where(condition).returning(shop_order.c.day)).all()
    if days:
        order_days.forget_days(connection, set(days))
    return len(days)
