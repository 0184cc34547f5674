"""WooCommerce: the orders of its webhooks and its REST API.

https://woocommerce.github.io/woocommerce-rest-api-docs/#order-properties
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from worker.event.dialects.rewriting import Dialect, Shape, first_of, objects, present, words

_KEYS = words("customeripaddress customeruseragent orderkey datecreatedgmt createdvia parentid")
_KEPT = words("epik clickid pinunauth eventid")


def _rewrite(shape: Shape) -> bool:
    order = shape.properties
    if "lineitems" not in order or not (_KEYS & order.keys() or "billing" in order):
        return False
    shape.replace(
        orderid=order.get("orderid") or first_of(order, ("number", "id")),
        products=[_product(line) for line in objects(order["lineitems"])],
        lineitems=None,
    )
    shape.put(tax=order.get("totaltax"), shipping=order.get("shippingtotal"))
    if str(order.get("createdvia")).startswith("pos"):
        # The device is the shop's.
        shape.put(actionsource="offline")
    else:
        shape.put_device(order.get("customeripaddress"), order.get("customeruseragent"))
    for entry in objects(order.get("metadata")):
        name = "".join(filter(str.isalnum, str(entry.get("key", "")).casefold()))
        if name in _KEPT:
            shape.put(**{name: entry.get("value")})
    return True


def _product(line: Mapping[str, Any]) -> dict[str, Any]:
    return present(
        product_id=line.get("productid") or line.get("sku"),
        variant_id=line.get("variationid") or None,
        sku=line.get("sku"),
        name=first_of(line, ("parentname", "name")),
        price=line["price"] if line.get("price") is not None else _price(line),
        quantity=line.get("quantity"),
    )


def _price(line: Mapping[str, Any]) -> str | None:
    """Return the price of one piece: orders of the first versions of the API have only the line's total."""
    try:
        total, quantity = Decimal(str(line.get("total"))), Decimal(str(line.get("quantity")))
        return f"{total / quantity:.2f}" if total.is_finite() and 0 < quantity < 1_000_000 else None
    except (InvalidOperation, ValueError):
        return None


_WOOCOMMERCE = Dialect("WooCommerce order", _KEYS | {"billing"}, _rewrite)

DIALECTS = (_WOOCOMMERCE,)
