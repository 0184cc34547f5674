"""Shopify: the standard events of web pixels, and the orders of webhooks and of the REST API.

https://shopify.dev/docs/api/web-pixels-api/standard-events
https://shopify.dev/docs/api/admin-rest/latest/resources/order
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from worker.event.dialects.rewriting import Dialect, Shape, first_of, objects, own_id, part_of, present, words
from worker.event.text import fold_keys

_PIXEL_PARTS = words("checkout productvariant cartline cart collection searchresult")


def _rewrite_pixel(shape: Shape) -> bool:
    data = shape.part("data") or shape.properties
    if _PIXEL_PARTS.isdisjoint(data):
        return False
    results = [
        _rewrite_checkout(shape, part_of(data, "checkout")),
        _rewrite_line(shape, part_of(data, "cartline")),
        _rewrite_variant(shape, part_of(data, "productvariant")),
        _rewrite_cart(shape, part_of(data, "cart")),
        _rewrite_collection(shape, part_of(data, "collection")),
        _rewrite_search(shape, part_of(data, "searchresult")),
    ]
    if not any(results):
        return False
    navigator, document = part_of(shape.context, "navigator"), part_of(shape.context, "document")
    shape.put_device(None, navigator.get("useragent"), part_of(document, "location").get("href"))
    return True


def _rewrite_checkout(shape: Shape, checkout: Mapping[str, Any]) -> bool:
    lines = objects(checkout.get("lineitems"))
    if not lines and "totalprice" not in checkout and "order" not in checkout:
        return False
    order = part_of(checkout, "order")
    shape.put(
        total=_amount(first_of(checkout, ("totalprice", "subtotalprice"))),
        currency=checkout.get("currencycode"),
        orderid=own_id(first_of(order, ("id", "name"))),
        tax=_amount(checkout.get("totaltax")),
        shipping=_amount(part_of(checkout, "shippingline").get("price")),
        products=[_line(line) for line in lines],
        email=checkout.get("email"),
        phone=first_of(checkout, ("phone", "smsmarketingphone")),
        billingaddress=checkout.get("billingaddress"),
        shippingaddress=checkout.get("shippingaddress"),
    )
    return True


def _line(line: Mapping[str, Any]) -> dict[str, Any]:
    variant = part_of(line, "variant") or part_of(line, "merchandise")
    product = _variant(variant) | present(quantity=line.get("quantity"))
    # The id of a line is not the product's.
    return present(name=line.get("title")) | product


def _variant(variant: Mapping[str, Any]) -> dict[str, Any]:
    product = part_of(variant, "product")
    return present(
        product_id=own_id(product.get("id")) or variant.get("sku") or own_id(variant.get("id")),
        variant_id=own_id(variant.get("id")),
        sku=variant.get("sku"),
        name=first_of(product, ("title", "untranslatedtitle")) or variant.get("title"),
        brand=product.get("vendor"),
        category=product.get("type"),
        price=_amount(variant.get("price")),
    )


def _amount(price: object) -> Any:
    """Return the number of an amount with its currency; any other value unchanged."""
    return fold_keys(price).get("amount") if isinstance(price, dict) else price


def _currency(price: object) -> Any:
    return fold_keys(price).get("currencycode")


def _rewrite_variant(shape: Shape, variant: Mapping[str, Any]) -> bool:
    if variant:
        shape.put(products=[_variant(variant)], currency=_currency(variant.get("price")))
    return bool(variant)


def _rewrite_line(shape: Shape, line: Mapping[str, Any]) -> bool:
    if not line:
        return False
    product = _line(line)
    total = part_of(line, "cost").get("totalamount")
    shape.put(products=[product], value=_amount(total), currency=_currency(total))
    return True


def _rewrite_cart(shape: Shape, cart: Mapping[str, Any]) -> bool:
    lines = objects(cart.get("lines"))
    if not lines:
        return False
    total = part_of(cart, "cost").get("totalamount")
    shape.put(products=[_line(line) for line in lines], value=_amount(total), currency=_currency(total))
    return True


def _rewrite_collection(shape: Shape, collection: Mapping[str, Any]) -> bool:
    if not collection:
        return False
    variants = objects(collection.get("productvariants"))
    shape.put(
        contentcategory=collection.get("title"),
        products=[_variant(variant) for variant in variants],
        currency=_currency(variants[0].get("price")) if variants else None,
    )
    return True


def _rewrite_search(shape: Shape, result: Mapping[str, Any]) -> bool:
    if not result:
        return False
    variants = objects(result.get("productvariants"))
    shape.put(query=result.get("query"), products=[_variant(variant) for variant in variants])
    return True


_SHOPIFY_PIXEL = Dialect(
    "Shopify web pixel",
    _PIXEL_PARTS | {"data"},
    _rewrite_pixel,
    words(
        "checkout_completed checkout_started checkout_address_info_submitted checkout_contact_info_submitted "
        "checkout_shipping_info_submitted payment_info_submitted product_viewed product_added_to_cart "
        "product_removed_from_cart cart_viewed collection_viewed search_submitted page_viewed"
    ),
)

_ORDER_KEYS = words(
    "admingraphqlapiid currenttotalprice financialstatus totalpriceset clientdetails browserip landingsite"
)
# What a shop's theme keeps in the attributes of a cart so that the order's webhook brings it.
_KEPT = words("epik clickid pinunauth eventid")


def _rewrite_order(shape: Shape) -> bool:
    order = shape.properties
    if "lineitems" not in order or not (_ORDER_KEYS & order.keys() or "totalprice" in order):
        return False
    client = shape.part("clientdetails")
    # A checkout's name and number are not an order's, but they are its only ones.
    order_id = first_of(order, ("ordernumber", "name", "id"))
    shape.replace(
        orderid=order.get("orderid") or own_id(order_id),
        total=order.get("total")
        or first_of(order, ("totalprice", "currenttotalprice", "totalpriceset", "currenttotalpriceset")),
        products=[_order_line(line) for line in objects(order["lineitems"])],
        lineitems=None,
    )
    shape.put(
        tax=order.get("totaltax"),
        shipping=part_of(part_of(order, "totalshippingpriceset"), "shopmoney").get("amount"),
        email=order.get("contactemail"),
    )
    if order.get("sourcename") == "pos":
        # The device is the shop's.
        shape.put(actionsource="offline")
    else:
        shape.put_device(first_of(client, ("browserip",)) or order.get("browserip"), client.get("useragent"))
    for note in objects(order.get("noteattributes")):
        name = "".join(filter(str.isalnum, str(note.get("name", "")).casefold()))
        if name in _KEPT:
            shape.put(**{name: note.get("value")})
    return True


def _order_line(line: Mapping[str, Any]) -> dict[str, Any]:
    variant_id = line.get("variantid") or part_of(line, "variant").get("id")
    return present(
        product_id=own_id(line.get("productid") or part_of(line, "product").get("id"))
        or line.get("sku")
        or own_id(variant_id),
        variant_id=own_id(variant_id),
        sku=line.get("sku"),
        name=first_of(line, ("title", "name")),
        brand=line.get("vendor"),
        price=first_of(line, ("price", "discountedunitpriceset", "originalunitpriceset")),
        quantity=line.get("quantity"),
    )


def _rewrite_refund(shape: Shape) -> bool:
    refund = shape.properties
    paid_back = [
        transaction
        for transaction in objects(refund.get("transactions"))
        if transaction.get("kind") == "refund" and transaction.get("status") not in ("failure", "error")
    ]
    amount = sum((_decimal(transaction.get("amount")) for transaction in paid_back), Decimal(0))
    if "refundlineitems" not in refund or not amount:
        return False
    currency = paid_back[0].get("currency")
    parts = [part_of(line, "subtotalset") for line in objects(refund["refundlineitems"])]
    parts += [part_of(line, "amountset") for line in objects(refund.get("orderadjustments"))]
    shop = [part_of(part, "shopmoney") for part in parts]
    paid = [part_of(part, "presentmentmoney") for part in parts]
    # The order's value is in the shop's currency, and the money was paid back in the buyer's.
    paid_total = sum((_decimal(money.get("amount")) for money in paid), Decimal(0))
    if paid_total and {money.get("currencycode") for money in paid} == {currency}:
        in_shop = sum((_decimal(money.get("amount")) for money in shop), Decimal(0))
        amount, currency = round(amount * in_shop / paid_total, 2), shop[0].get("currencycode")
    shape.put(refundamount=str(amount), currency=currency)
    return True


_AMOUNT = re.compile(r"-?(\d{1,12}(?:\.\d{1,6})?)", re.ASCII)


def _decimal(amount: object) -> Decimal:
    match = _AMOUNT.fullmatch(str(amount))
    return Decimal(match[1]) if match else Decimal(0)


_SHOPIFY_REFUND = Dialect("Shopify refund", words("refundlineitems"), _rewrite_refund)
_SHOPIFY_ORDER = Dialect("Shopify order", _ORDER_KEYS | {"totalprice"}, _rewrite_order)

DIALECTS = (
    _SHOPIFY_PIXEL,
    _SHOPIFY_ORDER,
    _SHOPIFY_REFUND,
)
