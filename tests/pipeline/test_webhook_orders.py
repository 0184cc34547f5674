"""Orders of the shapes that Shopify and WooCommerce document, from their webhooks to what is sent or taken back.

https://shopify.dev/docs/api/admin-rest/latest/resources/order, …/refund and
https://woocommerce.github.io/woocommerce-rest-api-docs/#orders
"""

import time
from typing import Any

import pytest
from werkzeug.datastructures import Headers

from worker.collector.webhooks import _Webhook, read_webhook
from worker.event.received import Received
from worker.pinterest.mapping.call import Options
from worker.pinterest.mapping.mapping import Dropped, Failed, Mapped, map_event
from worker.pinterest.user_data.visitor import Visitor

LINE = {
    "id": 866550311766439020,
    "product_id": 632910392,
    "variant_id": 808950810,
    "sku": "IPOD2008PINK",
    "title": "IPod Nano - 8GB",
    "price": "199.00",
    "quantity": 1,
    "gift_card": False,
}
SHOPIFY: dict[str, Any] = {
    "id": 820982911946154508,
    "admin_graphql_api_id": "gid://shopify/Order/820982911946154508",
    "name": "#9999",
    "order_number": 1234,
    "source_name": "web",
    "currency": "USD",
    "presentment_currency": "USD",
    "total_price": "199.00",
    "current_total_price": "199.00",
    "subtotal_price": "199.00",
    "total_tax": "0.00",
    "taxes_included": False,
    "test": False,
    "email": "jon@shop.example",
    "contact_email": "jon@shop.example",
    "phone": None,
    "browser_ip": "203.0.113.50",
    "client_details": {"browser_ip": "203.0.113.50", "user_agent": "Mozilla/5.0"},
    "customer": {"id": 115310627314723954, "email": "jon@shop.example", "first_name": "John"},
    "billing_address": {"city": "Shippington", "zip": "40003", "country_code": "US", "province_code": "KY"},
    "line_items": [LINE],
    "refunds": [],
}
WOO_LINE = {"id": 315, "product_id": 93, "variation_id": 0, "quantity": 2, "total": "6.00", "price": 3}
WOO: dict[str, Any] = {
    "id": 727,
    "parent_id": 0,
    "number": "727",
    "order_key": "wc_order_58d2d042d1d",
    "created_via": "checkout",
    "status": "processing",
    "currency": "USD",
    "date_created_gmt": "2017-03-22T19:28:02",
    "total": "29.35",
    "total_tax": "1.35",
    "prices_include_tax": False,
    "customer_id": 0,
    "customer_ip_address": "203.0.113.50",
    "customer_user_agent": "Mozilla/5.0",
    "billing": {"first_name": "John", "country": "US", "email": "john.doe@example.com", "phone": ""},
    "line_items": [WOO_LINE],
    "refunds": [],
    "meta_data": [],
}


def money(shop: str, paid: str) -> dict[str, Any]:
    return {
        "shop_money": {"amount": shop, "currency_code": "USD"},
        "presentment_money": {"amount": paid, "currency_code": "EUR"},
    }


def read(system: str, topic: str, order: dict[str, Any]) -> _Webhook:
    name = "X-Shopify-Topic" if system == "shopify" else "X-WC-Webhook-Topic"
    return read_webhook(system, Headers({name: topic}), order, {})


def outcome(system: str, topic: str, order: dict[str, Any]) -> Mapped | Failed | Dropped:
    event = read(system, topic, order).event
    assert event is not None
    now = time.time()
    event.pop("timestamp", None)
    received = Received(channel="server", received_at=now)
    (found,) = map_event(event, received, Visitor.EMPTY, Options(), now, "allow", None)
    assert isinstance(found, Mapped | Failed | Dropped)
    return found


