"""Show the shop: products, one product, the cart, and the order."""

import json
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urlencode

from worker.dev.sandbox import replies
from worker.dev.sandbox.http import HTML, Request, Response
from worker.dev.sandbox.shop.catalogue import (
    CURRENCY,
    PRODUCTS,
    cart_event,
    event_id,
    order_event,
    product_event,
    total_cents,
)
from worker.dev.sandbox.shop.entry import Entry, EntryError, read_entry, read_order

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
    served = {path: _within(show) for path, show in pages.items()}
    return served | {path: (lambda _, file=file: file) for path, file in _files().items()}


def _within(show: Callable[[Request, Entry], Response]) -> Callable[[Request], Response]:
    """Show a page if the link is valid; otherwise show a form for the missing parameters."""

    def answer(request: Request) -> Response:
        try:
            entry = read_entry(request.query, request.headers.get("host", ""))
        except EntryError as wrong:
            return _door(request.query, str(wrong))
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


def _products(_: Request, entry: Entry) -> Response:
    rows = "".join(
        f"<li>{_link(entry.link(_PRODUCT, sku=product.sku), product.name)} "
        f"<span>{_money(product.price_cents)}</span></li>"
        for product in PRODUCTS.values()
    )
    return _show(entry, "Everything we sell", f'<ul class="products">{rows}</ul>')


def _product(request: Request, entry: Entry) -> Response:
    product = PRODUCTS.get(request.query.get("sku", ""))
    if product is None:
        return replies.error(404)
    full = entry.holding(*entry.cart, product)
    button = _link(
        full.link(_CART), "Add to cart", {"class": "button", "data-event": json.dumps(cart_event(product))}
    )
    body = f"<p>{product.words}</p><p><strong>{_money(product.price_cents)}</strong></p><p>{button}</p>"
    return _show(entry, product.name, body, product_event(product))


def _cart(_: Request, entry: Entry) -> Response:
    if not entry.cart:
        return _show(entry, "Your cart", "<p>There is nothing in it yet.</p>")
    # Fields with a name become part of the URL. The field for the e-mail address has no name, so it does not.
    carried = {"collector": entry.collector, "key": entry.key, "order": f"ORD-{secrets.token_hex(4).upper()}"}
    carried["cart"] = ",".join(product.sku for product in entry.cart)
    hidden = "".join(f'<input type="hidden" name="{name}" value="{text}">' for name, text in carried.items())
    form = (
        f'<form action="{_ORDER}" id="checkout">{hidden}'
        '<p><label>E-mail address, if you like <input type="email" id="email" autocomplete="email"></label></p>'
        '<p><button class="button">Place the order</button></p></form>'
    )
    return _show(entry, "Your cart", _lines(entry) + form)


def _order(request: Request, entry: Entry) -> Response:
    order_id = read_order(request.query)
    if order_id is None or not entry.cart:
        return replies.error(404)
    received = "/received?" + urlencode({"event_id": event_id(order_id)})
    body = (
        f'<p>Your order is <strong id="order">{order_id}</strong>.</p>{_lines(entry)}'
        f"<p>See {_link(received, 'what the sandbox received of it')}, a second or two from now. Without consent "
        "to advertising nothing arrives there. Load this page again: it sends the order again with the same "
        "event id, which counts once.</p>"
    )
    return _show(entry.holding(), "Thank you", body, order_event(order_id, entry.cart))


def _lines(entry: Entry) -> str:
    rows = "".join(
        f"<tr><td>{product.name}</td><td>{count}</td><td>{_money(product.price_cents * count)}</td></tr>"
        for product, count in Counter(entry.cart).items()
    )
    total = _money(total_cents(entry.cart))
    head = '<tr><th scope="col">Product</th><th scope="col">Number</th><th scope="col">Price</th></tr>'
    return f'<table>{head}{rows}<tr><th scope="row" colspan="2">Total</th><td>{total}</td></tr></table>'


def _show(entry: Entry, title: str, body: str, event: Mapping[str, Any] | None = None) -> Response:
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


def _policy(entry: Entry) -> str:
    return (
        f"default-src 'none'; style-src 'self'; img-src data:; script-src 'self' {entry.collector}; "
        f"connect-src {entry.collector}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def _link(address: str, text: str, more: Mapping[str, str] | None = None) -> str:
    attributes = "".join(f' {name}="{escape(value)}"' for name, value in (more or {}).items())
    return f'<a href="{escape(address)}"{attributes}>{escape(text)}</a>'


def _money(cents: int) -> str:
    return f"{CURRENCY} {cents // 100}.{cents % 100:02}"
