"""Read the shop's own orders and record them: the truth that the deliveries are compared with."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from worker.event.received import Received
from worker.event.times import parse_time
from worker.ledger.database import Ledger
from worker.ledger.reports import shop_orders
from worker.ledger.reports.shop_orders import ShopOrder
from worker.ledger.setup.sources import Source
from worker.ledger.vault import SECONDS_A_DAY
from worker.pinterest.custom_data.custom_data import build_custom_data, read_order_id
from worker.pinterest.event_names.event_names import EventKind
from worker.pinterest.mapping.call import Notes, Options, read_call
from worker.pipeline.ingest.outcomes import day_of, thousandths_of

# The names of an order's time in exports and webhooks, the most precise first.
_TIME_KEYS = ("timestamp", "processed_at", "date_created_gmt", "created_at", "ordered_at", "time", "date")
_CHECKOUT = EventKind("checkout")
_MOST_AHEAD_SECONDS = SECONDS_A_DAY


class OrderError(Exception):
    """An order cannot be recorded; the message names the field."""


@dataclass(slots=True)
class _RecordedOrders:
    """Count what was recorded. ``wrong`` has a sentence for each order that was not, by its place from 1."""

    new: int = 0
    known: int = 0
    wrong: dict[int, str] = field(default_factory=dict)


def record_orders(
    ledger: Ledger, source: Source, lines: Iterable[Mapping[str, Any]], now: float, retention_days: float
) -> _RecordedOrders:
    """Record orders as the shop has them. Safe to repeat: an order counts once, and its newest value counts.

    Each is an event as the collector takes it, or an order alone, as the shop's export or webhook has it. Nothing of
    its customer is kept. An order that is older than the deliveries are kept is wrong, because it would be missed.
    """
    result, orders = _RecordedOrders(), dict[str, ShopOrder]()
    for place, line in enumerate(lines, 1):
        try:
            order = read_order(source, line, now)
            if order.ordered_at < now - retention_days * SECONDS_A_DAY:
                raise OrderError(
                    f"timestamp is more than {retention_days:g} days ago: its deliveries are gone."
                )
        except OrderError as error:
            result.wrong[place] = str(error)
        else:
            orders[order.order_id] = order
    ledger.vault.prepare()
    with ledger.write() as connection:
        result.new = shop_orders.store_orders(connection, ledger.vault, list(orders.values()), now)
    result.known = len(orders) - result.new
    return result


def read_order(source: Source, line: Mapping[str, Any], now: float) -> ShopOrder:
    """Read an order out of an event, or out of its own fields.

    Raises:
        OrderError: it has no order id, or no time that can be true.
    """
    event = line if isinstance(line.get("properties"), Mapping) else {"properties": line}
    at = next((event[key] for key in _TIME_KEYS if event.get(key)), None)
    if at is None:
        at = next((event["properties"][key] for key in _TIME_KEYS if event["properties"].get(key)), None)
    ordered_at = parse_time(at)
    if ordered_at is None:
        raise OrderError("timestamp must say when the order was placed.")
    if not 0 <= ordered_at <= now + _MOST_AHEAD_SECONDS:
        raise OrderError("timestamp must not be in the future.")
    full_event = {"type": "track", "event": "Order Completed", **event, "messageId": "order"}
    options = Options()
    properties = read_call(full_event, Received("server", now), options).properties
    data = build_custom_data(properties, _CHECKOUT, options, Notes())
    order_id = data.get("order_id") or read_order_id(properties)
    if not order_id:
        raise OrderError("order_id must be given.")
    zone = ZoneInfo(source.options.get("time_zone") or "UTC")
    day = day_of(datetime.fromtimestamp(ordered_at, zone))
    return ShopOrder(
        source.id, order_id, ordered_at, day, data.get("currency"), thousandths_of(data.get("value"))
    )
