"""The products of the shop, and the events about them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

CURRENCY = "USD"


@dataclass(frozen=True)
class Product:
    """A product."""

    sku: str
    name: str
    price_cents: int
    words: str

    @property
    def properties(self) -> dict[str, Any]:
        """Return the product's properties in an event."""
        return {"product_id": self.sku, "name": self.name, "price": self.price_cents / 100}


PRODUCTS = {
    product.sku: product
    for product in (
        Product("SKU-A", "Widget", 4_999, "Does what widgets do, and a little more quietly."),
        Product("SKU-B", "Gadget", 3_001, "Small, round, and hard to put down."),
        Product("SKU-C", "Gizmo", 1_250, "Nobody knows what it is for. Everybody has one."),
    )
}


def product_event(product: Product) -> dict[str, Any]:
    """Return the event of looking at a product."""
    return {"name": "Product Viewed", "properties": {**product.properties, "currency": CURRENCY}}


def cart_event(product: Product) -> dict[str, Any]:
    """Return the event of adding a product to the cart."""
    return {
        "name": "Product Added",
        "properties": {**product.properties, "quantity": 1, "currency": CURRENCY},
    }


def order_event(order_id: str, cart: Sequence[Product]) -> dict[str, Any]:
    """Return the event of an order; its id is derived from the order id, so a reload sends the same event."""
    products = [{**product.properties, "quantity": count} for product, count in Counter(cart).items()]
    return {
        "name": "Order Completed",
        "properties": {
            "event_id": event_id(order_id),
            "order_id": order_id,
            "total": total_cents(cart) / 100,
            "currency": CURRENCY,
            "products": products,
        },
    }


def event_id(order_id: str) -> str:
    """Return the id of an order's event."""
    return f"evt_{order_id}"


def total_cents(cart: Sequence[Product]) -> int:
    """Return what a cart costs."""
    return sum(product.price_cents for product in cart)
