"""Orders of Shopify's and WooCommerce's webhooks become checkouts, each once."""

import base64
import hmac
import json
from collections import Counter
from hashlib import sha256
from typing import Any

import pytest
import requests

from tests.integration.conftest import EMBEDDED
from tests.integration.shop import EPIK, PIN_UNAUTH, Shop
from tests.integration.stack import Stack
from tests.integration.waiting import until
from tests.pinterest.conftest import sha

pytestmark = [pytest.mark.slow, EMBEDDED]

SECRET = "the shop's own secret"
ATTRIBUTES = {"_epik": EPIK, "_pin_unauth": PIN_UNAUTH, "_consent": '{"advertising":true}'}
SHOPIFY: dict[str, Any] = {
    "id": 820982911946154508,
    "admin_graphql_api_id": "gid://shopify/Order/820982911946154508",
    "name": "#9999",
    "order_number": 1234,
    "currency": "USD",
    "total_price": "398.00",
    "total_tax": "0.00",
    "email": "jon@shop.example",
    "financial_status": "paid",
    "client_details": {"browser_ip": "203.0.113.50", "user_agent": "Mozilla/5.0 ..."},
    "customer": {"id": 115310627314723954, "first_name": "John", "last_name": "Smith"},
    "billing_address": {"city": "Toronto", "zip": "40003", "country_code": "CA", "province_code": "ON"},
    "line_items": [
        {"id": 1, "product_id": 788032119674292922, "variant_id": 2, "price": "199.00", "quantity": 2}
    ],
    "note_attributes": [{"name": name, "value": value} for name, value in ATTRIBUTES.items()],
}
WOOCOMMERCE: dict[str, Any] = {
    "id": 727,
    "number": "1234",
    "order_key": "wc_order_58d2d042d1d",
    "status": "processing",
    "currency": "USD",
    "total": "398.00",
    "customer_id": 0,
    "customer_ip_address": "203.0.113.50",
    "customer_user_agent": "Mozilla/5.0 ...",
    "billing": {
        "first_name": "John",
        "last_name": "Smith",
        "city": "Toronto",
        "state": "ON",
        "postcode": "40003",
        "country": "CA",
        "email": "jon@shop.example",
    },
    "line_items": [
        {"id": 315, "product_id": 788032119674292922, "variation_id": 0, "price": 199, "quantity": 2}
    ],
    "meta_data": [{"id": 1, "key": name, "value": value} for name, value in ATTRIBUTES.items()],
}
HEADERS = {
    "shopify": ("X-Shopify-Hmac-Sha256", "X-Shopify-Topic", "X-Shopify-Webhook-Id"),
    "woocommerce": ("X-WC-Webhook-Signature", "X-WC-Webhook-Topic", "X-WC-Webhook-Delivery-ID"),
}


def post(
    shop: Shop, system: str, topic: str, webhook: str, order: dict[str, Any], secret: str = SECRET
) -> int:
    body = json.dumps(order).encode()
    signature = base64.b64encode(hmac.new(secret.encode(), body, sha256).digest()).decode()
    values = dict(zip(HEADERS[system], (signature, topic, webhook), strict=True))
    url = f"{shop.stack.collector_url}/v1/webhooks/{shop.source_id}/{system}"
    return requests.post(url, data=body, headers=values, timeout=15).status_code


@pytest.mark.parametrize(
    ("system", "order", "created", "paid", "refund"),
    [
        (
            "shopify",
            SHOPIFY,
            "orders/create",
            "orders/paid",
            ("orders/cancelled", {"cancelled_at": "2026-01-01"}),
        ),
        (
            "woocommerce",
            WOOCOMMERCE,
            "order.created",
            "order.updated",
            ("order.updated", {"status": "refunded"}),
        ),
    ],
)
def test_an_order_becomes_one_checkout_and_its_end_no_sale(
    stack: Stack,
    system: str,
    order: dict[str, Any],
    created: str,
    paid: str,
    refund: tuple[str, dict[str, str]],
) -> None:
    shop = Shop(stack)
    assert post(shop, system, created, "w1", order) == 401
    stack.admin("PATCH", f"/sources/{shop.source_id}", {"webhook_secrets": {system: SECRET}})
    until("the collector knows the secret", lambda: post(shop, system, created, "w1", order) == 200)
    assert post(shop, system, created, "w1", order, secret="wrong") == 401
    shop.await_delivered(1)
    assert post(shop, system, created, "w1", order) == 200
    assert post(shop, system, paid, "w2", order) == 200
    assert post(shop, system, refund[0], "w3", order | refund[1]) == 200
    # Another order shows that the ones before were taken.
    other = order | {"id": 9, "admin_graphql_api_id": None, "order_number": 9, "number": "9"}
    assert post(shop, system, created, "w4", other) == 200
    shop.await_delivered(2)
    expected = Counter(delivered=2, dropped=1)
    until("all are mapped", lambda: {**shop.standing(), "duplicate": 0} == {**expected, "duplicate": 0})
    (event,) = (
        one
        for found in shop.deliveries()
        if found.state == "delivered"
        for one in shop.received(found.event_id)
        if one["custom_data"]["order_id"] == "1234"
    )
    assert event["event_name"] == "checkout"
    assert event["custom_data"] == {
        "currency": "USD",
        "value": "398",
        "num_items": 2,
        "order_id": "1234",
        "content_ids": ["788032119674292922"],
        "contents": [{"id": "788032119674292922", "item_price": "199", "quantity": 2}],
    }
    assert event["user_data"] == {
        "client_ip_address": "203.0.113.50",
        "client_user_agent": "Mozilla/5.0 ...",
        "click_id": PIN_UNAUTH,
        "partner_id": EPIK,
        "em": [sha("jon@shop.example")],
        "fn": [sha("john")],
        "ln": [sha("smith")],
        "ct": [sha("toronto")],
        "st": [sha("on")],
        "zp": [sha("40003")],
        "country": [sha("ca")],
    }
