"""Say for each kind of problem what it means for the shop, and what to do about it."""

from collections.abc import Mapping
from typing import NamedTuple

from worker.event.problems import Problem


class ProblemText(NamedTuple):
    """Explain a kind of problem: a title, what becomes of such events, and what to do."""

    title: str
    meaning: str
    what_to_do: str


def problem_text(kind: str) -> ProblemText:
    """Return the texts of a kind. A kind that this version does not know gets its own name."""
    texts = _TEXTS.get(kind)
    return texts or ProblemText(
        kind.replace("_", " ").capitalize(), "", "See the changelog of newer versions."
    )


_TEXTS: Mapping[str, ProblemText] = {
    Problem.CONSENT_UNREADABLE: ProblemText(
        "Consent not understood",
        "The event has a consent object in which no value is understood. That counts as no consent.",
        "Send true or false under the category's name, like consent.advertising, or a known vendor's shape.",
    ),
    Problem.CURRENCY_UNREADABLE: ProblemText(
        "Currency not readable",
        "The event names a currency that is not known. It is sent without the currency.",
        "Send the three letters of ISO 4217, like EUR, as currency.",
    ),
    Problem.CURRENCY_MISSING: ProblemText(
        "Value without a currency",
        "Pinterest takes the value in the ad account's currency, which may be the wrong one.",
        "Send currency with every value: the three letters of ISO 4217.",
    ),
    Problem.VALUE_UNREADABLE: ProblemText(
        "Value not readable",
        "An amount is not a number. It is left out, and a checkout without a value is not sent.",
        "Send amounts as numbers with a decimal point, like 129.99.",
    ),
    Problem.VALUE_CONTRADICTS_PRODUCTS: ProblemText(
        "Value contradicts the products",
        "The value of the event is far from the sum of its products. The event's own value is sent.",
        "Compare both with an order in the shop: often a total is in cents, or a price is for the whole quantity.",
    ),
    Problem.VALUE_NOT_COMPUTED: ProblemText(
        "Value cannot be computed",
        "The event has no value, and its products do not all have a price and a quantity.",
        "Send total with the order, or price and quantity with every product.",
    ),
    Problem.ITEM_COUNT_UNREADABLE: ProblemText(
        "Number of items not readable",
        "The number of items is not a whole number above zero. It is counted from the products instead.",
        "Send num_items as a whole number, or leave it out and send products with their quantity.",
    ),
    Problem.ITEM_COUNT_CONTRADICTS_PRODUCTS: ProblemText(
        "Number of items contradicts the products",
        "The number of items differs from the quantities of the products.",
        "Send num_items as the sum of all quantities, or leave it out: it is counted from the products.",
    ),
    Problem.PRODUCTS_UNREADABLE: ProblemText(
        "Products not readable",
        "The products are not a list of objects. They are left out.",
        "Send products as a list of objects with product_id, price and quantity.",
    ),
    Problem.PRODUCTS_LEFT_OUT: ProblemText(
        "Products left out",
        "Some products cannot be read. The others are sent.",
        "Send an object with product_id, price and quantity for each product.",
    ),
    Problem.QUANTITY_UNREADABLE: ProblemText(
        "Quantity not readable",
        "The quantity of a product is not a whole number above zero. It is read as 1.",
        "Send quantity as a whole number, like 2.",
    ),
    Problem.ID_LOOKS_LIKE_JSON: ProblemText(
        "Id that looks like JSON",
        "An id is a JSON text or a whole object. Pinterest cannot match such a product or order.",
        "Send only the id itself, as a text or a number.",
    ),
    Problem.ID_CLEANED: ProblemText(
        "Personal data in an id",
        "An id contained an e-mail address or a phone number. That part is removed before the event is sent.",
        "Use ids that say nothing about the person, like the number of the order.",
    ),
    Problem.FIELD_UNREADABLE: ProblemText(
        "Field not readable",
        "A field has a value of the wrong kind. It is left out.",
        "Open the example and send the field as the collector's documentation describes it.",
    ),
    Problem.LIST_CUT: ProblemText(
        "List cut",
        "A list is longer than what can be sent. Value and number of items are those of the whole list.",
        "If such orders are rare, nothing. Otherwise check whether the shop repeats its products.",
    ),
    Problem.ADDRESS_INVALID: ProblemText(
        "IP address invalid",
        "The visitor's IP address cannot be read. Without it, Pinterest recognises fewer visitors.",
        "Send the visitor's address alone as context.ip, without port or other text.",
    ),
    Problem.ADDRESS_NOT_PUBLIC: ProblemText(
        "IP address not public",
        "The address belongs to a private network, so it is not the visitor's. The event is sent without it.",
        "Set TRUSTED_PROXIES to the addresses of your proxies. Servers send the visitor's address as context.ip.",
    ),
    Problem.ACTION_SOURCE_UNKNOWN: ProblemText(
        "Action source unknown",
        "The event names an action source that Pinterest does not have. It is determined from the event instead.",
        "Send web, app_android, app_ios or offline as action_source, or leave it out.",
    ),
    Problem.LOOKS_LIKE_CHECKOUT: ProblemText(
        "Custom event that looks like a checkout",
        "An event has a value and an order id, but its name is not known. Pinterest does not count it as a sale.",
        "If the event is an order, send its name as checkout: use the button here, or event_overrides.",
    ),
    Problem.CHECKOUT_INCOMPLETE: ProblemText(
        "Checkout without value or number of items",
        "Pinterest accepts the checkout, but cannot report its sales.",
        "Send total and products with every order.",
    ),
    Problem.EVENT_ID_OF_OTHER_SOURCE: ProblemText(
        "Event id of another source",
        "Two sources use the same id for different events. Pinterest may count only one of them.",
        "Use event ids that are unique, like a random id or the order's number with the shop's name.",
    ),
}
