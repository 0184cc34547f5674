"""Read the ids by which an event counts once, whatever its event ids: an order's, or the like."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from worker.event.dialects.rewriting import own_id, part_of
from worker.event.text import clean_text, fold_key, fold_keys

# Of an event that was cut: its `_OrderIds`, because it is no more in the shape of its system.
ORDER_IDS_KEY = "signal_order_ids"
_FOLDED_ORDER_IDS = fold_key(ORDER_IDS_KEY)
_LONGEST = 256
# By Pinterest's event name, the folded keys of the properties.
_KEYS = {
    "signup": ("userid", "customerid"),
    "lead": ("leadid",),
    "subscribe": ("subscriptionid",),
    "start_trial": ("subscriptionid", "trialid"),
}


class _OrderIds(NamedTuple):
    """The ids of one order: its id in the shop's system, the numbers that people see, and its checkout's token."""

    system_id: str | None = None
    numbers: tuple[str, ...] = ()
    checkout_token: str | None = None


def order_ids(event: Mapping[str, Any], order_id: str | None) -> _OrderIds:
    """Return the ids that an event states of its order; ``order_id`` is the one that is sent, if any.

    Only the orders and pixels of known systems say which id is which. Any other id is taken for a number.
    """
    system_id, numbers, token = _of_system(fold_keys(event.get("properties")))
    own = clean_text(own_id(system_id), _LONGEST)
    # The pixel has no number: what is sent as order id is the system's id.
    texts = (clean_text(number, _LONGEST) for number in ((order_id if order_id != own else None), *numbers))
    distinct = dict.fromkeys(number.lstrip("# ") for number in texts if number)
    return _OrderIds(own, tuple(number for number in distinct if number), clean_text(token, _LONGEST))


def _of_system(properties: Mapping[str, Any]) -> tuple[object, tuple[object, ...], object]:
    """Return the system's id, the numbers and the checkout token in an order of a shop's system or its pixel."""
    ids = properties.get(_FOLDED_ORDER_IDS)
    if isinstance(ids, list) and len(ids) == len(_OrderIds._fields) and isinstance(ids[1], list):
        return ids[0], tuple(ids[1]), ids[2]
    own = properties.get("admingraphqlapiid")
    is_shopify = type(own) is str and own.startswith("gid://shopify/Order/")
    if is_shopify or ("lineitems" in properties and "ordernumber" in properties):
        numbers = (properties.get("ordernumber"), properties.get("name"))
        return own if is_shopify else properties.get("id"), numbers, properties.get("checkouttoken")
    if "lineitems" in properties and "number" in properties:
        return properties.get("id"), (properties["number"],), None
    if "incrementid" in properties:
        return properties.get("entityid"), (properties["incrementid"],), None
    checkout = part_of(properties, "checkout") or part_of(part_of(properties, "data"), "checkout")
    if not checkout:
        return None, (properties.get("ordernumber"),), None
    order = part_of(checkout, "order")
    return order.get("id"), (order.get("name"),), checkout.get("token")


def business_id(event_name: str, event: Mapping[str, Any]) -> str | None:
    """Return the user id of a signup, the lead id of a lead, and so on; None without one."""
    keys = _KEYS.get(event_name)
    if keys is None:
        return None
    properties = fold_keys(event.get("properties"))
    values = [event.get("userId")] if event_name == "signup" else []
    values += [properties.get(key) for key in keys]
    return next((text for value in values if (text := clean_text(value, _LONGEST))), None)
