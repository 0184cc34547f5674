"""Read the parameters of a link to the shop."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode

from worker.dev.sandbox.shop.catalogue import PRODUCTS, Product

_MOST_IN_CART = 50
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})

_is_key = re.compile(r"dk_(live|test)_[A-Za-z0-9_-]{1,128}").fullmatch
_is_order = re.compile(r"ORD-[0-9A-F]{8}").fullmatch
_port = re.compile(r":[0-9]*$")
_origin = re.compile(r"(https?)://(\[::1\]|[a-z0-9.-]{1,253})(:[0-9]{1,5})?/?").fullmatch


class EntryError(Exception):
    """A link to the shop is incomplete or wrong; the message is a sentence."""


@dataclass(frozen=True)
class Entry:
    """Where the shop's events go, and what is in the cart; every link of the shop carries it on."""

    collector: str
    key: str
    cart: tuple[Product, ...] = field(default=())

    def holding(self, *cart: Product) -> "Entry":
        """Return the entry with another cart."""
        return replace(self, cart=cart[-_MOST_IN_CART:])

    def link(self, path: str, **more: str) -> str:
        """Return the address of a page of the shop."""
        said = {"collector": self.collector, "key": self.key}
        if self.cart:
            said["cart"] = ",".join(product.sku for product in self.cart)
        return f"{path}?{urlencode(said | more)}"


def read_entry(query: Mapping[str, str], host: str) -> Entry:
    """Read and check an entry; ``host`` is the name under which the shop was called.

    The collector must be on this machine or on the shop's own host. Otherwise a link could make the shop run any
    script.

    Raises:
        EntryError: the collector or the key is missing or wrong.
    """
    if not query.get("collector") or not query.get("key"):
        raise EntryError("The shop needs the collector's address and the pipeline key of a source.")
    match = _origin(query["collector"].lower())
    if not match:
        raise EntryError("The collector's address must be like http://127.0.0.1:8080.")
    scheme, name, port = match.groups()
    own = _port.sub("", host.lower())
    if name not in _LOOPBACK | {own}:
        raise EntryError("The collector must be on this machine, or on the one that the shop is on.")
    if not _is_key(query["key"]):
        raise EntryError("The pipeline key must be like dk_test_ and some letters and digits.")
    cart = [PRODUCTS[sku] for sku in query.get("cart", "").split(",") if sku in PRODUCTS]
    return Entry(f"{scheme}://{name}{port or ''}", query["key"]).holding(*cart)


def read_order(query: Mapping[str, str]) -> str | None:
    """Return the order id from the cart's page, or None if it is not valid."""
    order_id = query.get("order", "")
    return order_id if _is_order(order_id) else None
