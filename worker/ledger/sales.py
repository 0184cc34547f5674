"""Sum up what was delivered on each day, by event name and currency, to be compared with the shop's books."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from worker.ledger import rows
from worker.ledger.schema import integration, sale

# No currency has more than three decimals.
THOUSANDTHS = 1_000
# An event above that is counted without its value: one mistake must not drown a year's sums, or overflow them.
MOST_THOUSANDTHS = 10**13
# Rows with more are not folded any further, so that no sum outgrows 63 bits.
_MOST_FOLDED = 10 * MOST_THOUSANDTHS
_HALF = 10**6


@dataclass(frozen=True, slots=True)
class Sale:
    """Hold what one delivery adds to the books: days since 1970 where its source is, and its value."""

    day: int | None = None
    currency: str | None = None
    value_thousandths: int | None = None


class Line(NamedTuple):
    """Hold what was delivered of one name, on one day, in one currency; empty where events name none."""

    day: int
    event_name: str
    currency: str
    n: int
    value: Decimal


def append(connection: Connection, sold: Iterable[tuple[int, str, Sale]]) -> None:
    """Add deliveries, each with its integration's number and Pinterest's event name."""
    n: Counter[tuple[int, int, str, str]] = Counter()
    value: Counter[tuple[int, int, str, str]] = Counter()
    for integration_id, event_name, one in sold:
        if one.day is not None:
            key = (one.day, integration_id, event_name, one.currency or "")
            n[key] += 1
            value[key] += one.value_thousandths or 0
    names = ("day", "integration_id", "event_name", "currency")
    new = [dict(zip(names, key, strict=True)) | {"n": n[key], "value_thousandths": value[key]} for key in n]
    rows.insert_all(connection, sale, new)


def read(connection: Connection, since_day: int, source_id: str | None = None) -> list[Line]:
    """Return the books since a day, the latest day first."""
    keys = (sale.c.day, sale.c.event_name, sale.c.currency)
    # In two halves: SQLite refuses a sum that outgrows 63 bits.
    high, low = func.sum(sale.c.value_thousandths // _HALF), func.sum(sale.c.value_thousandths % _HALF)
    wanted = (
        select(*keys, func.sum(sale.c.n), high, low)
        .where(sale.c.day >= since_day)
        .group_by(*keys)
        .order_by(sale.c.day.desc(), sale.c.event_name, sale.c.currency)
    )
    if source_id is not None:
        mine = select(integration.c.id).where(integration.c.source_id == source_id)
        wanted = wanted.where(sale.c.integration_id.in_(mine))
    return [
        Line(day, name, currency, int(n), Decimal(int(high) * _HALF + int(low)) / THOUSANDTHS)
        for day, name, currency, n, high, low in connection.execute(wanted)
    ]


def fold(connection: Connection, most_groups: int) -> int:
    """Replace rows of the same kind by their sum, unless that grows too large; return how many rows that saved."""
    keys = (sale.c.day, sale.c.integration_id, sale.c.event_name, sale.c.currency)
    small = sale.c.value_thousandths < _MOST_FOLDED
    return rows.fold(connection, sale, keys, (sale.c.n, sale.c.value_thousandths), small, most_groups)
