"""An event that is too large is cut down to what is sent; its value and count are those of the whole order."""

from typing import Any

import pytest

from tests.pinterest.conftest import run, track
from worker.event import json_text
from worker.event.problems import Problem
from worker.pinterest.business_id import order_ids
from worker.pinterest.custom_data.trimming import trim_event
from worker.pinterest.mapping.mapping import Mapped

MOST = 64 * 1024
HTML = "<p>A very good thing.</p>" * 40


def lines(n: int, **parts: Any) -> list[dict[str, Any]]:
    return [
        {"product_id": f"SKU-{i}", "price": 2.5, "quantity": 2, "description": HTML} | parts for i in range(n)
    ]


def trimmed(properties: dict[str, Any], name: str = "Order Completed") -> dict[str, Any]:
    event = trim_event(track(name, properties), MOST)
    assert len(json_text.format_json(event)) <= MOST
    return event


@pytest.mark.parametrize("key", ["products", "items", "line_items", "contents", "cartItems"])
@pytest.mark.parametrize("n", [300, 501, 5_000])
def test_a_large_order_becomes_one_checkout_with_the_value_and_count_of_the_whole(key: str, n: int) -> None:
    event = trimmed({"order_id": "O-1", "currency": "EUR", key: lines(n)})
    (outcome,) = run(event)
    assert isinstance(outcome, Mapped)
    data = outcome.payload["custom_data"]
    assert (float(data["value"]), data["num_items"], data["currency"]) == (5.0 * n, 2 * n, "EUR")
    assert len(data["contents"]) == min(n, 500)
    assert outcome.problems == ((Problem.LIST_CUT,) if n > 500 else ())


def test_a_stated_value_and_count_are_kept() -> None:
    event = trimmed({"total": 99, "num_items": 7, "currency": "EUR", "products": lines(5_000)})
    data = run(event)[0].payload["custom_data"]  # type: ignore[union-attr]
    assert (data["value"], data["num_items"]) == ("99", 7)


def test_products_that_were_only_shown_have_no_value() -> None:
    assert "value" not in trimmed({"products": lines(3_000)}, "Product List Viewed")["properties"]


def test_a_list_further_down_is_cut_too() -> None:
    event = trimmed({"order": {"currency": "EUR", "lineItems": lines(3_000)}})
    assert len(event["properties"]["lineitems"]) == 500
    assert event["properties"]["products_cut"] == 2_500
    assert (event["properties"]["value"], event["properties"]["num_items"]) == ("15000", 6_000)


def test_consent_person_and_page_are_never_cut_off() -> None:
    context = {
        "consent": {"advertising": False},
        "traits": {"email": "a@b.example"},
        "page": {"url": "https://x.example"},
    }
    event = trim_event(track("x", {"note": HTML * 100, "total": 5}, context=context), MOST)
    assert event["context"] == context
    assert event["properties"] == {"total": 5}


def test_an_order_with_more_lines_than_are_sent_but_less_than_64_kb_has_its_whole_value() -> None:
    (outcome,) = run(
        track("Order Completed", {"currency": "EUR", "products": [{"id": i, "price": 1} for i in range(900)]})
    )
    assert isinstance(outcome, Mapped)
    data = outcome.payload["custom_data"]
    assert (data["value"], data["num_items"], len(data["contents"]), len(data["content_ids"])) == (
        "900",
        900,
        500,
        500,
    )
    assert outcome.warnings == ("only the first 500 products are sent",)


@pytest.mark.parametrize(
    "event", [{}, {"properties": []}, {"properties": {"items": []}}, {"properties": {"items": [[]]}}]
)
def test_any_shape_can_be_trimmed(event: dict[str, Any]) -> None:
    trim_event({"type": "track", "event": "x", "pad": HTML * 100} | event, MOST)


LONG = "x" * 400
PIXEL_LINES = [
    {
        "id": f"line{i}",
        "quantity": 2,
        "variant": {
            "id": f"V{i}",
            "image": LONG,
            "price": {"amount": 2.5},
            "product": {"id": f"P{i}", "url": LONG},
        },
    }
    for i in range(400)
]
N = range(400)
BIG = {
    "Shopify pixel": {"checkout": {"currencyCode": "EUR", "order": {"id": "1"}, "lineItems": PIXEL_LINES}},
    "Shopify order": {
        "admin_graphql_api_id": "gid://shopify/Order/77",
        "order_number": 5,
        "total_price": "2000.00",
        "currency": "EUR",
        "line_items": [{"product_id": i + 1, "price": "2.50", "quantity": 2, "body": LONG} for i in N],
    },
    "WooCommerce": {
        "id": 55,
        "number": "5",
        "order_key": "k",
        "total": "2000.00",
        "currency": "EUR",
        "billing": {"city": "Berlin"},
        "line_items": [{"product_id": i + 1, "price": 2.5, "quantity": 2, "image": {"src": LONG}} for i in N],
    },
    "GA4": {
        "ecommerce": {
            "transaction_id": "5",
            "currency": "EUR",
            "items": [{"item_id": f"G{i}", "price": 2.5, "quantity": 2, "item_list_name": LONG} for i in N],
        }
    },
    "Enhanced Ecommerce": {
        "ecommerce": {
            "currencyCode": "EUR",
            "purchase": {
                "actionField": {"id": "5", "revenue": "2000.00"},
                "products": [{"id": f"E{i}", "price": "2.5", "quantity": 2, "dimension1": LONG} for i in N],
            },
        }
    },
    "Magento": {
        "increment_id": "5",
        "grand_total": 2000,
        "order_currency_code": "EUR",
        "items": [
            {"sku": f"M{i}", "price": 2.5, "qty_ordered": 2, "product_options": {"x": LONG}} for i in N
        ],
    },
    "parallel lists": {
        "order_id": "5",
        "value": 2000,
        "currency": "EUR",
        "note": LONG * 200,
        "product_id": [f"A{i}" for i in N],
        "product_price": [2.5 for i in N],
        "product_quantity": [2 for i in N],
    },
    "TikTok": {
        "currency": "EUR",
        "value": 2000,
        "order_id": "5",
        "query": LONG * 200,
        "contents": [{"content_id": f"T{i}", "price": 2.5, "quantity": 2} for i in N],
    },
    "Snap": {
        "currency": "EUR",
        "price": 2000,
        "transaction_id": "5",
        "number_items": 800,
        "note": LONG * 200,
        "item_ids": [f"S{i:03}" for i in N],
    },
}


@pytest.mark.parametrize("name", BIG)
def test_a_large_order_in_another_systems_shape_keeps_value_count_and_ids(name: str) -> None:
    event = trim_event(track("Order Completed", BIG[name], consent={"x": 1}), MOST)
    assert len(json_text.format_json(event)) <= MOST
    whole, sent = (run(one)[0] for one in (track("Order Completed", BIG[name]), event))
    assert isinstance(whole, Mapped)
    assert isinstance(sent, Mapped)
    assert sent.payload["custom_data"] == whole.payload["custom_data"]
    assert (sent.payload["custom_data"]["value"], sent.payload["custom_data"]["num_items"]) in (
        *(("2000.00", 800), ("2000", 800)),
    )
    assert len(sent.payload["custom_data"]["content_ids"]) == 400
    assert order_ids(event, None) == order_ids(track("Order Completed", BIG[name]), None)
