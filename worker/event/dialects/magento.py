"""Magento and Adobe Commerce: orders of the REST API and of extensions, and Adobe's Experience Data Model.

https://developer.adobe.com/commerce/webapi/rest/quick-reference/
https://experienceleague.adobe.com/en/docs/experience-platform/xdm/data-types/commerce
"""

from collections.abc import Mapping
from typing import Any

from worker.event.dialects.rewriting import Dialect, Shape, first_of, objects, part_of, present, words

_KEYS = words(
    "incrementid grandtotal basegrandtotal totalqtyordered ordercurrencycode customerfirstname quoteid"
)
_PARTS_OF_PRICE = ("price", "baseprice", "originalprice", "priceincltax")


def _rewrite(shape: Shape) -> bool:
    order = shape.properties
    if not {"grandtotal", "incrementid", "basegrandtotal"} & order.keys():
        return False
    lines = objects(order.get("items"))
    shape.put(
        orderid=order.get("incrementid"),
        total=first_of(order, ("grandtotal", "basegrandtotal")),
        currency=first_of(order, ("ordercurrencycode", "basecurrencycode", "globalcurrencycode")),
        numitems=order.get("totalqtyordered"),
        tax=order.get("taxamount"),
        shipping=order.get("shippingamount"),
        email=order.get("customeremail"),
        shippingaddress=_shipping_address(order),
    )
    if lines:
        # A configurable product has a second line for its variant, without a price.
        parents = [line for line in lines if not (line.get("parentitemid") or line.get("parentitem"))]
        shape.replace(items=None, products=[_product(line) for line in parents or lines])
    shape.put_device(order.get("remoteip"), None)
    return True


def _shipping_address(order: Mapping[str, Any]) -> Any:
    assignments = objects(part_of(order, "extensionattributes").get("shippingassignments"))
    return part_of(assignments[0], "shipping").get("address") if assignments else None


def _product(line: Mapping[str, Any]) -> dict[str, Any]:
    # A line's item_id is the line's own number.
    return present(
        product_id=first_of(line, ("productid", "sku")),
        sku=line.get("sku"),
        name=line.get("name"),
        price=first_of(line, _PARTS_OF_PRICE),
        quantity=first_of(line, ("qtyordered", "qty", "quantity")),
    )


_MAGENTO = Dialect("Magento order", _KEYS, _rewrite)


def _rewrite_xdm(shape: Shape) -> bool:
    commerce, lines = shape.part("commerce"), objects(shape.properties.get("productlistitems"))
    if not commerce and not lines:
        return False
    order = part_of(commerce, "order")
    shape.put(
        orderid=first_of(order, ("purchaseid", "purchaseordernumber")),
        total=order.get("pricetotal"),
        currency=first_of(order, ("currencycode",)) or (lines[0].get("currencycode") if lines else None),
        products=[_xdm_product(line) for line in lines],
    )
    return True


def _xdm_product(line: Mapping[str, Any]) -> dict[str, Any]:
    quantity = line.get("quantity")
    return present(
        product_id=first_of(line, ("sku", "product")),
        name=line.get("name"),
        # The total is that of the whole line.
        price=line.get("pricetotal") if quantity in (None, 1, "1") else None,
        quantity=quantity,
    )


_ADOBE = Dialect("Adobe Experience Data Model", words("commerce productlistitems"), _rewrite_xdm)

DIALECTS = (
    _MAGENTO,
    _ADOBE,
)
