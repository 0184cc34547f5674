"""The sample shop leads its visitor from the products to the order, and runs no foreign script."""

import json
import re
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from worker.dev.sandbox.server import Sandbox
from worker.dev.sandbox.shop.pages import _PRODUCTS, _EntryError, _order_event, _read_entry

COLLECTOR, KEY = "http://127.0.0.1:8080", "dk_test_abc123"
ENTRY = {"collector": COLLECTOR, "key": KEY}


def get(sandbox: Sandbox, path: str, **query: str) -> requests.Response:
    return requests.get(sandbox.url + path, params=ENTRY | query, timeout=10)


def links(page: requests.Response, path: str) -> list[str]:
    found = re.findall(rf'href="({path}\?[^"]*)"', page.text)
    return [unescape(link) for link in found]


def event_of(page: requests.Response) -> dict[str, object] | None:
    told = re.search(r'<body data-event="([^"]*)"', page.text)
    assert told is not None
    return json.loads(unescape(told[1])) if told[1] else None


@pytest.mark.parametrize("path", ["/shop", "/shop/product?sku=SKU-A", "/shop/cart", "/shop/order"])
def test_without_a_collector_and_a_key_the_shop_asks_for_them(sandbox: Sandbox, path: str) -> None:
    page = requests.get(sandbox.url + path, timeout=10)
    assert page.status_code == 200
    assert 'name="collector" value="http://127.0.0.1:8080"' in page.text
    assert 'name="key"' in page.text
    assert "<script" not in page.text


@pytest.mark.parametrize(
    ("collector", "host", "read"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1:8090", "http://127.0.0.1:8080"),
        ("http://localhost:8080/", "127.0.0.1:8090", "http://localhost:8080"),
        ("HTTP://[::1]:8080", "localhost", "http://[::1]:8080"),
        ("https://demo.example.com", "demo.example.com:8090", "https://demo.example.com"),
    ],
)
def test_the_collector_may_be_on_this_machine_or_on_the_shops(collector: str, host: str, read: str) -> None:
    assert _read_entry({"collector": collector, "key": KEY}, host).collector == read


@pytest.mark.parametrize(
    "collector",
    [
        "http://evil.net",
        "http://127.0.0.1.evil.net",
        "http://127.0.0.1@evil.net",
        "http://127.0.0.1:8080/path",
        "http://127.0.0.1:8080?x",
        "http://127.0.0.1:8080\n",
        "http://127.0.0.1:123456",
        "javascript:alert(1)",
        "//127.0.0.1",
        "http://127.0.0.1; script-src *",
    ],
)
def test_no_other_collector_may(collector: str) -> None:
    with pytest.raises(_EntryError):
        _read_entry({"collector": collector, "key": KEY}, "127.0.0.1:8090")


@pytest.mark.parametrize("key", ["", "dk_test_", "whsec_1", 'dk_test_1"><script>', "dk_test_" + "x" * 129])
def test_a_wrong_key_is_asked_for_again(key: str) -> None:
    with pytest.raises(_EntryError):
        _read_entry({"collector": COLLECTOR, "key": key}, "localhost")


def test_what_is_wrong_is_said_and_escaped(sandbox: Sandbox) -> None:
    page = get(sandbox, "/shop", key='"><script>alert(1)</script>')
    assert page.status_code == 400
    assert "The pipeline key must be like dk_test_" in page.text
    assert "<script>" not in page.text


def test_every_page_loads_datafly_js_with_the_key_and_nothing_from_elsewhere(sandbox: Sandbox) -> None:
    page = get(sandbox, "/shop")
    assert f'<script async src="{COLLECTOR}/d.js" data-pipeline-key="{KEY}"></script>' in page.text
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith(
        f"default-src 'none'; style-src 'self'; img-src data:; script-src 'self' {COLLECTOR}; "
    )
    assert f"connect-src {COLLECTOR};" in policy
    assert set(re.findall(r"https?://[^/\"<]+", page.text)) == {COLLECTOR}


def test_a_visitor_walks_from_the_products_to_the_order(sandbox: Sandbox) -> None:
    """The links carry the cart; the events are those of a shop."""
    product = requests.get(sandbox.url + links(get(sandbox, "/shop"), "/shop/product")[0], timeout=10)
    assert event_of(product) == {
        "name": "Product Viewed",
        "properties": {"product_id": "SKU-A", "name": "Widget", "price": 49.99, "currency": "USD"},
    }
    # The last link is the button; the first one, at the top, shows the cart as it is.
    cart = requests.get(sandbox.url + links(product, "/shop/cart")[-1], timeout=10)
    assert "USD 49.99" in cart.text
    carried = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', cart.text))
    assert carried | {"order": ""} == ENTRY | {"cart": "SKU-A", "order": ""}
    order = requests.get(sandbox.url + "/shop/order", params=carried, timeout=10)
    assert event_of(order) == _order_event(carried["order"], [_PRODUCTS["SKU-A"]])
    [received] = links(order, "/received")
    assert parse_qs(urlsplit(received).query) == {"event_id": [f"evt_{carried['order']}"]}
    assert requests.get(sandbox.url + received, timeout=10).json()["last"] == []


def test_an_order_is_told_as_in_the_documents_example() -> None:
    cart = [_PRODUCTS["SKU-A"], _PRODUCTS["SKU-B"], _PRODUCTS["SKU-A"]]
    assert _order_event("ORD-00000001", cart) == {
        "name": "Order Completed",
        "properties": {
            "event_id": "evt_ORD-00000001",
            "order_id": "ORD-00000001",
            "total": 129.99,
            "currency": "USD",
            "products": [
                {"product_id": "SKU-A", "name": "Widget", "price": 49.99, "quantity": 2},
                {"product_id": "SKU-B", "name": "Gadget", "price": 30.01, "quantity": 1},
            ],
        },
    }


def test_a_cart_holds_only_what_there_is_and_not_without_end(sandbox: Sandbox) -> None:
    entry = _read_entry(ENTRY | {"cart": "SKU-A,<b>,," + "SKU-B," * 100}, "localhost")
    assert [product.sku for product in entry.cart] == ["SKU-B"] * 50
    assert "nothing in it yet" in get(sandbox, "/shop/cart", cart="SKU-X").text


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/shop/product", {"sku": "SKU-X"}),
        ("/shop/product", {}),
        ("/shop/order", {"order": "ORD-0000000G", "cart": "SKU-A"}),
        ("/shop/order", {"order": "ORD-00000001"}),
        ("/shop/nothing", {}),
    ],
)
def test_what_is_not_there_is_not_found(sandbox: Sandbox, path: str, query: dict[str, str]) -> None:
    assert get(sandbox, path, **query).status_code == 404


@pytest.mark.parametrize(("path", "kind"), [("/shop/shop.js", "javascript"), ("/shop/shop.css", "css")])
def test_the_shops_files_are_served(sandbox: Sandbox, path: str, kind: str) -> None:
    response = requests.get(sandbox.url + path, timeout=10)
    assert (response.status_code, response.headers["Content-Type"]) == (200, f"text/{kind}; charset=utf-8")
