"""The documented event table and the two documented payloads."""

import json
from typing import Any

import pytest

from tests.pinterest.conftest import EM, EPIK, NOW, PIN_UNAUTH, browser, run
from worker.pinterest.mapping.call import Options
from worker.pinterest.mapping.mapping import Mapped, encode_payload
from worker.pinterest.user_data.visitor import Visitor

ADVERTISING = Options.from_config(
    {"ad_account_id": "1234567890", "access_token": "your_access_token"}, ["advertising"]
)

ORDER = {
    "order_id": "ORD-001",
    "total": 129.99,
    "currency": "USD",
    "products": [
        {"product_id": "SKU-A", "name": "Widget", "price": 49.99, "quantity": 2},
        {"product_id": "SKU-B", "name": "Gadget", "price": 30.01, "quantity": 1},
    ],
}

CHECKOUT = {
    "event_name": "checkout",
    "action_source": "web",
    "event_time": 1706540000,
    "event_id": "evt_abc123def456",
    "event_source_url": "https://example.com/checkout/confirmation",
    "user_data": {
        "client_ip_address": "203.0.113.50",
        "client_user_agent": "Mozilla/5.0 ...",
        "em": [EM],
        "click_id": PIN_UNAUTH,
        "partner_id": EPIK,
    },
    "custom_data": {
        "currency": "USD",
        "value": "129.99",
        "order_id": "ORD-001",
        "num_items": 3,
        "content_ids": ["SKU-A", "SKU-B"],
        "contents": [
            {"id": "SKU-A", "item_price": "49.99", "quantity": 2},
            {"id": "SKU-B", "item_price": "30.01", "quantity": 1},
        ],
    },
}

PAGE_VISIT = {
    "event_name": "page_visit",
    "action_source": "web",
    "event_time": 1706539000,
    "event_id": "evt_789ghi012jkl",
    "event_source_url": "https://example.com/products/widgets",
    "user_data": {
        "client_ip_address": "203.0.113.50",
        "client_user_agent": "Mozilla/5.0 ...",
        "click_id": PIN_UNAUTH,
    },
}


def call(kind: str, name: str | None, properties: dict[str, Any] | None, **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": kind,
        "event": name,
        "properties": properties,
        "timestamp": "2024-01-29T14:53:20.000Z",
        "context": {
            "page": {"url": f"https://example.com/p?epik={EPIK}"},
            "consent": {"advertising": True},
        },
    }
    return {key: value for key, value in (made | fields).items() if value is not None}


def test_the_documented_checkout_is_equal_field_by_field(john: Visitor) -> None:
    event = call(
        "track",
        "Order Completed",
        ORDER,
        messageId="evt_abc123def456",
        context={
            "page": {"url": "https://example.com/checkout/confirmation"},
            "consent": {"advertising": True},
        },
    )
    received = browser(pin_unauth=PIN_UNAUTH, epik=EPIK)
    (outcome,) = run(event, received=received, visitor=john, options=ADVERTISING)
    assert isinstance(outcome, Mapped)
    assert json.loads(encode_payload(outcome.payload)) == CHECKOUT
    assert (outcome.late, outcome.offline, outcome.warnings) == (False, False, ())


def test_the_documented_page_visit_is_equal_field_by_field() -> None:
    event = call(
        "page",
        None,
        None,
        messageId="evt_789ghi012jkl",
        timestamp="2024-01-29T14:36:40.000Z",
        context={"page": {"url": "https://example.com/products/widgets"}, "consent": {"advertising": True}},
    )
    received = browser(pin_unauth=PIN_UNAUTH, received_at=1706539000.5)
    (outcome,) = run(event, received=received, options=ADVERTISING, now=1706539001.0)
    assert isinstance(outcome, Mapped)
    assert json.loads(encode_payload(outcome.payload)) == PAGE_VISIT


WIDGET = {"product_id": "SKU-A", "name": "Widget", "price": 49.99, "currency": "USD"}
ROWS: list[tuple[dict[str, Any], str, dict[str, Any] | None, str | None]] = [
    (call("page", None, None), "page_visit", None, None),
    (
        call("track", "Product Added", {**WIDGET, "quantity": 2}),
        "add_to_cart",
        {
            "currency": "USD",
            "value": "99.98",
            "num_items": 2,
            "content_ids": ["SKU-A"],
            "contents": [{"id": "SKU-A", "item_price": "49.99", "quantity": 2}],
        },
        None,
    ),
    (call("track", "Order Completed", ORDER), "checkout", CHECKOUT["custom_data"], None),  # type: ignore[list-item]
    (call("track", "Product Purchased", ORDER), "checkout", CHECKOUT["custom_data"], None),  # type: ignore[list-item]
    (call("track", "Signed Up", None), "signup", None, None),
    (call("track", "Lead Generated", {"lead_type": "newsletter"}), "lead", None, None),
    (call("track", "Lead Generation", {"lead_type": "newsletter"}), "lead", None, None),
    (call("track", "Products Searched", {"query": "lamp"}), "search", {"search_string": "lamp"}, None),
    (
        call("track", "Product Viewed", WIDGET),
        "view_category",
        {
            "currency": "USD",
            "value": "49.99",
            "num_items": 1,
            "content_ids": ["SKU-A"],
            "contents": [{"id": "SKU-A", "item_price": "49.99", "quantity": 1}],
        },
        None,
    ),
    (call("track", "Newsletter Opened", {"edition": 7}), "custom", None, "Newsletter Opened"),
]


@pytest.mark.parametrize(
    ("event", "event_name", "data", "custom_name"),
    ROWS,
    ids=[str(row[0].get("event", "page")) for row in ROWS],
)
def test_every_row_of_the_event_table_is_sent_as_documented(
    john: Visitor,
    event: dict[str, Any],
    event_name: str,
    data: dict[str, Any] | None,
    custom_name: str | None,
) -> None:
    received = browser(pin_unauth=PIN_UNAUTH)
    (outcome,) = run(
        event | {"messageId": "m-1"}, received=received, visitor=john, options=ADVERTISING, now=NOW
    )
    expected = {
        "event_name": event_name,
        "action_source": "web",
        "event_time": 1706540000,
        "event_id": "m-1",
        "event_source_url": f"https://example.com/p?epik={EPIK}",
        "user_data": CHECKOUT["user_data"],
    }
    if data is not None:
        expected["custom_data"] = data
    assert isinstance(outcome, Mapped)
    assert outcome.payload == expected
    assert outcome.custom_event_name == custom_name
