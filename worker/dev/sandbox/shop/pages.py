"""A small shop: products, one product, the cart, and the order, with the events that its pages send."""

import json
import re
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urlencode

from worker.dev.sandbox import http_server
from worker.dev.sandbox.http_server import HTML, Request, Response

_CURRENCY = "USD"


@dataclass(frozen=True)
class _Product:
    """A product."""

    sku: str
    name: str
    price_cents: int
    words: str

    @property
    def properties(self) -> dict[str, Any]:
        """Return the product's properties in an event."""
        return {"product_id": self.sku, "name": self.name, "price": self.price_cents / 100}


_PRODUCTS = {
    product.sku: product
    for product in (
        _Product("SKU-A", "Widget", 4_999, "Does what widgets do, and a little more quietly."),
        _Product("SKU-B", "Gadget", 3_001, "Small, round, and hard to put down."),
        _Product("SKU-C", "Gizmo", 1_250, "Nobody knows what it is for. Everybody has one."),
    )
}


def _product_event(product: _Product) -> dict[str, Any]:
    """Return the event of looking at a product."""
    return {"name": "Product Viewed", "properties": {**product.properties, "currency": _CURRENCY}}


def _cart_event(product: _Product) -> dict[str, Any]:
    """Return the event of adding a product to the cart."""
    return {
        "name": "Product Added",
        "properties": {**product.properties, "quantity": 1, "currency": _CURRENCY},
    }


def _order_event(order_id: str, cart: Sequence[_Product]) -> dict[str, Any]:
    """Return the event of an order; its id is derived from the order id, so a reload sends the same event."""
    products = [{**product.properties, "quantity": count} for product, count in Counter(cart).items()]
    return {
        "name": "Order Completed",
        "properties": {
            "event_id": _event_id(order_id),
            "order_id": order_id,
            "total": _total_cents(cart) / 100,
            "currency": _CURRENCY,
            "products": products,
        },
    }


def _event_id(order_id: str) -> str:
    """Return the id of an order's event."""
    return f"evt_{order_id}"


def _total_cents(cart: Sequence[_Product]) -> int:
    """Return what a cart costs."""
    return sum(product.price_cents for product in cart)


_MOST_IN_CART = 50
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})

_is_key = re.compile(r"dk_(live|test)_[A-Za-z0-9_-]{1,128}").fullmatch
_is_order = re.compile(r"ORD-[0-9A-F]{8}").fullmatch
_port = re.compile(r":[0-9]*$")
_origin = re.compile(r"(https?)://(\[::1\]|[a-z0-9.-]{1,253})(:[0-9]{1,5})?/?").fullmatch


class _EntryError(Exception):
    """A link to the shop is incomplete or wrong; the message is a sentence."""


@dataclass(frozen=True)
class _Entry:
    """Where the shop's events go, and what is in the cart; every link of the shop carries it on."""

    collector: str
    key: str
    cart: tuple[_Product, ...] = field(default=())

    def link(self, path: str, **more: str) -> str:
        """Return the address of a page of the shop."""
        parameters = {"collector": self.collector, "key": self.key}
        if self.cart:
            parameters["cart"] = ",".join(product.sku for product in self.cart)
        return f"{path}?{urlencode(parameters | more)}"


def _read_entry(query: Mapping[str, str], host: str) -> _Entry:
    """Read and check an entry; ``host`` is the name under which the shop was called.

    The collector must be on this machine or on the shop's own host. Otherwise a link could make the shop run any
    script.

    Raises:
        EntryError: the collector or the key is missing or wrong.
    """
    if not query.get("collector") or not query.get("key"):
        raise _EntryError("The shop needs the collector's address and the pipeline key of a source.")
    match = _origin(query["collector"].lower())
    if not match:
        raise _EntryError("The collector's address must be like http://127.0.0.1:8080.")
    scheme, name, port = match.groups()
    own_host = _port.sub("", host.lower())
    if name not in _LOOPBACK | {own_host}:
        raise _EntryError("The collector must be on this machine, or on the one that the shop is on.")
    if not _is_key(query["key"]):
        raise _EntryError("The pipeline key must be like dk_test_ and some letters and digits.")
    cart = [_PRODUCTS[sku] for sku in query.get("cart", "").split(",") if sku in _PRODUCTS]
    return _Entry(f"{scheme}://{name}{port or ''}", query["key"], tuple(cart[-_MOST_IN_CART:]))


def _read_order(query: Mapping[str, str]) -> str | None:
    """Return the order id from the cart's page, or None if it is not valid."""
    order_id = query.get("order", "")
    return order_id if _is_order(order_id) else None


_SHOP, _PRODUCT, _CART, _ORDER = "/shop", "/shop/product", "/shop/cart", "/shop/order"
_USUAL_COLLECTOR = "http://127.0.0.1:8080"

_HERE = Path(__file__).parent
_PAGE = Template((_HERE / "templates" / "page.html").read_text("utf-8"))
_DOOR = Template((_HERE / "templates" / "door.html").read_text("utf-8"))
_FILES = {
    "/shop/shop.js": ("static/shop.js", "text/javascript; charset=utf-8"),
    "/shop/shop.css": ("static/shop.css", "text/css; charset=utf-8"),
}


def _files() -> dict[str, Response]:
    return {
        path: Response(200, (_HERE / name).read_bytes(), content_type=content_type)
        for path, (name, content_type) in _FILES.items()
    }


