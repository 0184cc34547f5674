"""A shop's order is read in the shape in which the shop has it, and recorded once."""

from typing import Any

import pytest

from tests.ledger.shop import NOW, place
from worker.ledger.database import Ledger
from worker.ledger.setup import sources
from worker.ledger.setup.sources import Source
from worker.pipeline.ingest.record_orders import OrderError, read_order, record_orders

AT = "2025-06-15T14:00:00Z"
PLAIN = {"order_id": "1001", "timestamp": AT, "total": 129.99, "currency": "EUR"}
SHOP = Source("src_shop", "Shop", (), NOW, NOW, {"time_zone": "Pacific/Auckland"})


@pytest.mark.parametrize(
    "given",
    [
        PLAIN,
        PLAIN | {"total": "129.99"},
        {
            "type": "track",
            "event": "Order Completed",
            "timestamp": AT,
            "properties": {**PLAIN, "timestamp": "x"},
        },
        # An order of Shopify's webhook, and of WooCommerce's.
        {
            "id": 5_678_901_234_567,
            "name": "#1001",
            "order_number": 1001,
            "processed_at": AT,
            "created_at": "2025-06-15T13:00:00Z",
            "currency": "EUR",
            "total_price": "129.99",
            "order_id": "1001",
        },
        {
            "number": "1001",
            "order_id": 1001,
            "date_created_gmt": "2025-06-15T14:00:00",
            "currency": "EUR",
            "total": "129.99",
        },
    ],
    ids=["plain", "texts", "event", "shopify", "woocommerce"],
)
def test_an_order_is_read_from_each_shape(given: dict[str, Any]) -> None:
    order = read_order(SHOP, given, NOW)
    assert (order.order_id, order.currency, order.value_thousandths) == ("1001", "EUR", 129_990)
    assert order.ordered_at == 1_749_996_000
    # In Auckland the next day has begun.
    assert order.day == 20_255


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"order_id": None}, "order_id must be given."),
        ({"order_id": " "}, "order_id must be given."),
        ({"timestamp": None}, "timestamp must say when the order was placed."),
        ({"timestamp": "yesterday"}, "timestamp must say when the order was placed."),
        ({"timestamp": "2031-01-01T00:00:00Z"}, "timestamp must not be in the future."),
    ],
)
def test_what_cannot_be_an_order_is_named(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(OrderError) as caught:
        read_order(SHOP, PLAIN | changes, NOW)
    assert str(caught.value) == sentence


def test_orders_are_recorded_once_and_wrong_ones_cost_no_other(ledger: Ledger) -> None:
    place(ledger)
    with ledger.read() as connection:
        source = sources.load_source(connection, "src_shop")
    assert source is not None
    given = [
        PLAIN,
        PLAIN | {"order_id": None},
        PLAIN | {"order_id": "1002"},
        PLAIN | {"timestamp": "2025-01-01"},
    ]
    done = record_orders(ledger, source, given, NOW, 30)
    assert (done.new, done.known) == (2, 0)
    assert done.wrong == {
        2: "order_id must be given.",
        4: "timestamp is more than 30 days ago: its deliveries are gone.",
    }
    again = record_orders(ledger, source, [PLAIN, PLAIN], NOW, 30)
    assert (again.new, again.known, again.wrong) == (0, 1, {})
