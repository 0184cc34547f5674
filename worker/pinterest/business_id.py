"""Read the id by which an event counts once, whatever its event ids: an order's, or the like."""

from collections.abc import Mapping
from typing import Any

from worker.event.dialects.rewriting import own_id
from worker.event.text import clean_text, fold_keys

_LONGEST = 256
# By Pinterest's event name, the folded keys of the properties.
_KEYS = {
    "signup": ("userid", "customerid"),
    "lead": ("leadid",),
    "subscribe": ("subscriptionid",),
    "start_trial": ("subscriptionid", "trialid"),
}


def shop_order_id(event: Mapping[str, Any]) -> str | None:
    """Return the id of a Shopify order, which the shop's web pixel sends too; None for any other event.

    What is sent as order id is the order's number, which the pixel does not know.
    """
    properties = fold_keys(event.get("properties"))
    own = properties.get("admingraphqlapiid")
    if type(own) is str and own.startswith("gid://shopify/Order/"):
        return clean_text(own_id(own), _LONGEST)
    has_both = "lineitems" in properties and "ordernumber" in properties
    return clean_text(own_id(properties.get("id")), _LONGEST) if has_both else None


def business_id(event_name: str, payload: Mapping[str, Any], event: Mapping[str, Any]) -> str | None:
    """Return the order id of a checkout, the user id of a signup, and so on; None without one."""
    if event_name == "checkout":
        order_id: str | None = (payload.get("custom_data") or {}).get("order_id")
        return shop_order_id(event) or order_id
    keys = _KEYS.get(event_name)
    if keys is None:
        return None
    properties = fold_keys(event.get("properties"))
    values = [event.get("userId")] if event_name == "signup" else []
    values += [properties.get(key) for key in keys]
    return next((text for value in values if (text := clean_text(value, _LONGEST))), None)