def routes() -> dict[str, Callable[[Request], Response]]:
    """Return what answers a GET, by path."""
    pages = {_SHOP: _products, _PRODUCT: _product, _CART: _cart, _ORDER: _order}
    handlers = {path: _within(show) for path, show in pages.items()}
    return handlers | {path: (lambda _, file=file: file) for path, file in _files().items()}


def _within(show: Callable[[Request, _Entry], Response]) -> Callable[[Request], Response]:
    """Show a page if the link is valid; otherwise show a form for the missing parameters."""

    def answer(request: Request) -> Response:
        try:
            entry = _read_entry(request.query, request.headers.get("host", ""))
        except _EntryError as error:
            return _door(request.query, str(error))
        return show(request, entry)

    return answer


def _door(query: Mapping[str, str], problem: str) -> Response:
    html = _DOOR.substitute(
        problem=escape(problem),
        collector=escape(query.get("collector") or _USUAL_COLLECTOR),
        key=escape(query.get("key", "")),
    )
    came_with_something = "collector" in query or "key" in query
    return Response(400 if came_with_something else 200, html.encode(errors="replace"), content_type=HTML)


def _products(_: Request, entry: _Entry) -> Response:
    rows = "".join(
        f"<li>{_link(entry.link(_PRODUCT, sku=product.sku), product.name)} "
        f"<span>{_money(product.price_cents)}</span></li>"
        for product in _PRODUCTS.values()
    )
    return _show(entry, "Everything we sell", f'<ul class="products">{rows}</ul>')


def _product(request: Request, entry: _Entry) -> Response:
    product = _PRODUCTS.get(request.query.get("sku", ""))
    if product is None:
        return http_server.error(404)
    full = replace(entry, cart=(*entry.cart, product)[-_MOST_IN_CART:])
    button = _link(
        full.link(_CART), "Add to cart", {"class": "button", "data-event": json.dumps(_cart_event(product))}
    )
    body = f"<p>{product.words}</p><p><strong>{_money(product.price_cents)}</strong></p><p>{button}</p>"
    return _show(entry, product.name, body, _product_event(product))


def _cart(_: Request, entry: _Entry) -> Response:
    if not entry.cart:
        return _show(entry, "Your cart", "<p>There is nothing in it yet.</p>")
    # Fields with a name become part of the URL. The field for the e-mail address has no name, so it does not.
    carried = {"collector": entry.collector, "key": entry.key, "order": f"ORD-{secrets.token_hex(4).upper()}"}
    carried["cart"] = ",".join(product.sku for product in entry.cart)
    inputs = "".join(f'<input type="hidden" name="{name}" value="{text}">' for name, text in carried.items())
    form = (
        f'<form action="{_ORDER}" id="checkout">{inputs}'
        '<p><label>E-mail address, if you like <input type="email" id="email" autocomplete="email"></label></p>'
        '<p><button class="button">Place the order</button></p></form>'
    )
    return _show(entry, "Your cart", _lines(entry) + form)


def _order(request: Request, entry: _Entry) -> Response:
    order_id = _read_order(request.query)
    if order_id is None or not entry.cart:
        return http_server.error(404)
    address = "/received?" + urlencode({"event_id": _event_id(order_id)})
    body = (
        f'<p>Your order is <strong id="order">{order_id}</strong>.</p>{_lines(entry)}'
        f"<p>See {_link(address, 'what the sandbox received of it')}, a second or two from now. Without consent "
        "to advertising nothing arrives there. Load this page again: it sends the order again with the same "
        "event id, which counts once.</p>"
    )
    return _show(replace(entry, cart=()), "Thank you", body, _order_event(order_id, entry.cart))


def _lines(entry: _Entry) -> str:
    rows = "".join(
        f"<tr><td>{product.name}</td><td>{count}</td><td>{_money(product.price_cents * count)}</td></tr>"
        for product, count in Counter(entry.cart).items()
    )
    total = _money(_total_cents(entry.cart))
    head = '<tr><th scope="col">Product</th><th scope="col">Number</th><th scope="col">Price</th></tr>'
    return f'<table>{head}{rows}<tr><th scope="row" colspan="2">Total</th><td>{total}</td></tr></table>'


def _show(entry: _Entry, title: str, body: str, event: Mapping[str, Any] | None = None) -> Response:
    html = _PAGE.substitute(
        title=escape(title),
        body=body,
        event=escape(json.dumps(event)) if event else "",
        collector=escape(entry.collector),
        key=escape(entry.key),
        shop=escape(entry.link(_SHOP)),
        cart=escape(entry.link(_CART)),
        count=len(entry.cart),
    )
    headers = {"Content-Security-Policy": _policy(entry), "Cache-Control": "no-store"}
    return Response(200, html.encode(errors="replace"), content_type=HTML, headers=headers)


def _policy(entry: _Entry) -> str:
    return (
        f"default-src 'none'; style-src 'self'; img-src data:; script-src 'self' {entry.collector}; "
        f"connect-src {entry.collector}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def _link(address: str, text: str, more: Mapping[str, str] | None = None) -> str:
    attributes = "".join(f' {name}="{escape(value)}"' for name, value in (more or {}).items())
    return f'<a href="{escape(address)}"{attributes}>{escape(text)}</a>'


def _money(cents: int) -> str:
    return f"{_CURRENCY} {cents // 100}.{cents % 100:02}"
