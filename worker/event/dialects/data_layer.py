"""Google's data layer: GA4, Enhanced Ecommerce of Universal Analytics, and Elevar's events in that form.

https://developers.google.com/analytics/devguides/collection/ga4/ecommerce
https://developers.google.com/analytics/devguides/collection/ua/gtm/enhanced-ecommerce
https://docs.getelevar.com/docs/part-4-implementing-the-checkout-funnel-events-data-layer-1
"""

from collections.abc import Mapping
from typing import Any

from worker.event.dialects.rewriting import Dialect, Shape, first_of, objects, own_id, part_of, words

# The actions of Enhanced Ecommerce, the most telling first.
_ACTIONS = ("purchase", "add", "detail", "checkout", "refund", "remove", "click", "promoclick")


def _rewrite(shape: Shape) -> bool:
    ecommerce = shape.part("ecommerce")
    if not ecommerce:
        return False
    for action in _ACTIONS:
        if part := part_of(ecommerce, action):
            _rewrite_action(shape, part)
            break
    impressions = objects(ecommerce.get("impressions"))
    shape.put(products=impressions)
    shape.lift({key: value for key, value in ecommerce.items() if key not in (*_ACTIONS, "impressions")})
    return True


def _rewrite_action(shape: Shape, part: Mapping[str, Any]) -> None:
    field = part_of(part, "actionfield")
    shape.put(
        orderid=field.pop("id", None),
        total=field.pop("revenue", None),
        contentcategory=field.pop("list", None) if "products" in part else None,
    )
    shape.lift(field)
    shape.lift({key: value for key, value in part.items() if key != "actionfield"})


_DATA_LAYER = Dialect("Google data layer", words("ecommerce"), _rewrite)

_ELEVAR = Dialect("Elevar", prefix="dl_")

_GA4 = Dialect(
    "GA4",
    names=words(
        "add_payment_info add_shipping_info add_to_cart add_to_wishlist begin_checkout generate_lead "
        "in_app_purchase purchase refund remove_from_cart search select_item sign_up view_cart view_item "
        "view_item_list view_search_results page_view screen_view first_open"
    ),
)


def _rewrite_wrapped(shape: Shape) -> bool:
    """Lift the properties out of the objects that tag managers and measurement protocols put them in."""
    parts = [part for key in sorted(_WRAPPERS) if (part := shape.part(key))]
    for part in parts:
        shape.lift(part)
    inner = shape.part("context")
    for key in ("user", "page", "device", "app"):
        if key in inner:
            shape.context.setdefault(key, inner[key])
    page = part_of(inner, "page")
    shape.put_device(inner.get("ip"), inner.get("useragent"), page.get("url"))
    return bool(parts or inner)


_WRAPPERS = words("eventmodel params parameters eventdata eventproperties properties")
_WRAPPED = Dialect("properties inside an object", _WRAPPERS | {"context"}, _rewrite_wrapped)

_HOLDS_AN_ORDER = words(
    "items products lineitems lines total totalprice grandtotal revenue value customer productitems totalpaid "
    "purchaseunits priceincl totalpriceset"
)


def _rewrite_order_inside(shape: Shape) -> bool:
    order = shape.part("order")
    if _HOLDS_AN_ORDER.isdisjoint(order):
        return False
    if _ORDER_NUMBERS.isdisjoint(order):
        shape.put(orderid=own_id(first_of(order, ("number", "id", "name"))))
    shape.lift({key: value for key, value in order.items() if key != "name"})
    return True


# What the sender calls an order's number goes before its id.
_ORDER_NUMBERS = words("orderid ordernumber orderno incrementid transactionid")


def _rewrite_webhook(shape: Shape) -> bool:
    """Lift an order out of the envelope of a webhook; what the envelope says under the same name is not the order's."""
    found = False
    if not _OUTSIDE_ENVELOPES.isdisjoint(shape.properties):
        return False
    for _ in range(_DEEPEST_ENVELOPE):
        key = next((key for key in _ENVELOPES if _is_envelope(part_of(shape.properties, key))), None)
        if key is None:
            break
        part = shape.part(key)
        shape.replace(**{key: None})
        shape.replace(**{name: part[name] for name in _OF_ENVELOPES if name in part})
        shape.lift(part)
        found = True
    return found


def _is_envelope(part: Mapping[str, Any]) -> bool:
    return not _IN_ENVELOPES.isdisjoint(part)


_DEEPEST_ENVELOPE = 3
_ENVELOPES = ("payload", "data", "content", "resource", "actionevent", "body", "object")
_IN_ENVELOPES = (_HOLDS_AN_ORDER | words("order body object amounttotal amount")) - words(
    "value revenue customer"
)
# An event that says something itself is no envelope.
_OUTSIDE_ENVELOPES = (_HOLDS_AN_ORDER | words("orderid productid price")) - words("customer")
_OF_ENVELOPES = ("id", "number", "name", "object", "status", "type")
_WEBHOOK = Dialect("order in a webhook", frozenset(_ENVELOPES), _rewrite_webhook)

_ORDER_INSIDE = Dialect("order inside an object", words("order"), _rewrite_order_inside)

DIALECTS = (
    _WRAPPED,
    _WEBHOOK,
    _ORDER_INSIDE,
    _DATA_LAYER,
    _ELEVAR,
    _GA4,
)
