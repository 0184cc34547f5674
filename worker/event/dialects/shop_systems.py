"""The orders of shop systems and payment services, in webhooks and APIs: WooCommerce, and a table of others.

https://woocommerce.github.io/woocommerce-rest-api-docs/#order-properties
https://shopify.dev/docs/api/ajax/reference/cart
https://docs.stripe.com/api/checkout/sessions/object
https://docs.commercetools.com/api/projects/orders
https://developer.bigcommerce.com/docs/rest-management/orders
https://docs.saleor.io/developer/extending/webhooks/synchronous-events/order
https://developer.salesforce.com/docs/commerce/commerce-api/references/orders
https://devdocs.prestashop-project.org/8/webservice/resources/orders/
https://developers.squarespace.com/commerce-apis/orders-overview
https://dev.wix.com/docs/rest/api-reference/wix-e-commerce/orders/order-approved
https://developers.vtex.com/docs/api-reference/orders-api
https://developer.paypal.com/docs/api/orders/v2/
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any

from worker.event.dialects.rewriting import Dialect, Shape, first_of, objects, own_id, part_of, present, words

_WOO_KEYS = words("customeripaddress customeruseragent orderkey datecreatedgmt createdvia parentid")
_KEPT = words("epik clickid pinunauth eventid")


def _rewrite_woocommerce(shape: Shape) -> bool:
    order = shape.properties
    if "lineitems" not in order or not (_WOO_KEYS & order.keys() or "billing" in order):
        return False
    shape.replace(
        orderid=order.get("orderid") or first_of(order, ("number", "id")),
        products=[_woo_product(line) for line in objects(order["lineitems"])],
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


def _woo_product(line: Mapping[str, Any]) -> dict[str, Any]:
    return present(
        product_id=line.get("productid") or line.get("sku"),
        variant_id=line.get("variationid") or None,
        sku=line.get("sku"),
        name=first_of(line, ("parentname", "name")),
        price=line["price"] if line.get("price") is not None else _woo_price(line),
        quantity=line.get("quantity"),
    )


def _woo_price(line: Mapping[str, Any]) -> str | None:
    """Return the price of one piece: orders of the first versions of the API have only the line's total."""
    try:
        total, quantity = Decimal(str(line.get("total"))), Decimal(str(line.get("quantity")))
        return f"{total / quantity:.2f}" if total.is_finite() and 0 < quantity < 1_000_000 else None
    except (InvalidOperation, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class _System:
    """Where the orders of a system have what: for each field paths of folded keys, the best first.

    An order has one of ``signs`` and all of ``marks``; ``kinds``: what it may call its kind of object. ``units``: how
    many of the units in which whole numbers are make one of the currency; "minor" means as many as the currency has.
    ``ids``: how the ids of the order and of its lines begin where units count.
    """

    name: str
    signs: str
    marks: str
    fields: Mapping[str, str]
    lines: str = ""
    line: Mapping[str, str] = field(default_factory=dict)
    units: int | str | None = None
    ids: tuple[str, str] = ("", "")
    kinds: str = ""


_SYSTEMS = (
    # Shopify's cart has hundredths in all currencies, also in those without decimals.
    _System(
        "Shopify cart",
        "itemssubtotalprice originaltotalprice",
        "items totalprice",
        {"total": "totalprice"},
        "items",
        {"product_id": "productid", "name": "producttitle", "price": "finalprice price"},
        100,
    ),
    _System(
        "Shopify cart",
        "finallineprice",
        "variantid productid",
        {"value": "finallineprice"},
        ".",
        {
            "product_id": "productid",
            "variant_id": "variantid",
            "price": "finalprice price",
            "quantity": "quantity",
        },
        100,
    ),
    _System(
        "Stripe",
        "amounttotal amountreceived amountcaptured amountdue",
        "object",
        {
            "total": "amounttotal amountpaid amountreceived amountcaptured",
            "orderid": "metadata.orderid clientreferenceid",
            "customer": "customerdetails billingdetails",
            "email": "customeremail receiptemail",
            "tax": "totaldetails.amounttax",
            "shipping": "totaldetails.amountshipping",
            "refundamount": "amountrefunded",
        },
        "lineitems.data lines.data",
        {"product_id": "price.product", "price": "price.unitamount", "name": "description"},
        "minor",
        kinds="checkout.session payment_intent charge invoice",
    ),
    _System(
        "VTEX",
        "storepreferencesdata clientprofiledata",
        "items value",
        {
            "total": "value",
            "currency": "storepreferencesdata.currencycode",
            "customer": "clientprofiledata",
            "shippingaddress": "shippingdata.address",
        },
        "items",
        {"product_id": "productid", "sku": "id", "price": "sellingprice price"},
        100,
    ),
    _System(
        "Sylius",
        "itemstotal",
        "tokenvalue total",
        {"total": "total", "orderid": "number", "tax": "taxtotal", "shipping": "shippingtotal"},
        "items",
        {"product_id": "variant.code productcode variant", "price": "unitprice"},
        "minor",
    ),
    _System(
        "Vendure",
        "totalwithtax",
        "lines code currencycode",
        {"total": "totalwithtax", "orderid": "code", "shipping": "shippingwithtax"},
        "lines",
        {
            "product_id": "productvariant.product.id productvariant.productid productvariant.id",
            "variant_id": "productvariant.id",
            "sku": "productvariant.sku",
            "price": "unitpricewithtax unitprice",
        },
        "minor",
    ),
    # Its first version has minor units, and other ids of lines.
    _System(
        "Medusa",
        "displayid",
        "items currencycode",
        {"orderid": "displayid", "total": "total", "tax": "taxtotal", "shipping": "shippingtotal"},
        "items",
        {"product_id": "productid variant.productid", "variant_id": "variantid", "price": "unitprice"},
        "minor",
        ("order_", "item_"),
    ),
    _System(
        "commercetools",
        "taxedprice orderstate",
        "lineitems totalprice",
        {"total": "taxedprice.totalgross totalprice", "email": "customeremail", "tax": "taxedprice.totaltax"},
        "lineitems",
        {"product_id": "productid", "sku": "variant.sku", "price": "price.discounted.value price.value"},
    ),
    _System(
        "Saleor",
        "useremail",
        "lines total",
        {"total": "total.gross", "orderid": "number", "email": "useremail", "tax": "total.tax"},
        "lines",
        {
            "product_id": "variant.product.id productsku",
            "variant_id": "variant.id",
            "sku": "productsku",
            "price": "unitprice.gross",
        },
    ),
    # The price of a line is that of all pieces.
    _System(
        "Salesforce Commerce Cloud",
        "productitems",
        "",
        {"customer": "customerinfo", "tax": "taxtotal", "shipping": "shippingtotal"},
        "productitems",
        {"product_id": "productid", "price": "baseprice"},
    ),
    _System(
        "PrestaShop",
        "associations",
        "totalpaid",
        {"total": "totalpaidtaxincl totalpaid", "orderid": "reference id"},
        "associations.orderrows.orderrow associations.orderrows",
        {
            "product_id": "productid",
            "variant_id": "productattributeid",
            "price": "unitpricetaxincl productprice",
        },
    ),
    _System(
        "Shopware",
        "ordercustomer",
        "lineitems",
        {
            "total": "amounttotal price.totalprice",
            "currency": "currency.isocode",
            "orderid": "ordernumber",
            "customer": "ordercustomer",
            "ip": "ordercustomer.remoteaddress",
        },
        "lineitems",
        {"product_id": "productid referencedid", "sku": "payload.productnumber", "price": "unitprice"},
    ),
    _System(
        "BigCommerce",
        "totalinctax",
        "statusid",
        {"orderid": "id", "numitems": "itemstotal", "ip": "ipaddress", "shipping": "shippingcostinctax"},
        "products",
        {"product_id": "productid", "price": "priceinctax"},
    ),
    _System(
        "Squarespace",
        "createdon",
        "lineitems ordernumber customeremail",
        {"total": "grandtotal totals.grandtotal"},
        "lineitems",
        {"product_id": "productid sku", "price": "unitpricepaid"},
    ),
    _System(
        "Wix",
        "pricesummary",
        "lineitems",
        {
            "total": "pricesummary.total",
            "orderid": "number",
            "email": "buyerinfo.email",
            "customer": "billinginfo.contactdetails",
            "billingaddress": "billinginfo.address",
            "tax": "pricesummary.tax",
            "shipping": "pricesummary.shipping",
        },
        "lineitems",
        {"product_id": "catalogreference.catalogitemid", "name": "productname.original", "price": "price"},
    ),
    _System(
        "Ecwid",
        "usdtotal billingperson",
        "items",
        {"billingaddress": "billingperson", "shippingaddress": "shippingperson", "ip": "ipaddress"},
    ),
    _System(
        "Snipcart",
        "finalgrandtotal",
        "items",
        {"total": "finalgrandtotal", "orderid": "invoicenumber"},
        "items",
        {"product_id": "id"},
    ),
    _System(
        "PayPal",
        "purchaseunits",
        "",
        {
            "total": "purchaseunits.amount",
            "orderid": "id",
            "customer": "payer",
            "shippingaddress": "purchaseunits.shipping.address",
        },
        "purchaseunits.items",
        {"price": "unitamount"},
    ),
    _System(
        "Spree",
        "itemtotal",
        "lineitems number",
        {"orderid": "number", "billingaddress": "billaddress", "shippingaddress": "shipaddress"},
        "lineitems",
        {"product_id": "variant.productid variantid"},
    ),
    _System(
        "mParticle",
        "productaction",
        "",
        {
            "total": "productaction.totalamount",
            "orderid": "productaction.transactionid",
            "tax": "productaction.taxamount",
            "shipping": "productaction.shippingamount",
        },
        "productaction.products productaction.productlist",
        {"product_id": "id sku"},
    ),
    _System(
        "Customer Experience Digital Data Layer",
        "transaction",
        "",
        {
            "total": "transaction.total.transactiontotal transaction.total.pricewithtax",
            "currency": "transaction.total.currency",
            "orderid": "transaction.transactionid",
        },
        "transaction.item",
        {"product_id": "productinfo.productid productinfo.sku", "price": "price.baseprice"},
    ),
    _System(
        "AppsFlyer",
        "afrevenue afprice afcontentid afcontent",
        "",
        {
            "value": "afrevenue",
            "currency": "afcurrency",
            "orderid": "aforderid afreceiptid",
            "products": "afcontent",
            "productid": "afcontentid",
            "price": "afprice",
            "quantity": "afquantity",
        },
    ),
    _System("Tiendanube", "contactemail", "number products", {"orderid": "number", "email": "contactemail"}),
)
_AMOUNTS = frozenset(("total", "value", "tax", "shipping", "price", "refundamount"))
# Lines of an order that are no products.
_NO_PRODUCTS = frozenset(("promotion", "discount", "credit", "shipping", "fee"))


def _rewrite_order(system: _System, shape: Shape) -> bool:
    order = shape.properties
    if not words(system.marks) <= order.keys():
        return False
    if system.kinds and order.get("object") not in system.kinds.split():
        return False
    lines = [
        line
        for line in objects(_at(order, system.lines))
        if str(line.get("type")).lower() not in _NO_PRODUCTS
    ]
    if system.lines == ".":
        lines = [order]
    units = system.units
    starts = [(order, system.ids[0]), *((line, system.ids[1]) for line in lines)]
    if not all(str(part.get("id")).startswith(start) for part, start in starts):
        units = None
    values = {name: _in_units(name, _at(order, paths), units) for name, paths in system.fields.items()}
    if not (present(**values) or lines):
        return False
    if order.get("orderid"):
        # The sender has our name for it, too.
        values.pop("orderid", None)
    shape.put_device(values.pop("ip", None), None)
    products = [_line(system, line, units) for line in lines]
    # These may hold what is no product, such as a discount.
    shape.replace(**{key: None for key in _LISTS if key in order and products})
    shape.replace(**present(**(values | present(products=products))))
    return True


_LISTS = ("items", "lineitems", "lines", "products")


def _line(system: _System, line: Mapping[str, Any], units: int | str | None) -> dict[str, Any]:
    own = {name: _in_units(name, _at(line, paths), units) for name, paths in system.line.items()}
    if system.lines == ".":
        return present(**own)
    # The id of a line is not the product's, and an object in it would take precedence over these.
    plain = {key: value for key, value in line.items() if type(value) is not dict}
    if present(**own).keys() & {"product_id", "sku"}:
        plain.pop("id", None)
    return plain | present(**own)


def _at(holder: Mapping[str, Any], paths: str) -> Any:
    """Return what is at the first path that leads to something; the first entry of a list on the way counts."""
    for path in paths.split():
        value: Any = holder
        for step in path.split("."):
            entries = objects(value) if type(value) is list else []
            value = part_of({"": entries[0] if entries else value}, "").get(step)
        if value not in (None, "", [], {}):
            return own_id(value)
    return None


def _in_units(name: str, amount: Any, units: int | str | None) -> Any:
    """Return an amount that is a whole number in the units of the currency; any other value unchanged."""
    if units is None or name not in _AMOUNTS or type(amount) is not int or abs(amount) >= _LARGEST:
        return amount
    return {"cents": amount} if isinstance(units, str) else str(Decimal(amount) / units)


_LARGEST = 10**15

DIALECTS = (
    Dialect("WooCommerce order", _WOO_KEYS | {"billing"}, _rewrite_woocommerce),
    *(Dialect(system.name, words(system.signs), partial(_rewrite_order, system)) for system in _SYSTEMS),
)