POS = {"source_name": "pos", "client_details": {"browser_ip": "203.0.113.9", "user_agent": "Shopify POS"}}
RENEWAL = {"created_via": "subscription", "customer_ip_address": "", "customer_user_agent": ""}
GUEST = {"email": "", "contact_email": None, "phone": "+14155552671", "customer": None}
# What differs from a usual order, and what is sent of it: value, currency, pieces, action source, who.
SALES = [
    ("shopify", {}, ("199", "USD", 1, "web"), {"em", "client_ip_address"}),
    ("shopify", {"currency": "JPY", "total_price": "19800"}, ("19800", "JPY", 1, "web"), {"em"}),
    # Paid in euros: the shop's own currency counts, as in its reports.
    (
        "shopify",
        {"presentment_currency": "EUR", "total_price_set": money("199.00", "183.08")},
        ("199", "USD", 1, "web"),
        {"em"},
    ),
    ("shopify", {"taxes_included": True, "total_tax": "31.77"}, ("199", "USD", 1, "web"), {"em"}),
    ("shopify", POS, ("199", "USD", 1, "offline"), {"em"}),
    ("shopify", {"source_name": "shopify_draft_order"}, ("199", "USD", 1, "web"), {"em"}),
    ("shopify", {"line_items": [LINE | {"gift_card": True}]}, ("199", "USD", 1, "web"), {"em"}),
    ("shopify", {"payment_gateway_names": ["gift_card"]}, ("199", "USD", 1, "web"), {"em"}),
    ("shopify", {"total_price": "0.00", "total_discounts": "199.00"}, ("0", "USD", 1, "web"), {"em"}),
    ("shopify", GUEST, ("199", "USD", 1, "web"), {"ph", "client_ip_address"}),
    ("shopify", {"company": {"id": 1}, "po_number": "PO-77"}, ("199", "USD", 1, "web"), {"em", "fn", "ct"}),
    ("shopify", {"source_name": "subscription_contract"}, ("199", "USD", 1, "web"), {"em"}),
    ("woocommerce", {}, ("29.35", "USD", 2, "web"), {"em", "client_ip_address"}),
    ("woocommerce", {"currency": "JPY", "total": "2935"}, ("2935", "JPY", 2, "web"), {"em"}),
    ("woocommerce", {"prices_include_tax": True, "total_tax": "4.69"}, ("29.35", "USD", 2, "web"), {"em"}),
    ("woocommerce", {"created_via": "pos-rest-api"}, ("29.35", "USD", 2, "offline"), {"em"}),
    ("woocommerce", RENEWAL, ("29.35", "USD", 2, "web"), {"em"}),
    ("woocommerce", {"created_via": "admin"}, ("29.35", "USD", 2, "web"), {"em"}),
    ("woocommerce", {"status": "completed"}, ("29.35", "USD", 2, "web"), {"em"}),
    ("woocommerce", {"billing": {"email": ""}}, ("29.35", "USD", 2, "web"), {"client_ip_address"}),
    ("woocommerce", {"total": "0.00", "gift_cards": [{"amount": 29.35}]}, ("0", "USD", 2, "web"), {"em"}),
]


@pytest.mark.parametrize(("system", "change", "expected", "who"), SALES)
def test_an_order_is_sent_as_it_is(
    system: str, change: dict[str, Any], expected: tuple[Any, ...], who: set[str]
) -> None:
    order, topic = (SHOPIFY, "orders/create") if system == "shopify" else (WOO, "order.created")
    found = outcome(system, topic, order | change)
    assert isinstance(found, Mapped)
    assert found.event_name == "checkout"
    data = found.payload["custom_data"]
    sent = (data["value"], data["currency"], data["num_items"], found.payload["action_source"])
    assert sent == expected
    assert data["order_id"] == ("1234" if system == "shopify" else "727")
    assert who <= found.payload["user_data"].keys()
    # The till's device is not the buyer's.
    assert ("client_user_agent" in found.payload["user_data"]) is (sent[3] == "web" and change is not RENEWAL)


