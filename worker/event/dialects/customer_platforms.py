"""The events of customer data and e-mail platforms: the first version of Segment's, and Klaviyo.

https://segment.com/docs/connections/spec/ecommerce/v2/
https://developers.klaviyo.com/en/docs/guide_to_integrating_a_platform_without_a_pre_built_klaviyo_integration
"""

from worker.event.dialects.rewriting import Dialect, Shape, first_of, present, words

_SEGMENT_NAMES = (
    "Completed Order",
    "Viewed Product",
    "Added Product",
    "Removed Product",
    "Viewed Product Category",
    "Viewed Checkout Step",
    "Completed Checkout Step",
    "Added Product to Wishlist",
)
_SEGMENT = Dialect("Segment, first version", names=frozenset(_SEGMENT_NAMES))


def _rewrite_klaviyo(shape: Shape) -> bool:
    event = shape.properties
    product = present(
        product_id=first_of(event, ("addeditemproductid", "addeditemsku")),
        sku=event.get("addeditemsku"),
        name=event.get("addeditemproductname"),
        price=event.get("addeditemprice"),
        quantity=event.get("addeditemquantity"),
    )
    if product:
        # The list and the value are those of the whole cart.
        shape.replace(items=None, products=[product], value=None)
    shape.put(currency=event.get("valuecurrency"))
    for key in ("customerproperties", "profile"):
        if person := shape.part(key):
            shape.replace(**{key: None})
            shape.put(customer=person)
    return True


_KLAVIYO = Dialect(
    "Klaviyo",
    words("addeditemproductid addeditemsku itemnames customerproperties profile valuecurrency"),
    _rewrite_klaviyo,
    frozenset(("Placed Order", "Ordered Product", "Started Checkout", "Active on Site", "Added to Cart")),
)

DIALECTS = (
    _KLAVIYO,
    _SEGMENT,
)
