"""The kinds of problems in a shop's data that are counted per source."""

from enum import StrEnum
from typing import NamedTuple


class Problem(StrEnum):
    """One kind of problem. The values are stored and shown by the API, so they do not change."""

    CONSENT_UNREADABLE = "consent_unreadable"
    CURRENCY_UNREADABLE = "currency_unreadable"
    CURRENCY_MISSING = "currency_missing"
    VALUE_UNREADABLE = "value_unreadable"
    VALUE_CONTRADICTS_PRODUCTS = "value_contradicts_products"
    VALUE_NOT_COMPUTED = "value_not_computed"
    ITEM_COUNT_UNREADABLE = "item_count_unreadable"
    ITEM_COUNT_CONTRADICTS_PRODUCTS = "item_count_contradicts_products"
    PRODUCTS_UNREADABLE = "products_unreadable"
    PRODUCTS_LEFT_OUT = "products_left_out"
    QUANTITY_UNREADABLE = "quantity_unreadable"
    ID_LOOKS_LIKE_JSON = "id_looks_like_json"
    ID_CLEANED = "id_cleaned"
    FIELD_UNREADABLE = "field_unreadable"
    LIST_CUT = "list_cut"
    ADDRESS_INVALID = "address_invalid"
    ADDRESS_NOT_PUBLIC = "address_not_public"
    ACTION_SOURCE_UNKNOWN = "action_source_unknown"
    LOOKS_LIKE_CHECKOUT = "looks_like_checkout"
    CHECKOUT_INCOMPLETE = "checkout_incomplete"
    EVENT_ID_OF_OTHER_SOURCE = "event_id_of_other_source"


class FoundProblem(NamedTuple):
    """Hold a problem in an event's data: its kind, the sentence about this event, and the proxy's private address."""

    kind: Problem
    sentence: str = ""
    address: str | None = None