REFUND = {"id": 509562969, "order_id": 450789469, "refund_line_items": [], "order_adjustments": []}
PAID_BACK = {"kind": "refund", "status": "success", "amount": "100.00", "currency": "USD"}
IN_EUROS = PAID_BACK | {"amount": "91.54", "currency": "EUR"}
# What is taken back, and from whose sales.
REFUNDS = [
    ("shopify", "refunds/create", REFUND | {"transactions": [PAID_BACK]}, ("100", "USD")),
    (
        "shopify",
        "refunds/create",
        REFUND | {"transactions": [PAID_BACK, PAID_BACK | {"status": "failure"}, PAID_BACK]},
        ("200", "USD"),
    ),
    (
        "shopify",
        "refunds/create",
        REFUND
        | {"transactions": [IN_EUROS], "refund_line_items": [{"subtotal_set": money("199.00", "183.08")}]},
        ("99.5", "USD"),
    ),
    (
        "shopify",
        "refunds/create",
        REFUND
        | {"transactions": [IN_EUROS], "order_adjustments": [{"amount_set": money("-100.00", "-91.54")}]},
        ("100", "USD"),
    ),
    ("shopify", "refunds/create", REFUND | {"transactions": []}, None),
    ("shopify", "orders/cancelled", SHOPIFY | {"cancelled_at": "2026-01-01T00:00:00Z"}, ("199", "USD")),
    (
        "woocommerce",
        "order.updated",
        WOO | {"refunds": [{"id": 726, "total": "-10.00"}, {"id": 728, "total": "-5.50"}]},
        ("5.5", "USD"),
    ),
    (
        "woocommerce",
        "order.updated",
        WOO | {"status": "refunded", "refunds": [{"id": 726, "total": "-29.35"}]},
        ("29.35", "USD"),
    ),
    ("woocommerce", "order.updated", WOO | {"status": "cancelled"}, ("29.35", "USD")),
]


@pytest.mark.parametrize(("system", "topic", "body", "amount"), REFUNDS)
def test_what_is_paid_back_is_no_sale_and_is_taken_from_the_sales(
    system: str, topic: str, body: dict[str, Any], amount: tuple[str, str] | None
) -> None:
    found = outcome(system, topic, body)
    assert isinstance(found, Dropped)
    refund = found.refund
    assert refund is not None
    assert (refund.amount and (refund.amount.text, refund.currency)) == amount


def test_each_refund_of_an_order_counts_once_and_not_as_its_sale() -> None:
    refunds = [{"id": 726, "total": "-10.00"}, {"id": 728, "total": "-5.50"}]
    updates = [WOO, WOO | {"refunds": refunds[:1]}, WOO | {"refunds": refunds}, WOO | {"refunds": refunds}]
    told = [read("woocommerce", "order.updated", order).once for order in updates]
    assert len(set(told)) == 3
    assert told[2] == told[3]


@pytest.mark.parametrize(
    ("system", "topic", "order"),
    [
        ("shopify", "orders/create", SHOPIFY | {"test": True}),
        # An edited order is not another sale.
        ("shopify", "orders/edited", {"order_edit": {"order_id": 820982911946154508, "line_items": {}}}),
        ("shopify", "orders/updated", SHOPIFY | {"current_total_price": "398.00"}),
        ("shopify", "draft_orders/create", SHOPIFY),
        # Its refunds were reported by themselves.
        ("shopify", "orders/cancelled", SHOPIFY | {"refunds": [REFUND | {"transactions": [PAID_BACK]}]}),
        ("woocommerce", "order.created", WOO | {"status": "pending"}),
        ("woocommerce", "order.created", WOO | {"status": "checkout-draft"}),
        ("woocommerce", "order.deleted", {"id": 727}),
        ("woocommerce", "subscription.created", WOO),
    ],
)
def test_what_is_no_order_of_a_buyer_is_answered_and_not_stored(
    system: str, topic: str, order: dict[str, Any]
) -> None:
    assert read(system, topic, order).event is None


@pytest.mark.parametrize(
    ("system", "order"),
    [
        ("shopify", SHOPIFY | POS | {"email": "", "contact_email": None, "customer": None}),
        ("woocommerce", WOO | {"created_via": "pos-rest-api", "billing": {"email": ""}}),
    ],
)
def test_an_order_at_the_till_without_a_buyer_fails_with_the_reason(
    system: str, order: dict[str, Any]
) -> None:
    found = outcome(system, "orders/create" if system == "shopify" else "order.created", order)
    assert isinstance(found, Failed)
    assert found.reason.startswith("Pinterest needs an e-mail address")
