"""Say what a problem in the data, or the reason of a delivery's end, means for the shop, and what to do about it."""

from collections.abc import Mapping
from typing import NamedTuple

from worker.event.problems import Problem


class ProblemText(NamedTuple):
    """Explain a kind of problem: a title, what becomes of such events, and what to do.

    A reason class has no meaning here, as each delivery has its reason. Without something to do, the text is empty.
    """

    title: str
    meaning: str
    what_to_do: str


def problem_text(kind: str | None) -> ProblemText:
    """Return the texts of a kind or a reason class. One that this version does not know gets its own name.

    Without a kind all texts are empty.
    """
    if not kind:
        return ProblemText("", "", "")
    if kind in _TEXTS:
        return _TEXTS[kind]
    unknown = (kind.replace("_", " ").capitalize(), "See the changelog of newer versions.")
    title, what_to_do = _REASON_TEXTS.get(kind, unknown)
    return ProblemText(title, "", what_to_do)


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

# Why a delivery was not made, or waits: a title, and what to do. The keys are classes of `worker.pinterest` and
# `worker.pipeline`.
_REASON_TEXTS: Mapping[str, tuple[str, str]] = {
    "refused": (
        "Pinterest refused the event",
        "If Pinterest names a field, correct it in the shop, then send the event again. If not, retry once.",
    ),
    "malformed": (
        "Pinterest could not read the event",
        "If Pinterest names a field, correct it in the shop, then send the event again. If not, retry once.",
    ),
    "unreadable": (
        "Pinterest's answer could not be read",
        "Pinterest may have received it. Look for the event in Ads Manager; retry if it is not there.",
    ),
    "rate_limited": (
        "Too many requests",
        "Lower the ad account's rate, then retry.",
    ),
    "unavailable": (
        "Pinterest was unavailable",
        "Retry once Pinterest works again. AUTO_RETRY=1 does this without you.",
    ),
    "switched_off": (
        "Pinterest has turned off the endpoint",
        "Retry once Pinterest works again. AUTO_RETRY=1 does this without you.",
    ),
    "not_reached": (
        "Pinterest could not be reached",
        "Check this machine's network and name server, then retry.",
    ),
    "no_answer": (
        "No answer: Pinterest may have received it",
        "Retry once Pinterest works again. AUTO_RETRY=1 does this without you.",
    ),
    "unexpected": (
        "Unexpected answer",
        "Read the answer: it often comes from a proxy on the way. Fix the cause, then retry.",
    ),
    "unauthorized": (
        "Invalid access token",
        "Create an access token in Ads Manager and enter it in the integration: sending resumes by itself.",
    ),
    "forbidden": (
        "The access token may not use this ad account",
        "Create a token with the scope ads:write as a user of this ad account, and enter it in the integration.",
    ),
    "no_such_account": (
        "There is no such ad account",
        "Compare the ad account id in the integration with the one in Ads Manager.",
    ),
    "account_blocked": (
        "Pinterest blocks the ad account, because of a payment or for legal reasons",
        "Open Ads Manager and clear the block. Then resume sending on the integration's page.",
    ),
    "account_refused": (
        "Pinterest refuses whatever is sent to the ad account",
        "Read Pinterest's answer and fix the cause. Then resume sending on the integration's page.",
    ),
    "not_sendable": (
        "The token or ad account id has invalid characters",
        "Enter the token and the ad account id again, without spaces and line breaks.",
    ),
    "by_hand": (
        "Paused manually",
        "Resume sending on the integration's page when the reason for the pause has ended.",
    ),
    "no_identity": (
        "Nothing identifies the visitor",
        "Send the visitor's e-mail address, or both IP address and user agent, with each event.",
    ),
    "missing_value": (
        "Value is missing",
        "Send total with every order, or price and quantity with every product. Then send this order again.",
    ),
    "missing_num_items": (
        "Number of items is missing",
        "Send num_items with every order, or quantity with every product. Then send this order again.",
    ),
    "bad_timestamp": (
        "Time not readable",
        "Send timestamp in ISO 8601, like 2024-01-29T14:53:20.000Z. Then send this event again.",
    ),
    "future": (
        "Dated in the future",
        "Correct the clock and the time zone of the system that sends it. Then send this event again.",
    ),
    "stale": (
        "Older than seven days",
        "It cannot be delivered any more. Find out what held it up, like a pause or a late export of the shop.",
    ),
    "contract": (
        "Pinterest would refuse the event",
        "Correct the named field in the shop, then send the event again.",
    ),
    "unopened": (
        "Cannot be decrypted",
        "Give every process the ENCRYPTION_KEY that was in use when the event came, then retry.",
    ),
    "unknown_outcome": (
        "Pinterest may have received it",
        "Look for it in Ads Manager. Retry if it is not there, else discard it: a copy could count twice.",
    ),
    "consent": (
        "No consent, or a crawler",
        "If the visitor did consent, check that the consent tool passes it on in the event's context.consent.",
    ),
    "unsigned": (
        "Not signed",
        "Let your server send and sign the event, or remove its name from the source's signed_only_events.",
    ),
    "refund": (
        "Refund or cancellation",
        "Nothing: Pinterest does not take sales back. The page Sales subtracts it.",
    ),
    "override": (
        "Dropped by a rule",
        "If the event should be sent, change event_overrides of the integration.",
    ),
    "duplicate": (
        "Received before",
        "Nothing, if it is the same event. If not, give each event its own event id and each order its own order id.",
    ),
    "discarded": (
        "Discarded",
        "",
    ),
}
