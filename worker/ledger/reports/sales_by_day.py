"""Count delivered events and sum their values by day, for the sales report."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import Connection, func, select, text

from worker.ledger import rows
from worker.ledger.schema import ad_account, integration, sale

# No currency has more than three decimals.
THOUSANDTHS = 1_000
# A larger value is not added: one mistake must not distort a year's sums, or overflow them.
MAX_THOUSANDTHS = 10**13
_HALF = 10**6


@dataclass(frozen=True, slots=True)
class Sale:
    """Hold a delivery's share of the sales report: days since 1970 in its source's time zone, and the value."""

    day: int | None = None
    currency: str | None = None
    value_thousandths: int | None = None


class SalesLine(NamedTuple):
    """Sum the deliveries of one event name, day and currency to one ad account, in which an order counts once.

    ``currency`` may be empty, and so is ``ad_account_id`` where the integration was deleted.
    """

    day: int
    event_name: str
    currency: str
    n: int
    value: Decimal
    ad_account_id: str = ""


# The name of refunds in the sales report.
REFUND = "refund"


def append_sales(connection: Connection, sales: Iterable[tuple[int, str, Sale]]) -> None:
    """Add deliveries, each with its integration's number and Pinterest's event name."""
    n: Counter[tuple[int, int, str, str]] = Counter()
    value: Counter[tuple[int, int, str, str]] = Counter()
    for integration_id, event_name, item in sales:
        if item.day is not None:
            key = (item.day, integration_id, event_name, item.currency or "")
            n[key] += 1
            value[key] += item.value_thousandths or 0
    names = ("day", "integration_id", "event_name", "currency")
    new = [dict(zip(names, key, strict=True)) | {"n": n[key], "value_thousandths": value[key]} for key in n]
    rows.insert_all(connection, sale, new)


def sales_since(connection: Connection, since_day: int, source_id: str | None = None) -> list[SalesLine]:
    """Return the sales report since a day, the latest day first."""
    account = func.coalesce(ad_account.c.ad_account_id, "").label("account")
    keys = (sale.c.day, sale.c.event_name, sale.c.currency, account)
    # In two halves: SQLite refuses a sum that exceeds 63 bits.
    high, low = func.sum(sale.c.value_thousandths // _HALF), func.sum(sale.c.value_thousandths % _HALF)
    query = (
        select(*keys, func.sum(sale.c.n), high, low)
        .outerjoin(integration, integration.c.id == sale.c.integration_id)
        .outerjoin(ad_account, ad_account.c.id == integration.c.ad_account)
        .where(sale.c.day >= since_day)
        .group_by(sale.c.day, sale.c.event_name, sale.c.currency, text("account"))
        .order_by(sale.c.day.desc(), sale.c.event_name, sale.c.currency, text("account"))
    )
    if source_id is not None:
        query = query.where(integration.c.source_id == source_id)
    return [
        SalesLine(day, name, currency, int(n), Decimal(int(high) * _HALF + int(low)) / THOUSANDTHS, account)
        for day, name, currency, account, n, high, low in connection.execute(query)
    ]


def has_sold(connection: Connection) -> bool:
    """Return whether an order was ever delivered."""
    return (
        connection.execute(select(sale.c.id).where(sale.c.event_name == "checkout").limit(1)).first()
        is not None
    )
