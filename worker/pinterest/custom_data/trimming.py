"""Cut an event that is too large to be kept down to what is sent."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from worker.event import json_text
from worker.event.dialects.translate import DIALECT_KEYS, translate
from worker.event.json_in_text import open_text
from worker.event.text import clean_text, fold_key, fold_keys
from worker.pinterest.business_id import ORDER_IDS_KEY, order_ids
from worker.pinterest.custom_data.custom_data import CUT_KEY, PROPERTY_KEYS
from worker.pinterest.custom_data.items import PRODUCT_LIST_KEYS, is_product_key, read_items
from worker.pinterest.custom_data.money import MAX_AMOUNT, AmountError, format_decimal, is_blank, read_amount
from worker.pinterest.event_names.event_names import event_kind
from worker.pinterest.mapping.call import Notes

_LIST_KEYS = frozenset(
    (*PRODUCT_LIST_KEYS, "orderitems", "orderlines", "lines", "lineitem", "cart", "basket")
)
_ID_LISTS = frozenset(PROPERTY_KEYS["content_ids"])
_MOST_IDS = 500
_DEEPEST = 3
# Products beyond this number are counted, but their prices are not read: that would take too long.
_MOST_MEASURED = 20_000
_LONGEST_PART = 256
_LONGEST_OTHER = 2_048
# Read by the mapping, whatever their size.
_KEPT = frozenset(
    ("consent", "userdata", "traits", "user", "customer", "billing", "shipping", "page", "context")
)


def trim_event(event: Mapping[str, Any], most_bytes: int) -> dict[str, Any]:
    """Return the event with its value and number of items computed, and without what is not sent.

    The list of products is cut until the event fits. The result may still be larger than ``most_bytes``, if something
    else is.
    """
    trimmed = _in_our_shape(event)
    properties = trimmed.get("properties")
    if not isinstance(properties, dict) or (place := _find_list(properties, 0)) is None:
        if isinstance(properties, dict):
            trimmed["properties"] = _without_large(properties)
        return _without_large(trimmed)
    holder, key = place
    products = holder[key]
    whole = _with_sums(properties, holder, products, str(event.get("event") or ""))
    remaining = [_product(product) for product in products]
    while True:
        cut = len(products) - len(remaining)
        trimmed["properties"] = _without_large(_replaced(whole, holder, key, remaining))
        if cut:
            trimmed["properties"][CUT_KEY] = cut
        text = json_text.format_json(_without_large(trimmed))
        if len(text) <= most_bytes or not remaining:
            return _without_large(trimmed)
        remaining = remaining[: min(500, len(remaining) // 2)]


def _in_our_shape(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event of another system in our shape; what its dialect does not read keeps its key."""
    properties, context = event.get("properties"), event.get("context")
    if not isinstance(properties, dict):
        return dict(event)
    folded = fold_keys(properties)
    translation = translate(folded, context if isinstance(context, dict) else {})
    if not translation.dialects:
        return dict(event)
    unread = {
        key: value
        for key, value in properties.items()
        if translation.properties.get(folded_key := fold_key(key[:_LONGEST_PART])) is folded.get(folded_key)
        and not (folded_key in DIALECT_KEYS and type(open_text(value)) in (list, dict))
    }
    changes = {key: value for key, value in translation.properties.items() if folded.get(key) is not value}
    ids = order_ids(event, None)
    if ids.system_id or ids.checkout_token:
        changes[ORDER_IDS_KEY] = [ids.system_id, list(ids.numbers), ids.checkout_token]
    return {**event, "properties": unread | changes, "context": dict(translation.context)}


def _find_list(holder: Mapping[str, Any], depth: int) -> tuple[Mapping[str, Any], str] | None:
    """Return the object with the longest list of products, and its key."""
    candidates: list[tuple[int, Mapping[str, Any], str]] = []
    for key, value in holder.items():
        if type(value) is list and len(key) <= 64 and fold_key(key) in _LIST_KEYS:
            candidates.append((len(value), holder, key))
        elif type(value) is dict and depth < _DEEPEST and (below := _find_list(value, depth + 1)):
            candidates.append((len(below[0][below[1]]), *below))
    return max(candidates, key=lambda entry: entry[0])[1:] if candidates else None


def _replaced(
    value: Mapping[str, Any], holder: Mapping[str, Any], key: str, products: list[Any]
) -> dict[str, Any]:
    """Return an object with a list of products replaced, wherever it is."""
    if value is holder or (key in value and value[key] is holder[key]):
        return {**value, key: products}
    return {
        name: _replaced(part, holder, key, products) if type(part) is dict else part
        for name, part in value.items()
    }


def _with_sums(
    properties: Mapping[str, Any], holder: Mapping[str, Any], products: list[Any], name: str
) -> dict[str, Any]:
    """Return the properties with the value and the number of items of the whole order, where they are missing."""
    values = {
        fold_key(key): value for part in (properties, holder) for key, value in part.items() if len(key) <= 64
    }
    result = dict(properties)
    if len(products) > _MOST_MEASURED:
        return result
    currency = clean_text(next((values[key] for key in PROPERTY_KEYS["currency"] if key in values), None))
    unheard = Notes()
    items = [
        item for product in products for item in read_items({"items": [product]}, False, currency, unheard)
    ]
    if not _is_stated(values, "num_items") and items:
        result["num_items"] = sum(item.quantity or 1 for item in items)
    priced = len(items) == len(products) and all(item.price is not None for item in items)
    currencies = {item.currency for item in items}
    is_list = event_kind(name, "signal").is_list
    if not _is_stated(values, "value") and priced and len(currencies) == 1 and not is_list:
        total = sum((item.price.number * item.pieces for item in items if item.price), Decimal(0))
        if 0 <= total < MAX_AMOUNT:
            result["value"] = format_decimal(round(total, 6))
            if not currency and (own := currencies.pop()):
                result["currency"] = own
    return result


def _is_stated(values: Mapping[str, Any], field: str) -> bool:
    for key in PROPERTY_KEYS[field]:
        value = values.get(key)
        if not is_blank(value):
            try:
                read_amount(value, None)
            except AmountError:
                continue
            return True
    return False


def _product(product: Any) -> Any:
    """Return a product with the parts that may be sent."""
    if type(product) is not dict:
        return product if type(product) is not str else product[:_LONGEST_PART]
    small = {key: value for key, value in product.items() if len(key) <= 64 and _is_small(value)}
    own_parts = {key: value for key, value in small.items() if is_product_key(fold_key(key))}
    # Without a known key the product is of another shape, which the mapping may read.
    return own_parts or small


def _is_small(value: Any) -> bool:
    if type(value) is str:
        return len(value) <= _LONGEST_PART
    return type(value) not in (list, dict) or len(json_text.format_json(value)) <= _LONGEST_PART


def _without_large(holder: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object without large values that the mapping does not read: descriptions, pictures, copies of pages."""
    result: dict[str, Any] = {}
    for key, value in holder.items():
        folded = fold_key(key) if len(key) <= 64 else ""
        is_known = (
            folded in _KEPT
            or folded in _LIST_KEYS
            or folded in ("properties", "ecommerce", "checkout", "order")
        )
        if folded in _ID_LISTS and type(value) is list:
            result[key] = [id_ for id_ in value[:_MOST_IDS] if _is_small(id_)]
            continue
        if (
            is_known
            or type(value) not in (str, list, dict)
            or len(json_text.format_json(value)) <= _LONGEST_OTHER
        ):
            result[key] = value
    return result
