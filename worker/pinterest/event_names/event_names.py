"""The names of events: those that senders use, and Pinterest's name for each."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from worker.event.text import fold_key

FieldMapping = Literal["signal", "pinterest"]

_NAMES = """
add_payment_info add_to_cart add_to_wishlist app_install app_open checkout contact custom customize_product
find_location initiate_checkout lead page_visit schedule search signup start_trial submit_application
subscribe view_category view_content watch_video
"""
PINTEREST_NAMES = frozenset(_NAMES.split())


@dataclass(frozen=True, slots=True)
class EventKind:
    """What an event name means to Pinterest.

    ``one_product``: the event's properties describe a single product. ``is_list``: the event's products were shown,
    not chosen, so their prices must not be added up.
    """

    pinterest_name: str
    one_product: bool = False
    is_list: bool = False


PAGE_KIND = EventKind("page_visit")
CUSTOM_KIND = EventKind("custom")

# The names of these events in shops, in the specifications of Segment, GA4, Shopify, Klaviyo and ad platforms.
# The order of the words, their endings, and words such as "to" or "event" make no difference.
_SPELLINGS = {
    "add_payment_info": "Payment Info Entered, Payment Info Added, Payment Method Added, Payment Info Submitted, "
    "Payment Info Provided, Payment Info, Billing Info Added, Add Billing, Payment Details Added, "
    "Payment Details Entered, Payment Details Submitted",
    "add_to_cart": "Product Added, Added to Cart, Product Added to Cart, Product List Add, Cart Line Added",
    "add_to_wishlist": "Product Added to Wishlist, Added to Wishlist, Wishlist Product Added, Wishlist Added, "
    "Added to Favorites, Product Added to Favorites",
    "app_install": "Application Installed, First Open, Install",
    "app_open": "Application Opened, Session Start App, Application Launched, Activate App",
    "checkout": "Order Completed, Product Purchased, Purchase, Order Placed, Order Created, Order Submitted, "
    "Order Confirmed, Order Received, Order Paid, Order Made, Order Success, Order Processed, New Order, "
    "New Order Placed, New Order Created, Order Placed Successfully, Order Completed Successfully, "
    "Checkout Completed, Checkout Success, Checkout Order Placed, Checkout Order Created, Purchase Completed, "
    "Purchase Success, Purchase Confirmed, Purchase Made, New Purchase, Product Purchase Completed, "
    "In App Purchase, Transaction, Transaction Completed, Transaction Success, Payment Completed, "
    "Sales Order Placed, Sales Order Place After, Order Created Store, Validate Order Action, Thank You Page Order",
    "contact": "Contacted, Contact Us, Contact Form Submitted, Contact Requested",
    "customize_product": "Product Customized",
    "find_location": "Location Found, Store Located, Store Locator Used, Store Locator Viewed, "
    "Store Locator Opened, Store Finder Used, Location Searched, Store Found",
    "initiate_checkout": "Checkout Started, Checkout Created, Checkout Entered, Proceed to Checkout",
    "lead": "Lead Generated, Lead Generation, Lead Submitted, Lead Created, New Lead, Lead Form Submitted, "
    "Lead Captured",
    "page_visit": "Page Viewed, Page Visited, Page, Screen Viewed, Page Loaded, Active on Site",
    "schedule": "Scheduled, Appointment Scheduled, Appointment Booked, Booking Scheduled, Appointment Created",
    "search": "Products Searched, Searched, Site Searched, Search Results Viewed, Search Submitted, "
    "Search Performed, Search Made, Products Search Performed",
    "signup": "Signed Up, Account Created, New Account Created, Complete Registration, Registered, Registration, "
    "User Registered, Account Registered, User Signed Up, Sign Up Completed, Customer Created, "
    "Customer Registered, User Created, User Registration Completed, Account Signed Up, New Account",
    "start_trial": "Trial Started, Free Trial Started",
    "submit_application": "Application Submitted",
    "subscribe": "Subscribed, Subscription Started, Subscription Created, New Subscription, "
    "Subscription Activated, Subscription Purchased",
    "view_category": "Product List Viewed, Category Viewed, Product Category Viewed, Collection Viewed, List Viewed, "
    "Category Page Viewed, Collection Page Viewed, Product List Page Viewed, Product Collection Viewed",
    "view_content": "Content Viewed",
    "watch_video": "Video Watched, Video Viewed, Video Started, Video Playback Started, Video Played",
}
_PRODUCT_VIEWS = (
    "Product Viewed, Product Detail Viewed, Product Page Viewed, Product Detail Page Viewed, Product Detail"
)
# Names whose words alone say less, or something else: of Adobe, Enhanced Ecommerce, TikTok, Matomo and webhooks.
_EXACT = {
    "add_to_cart": "scAdd, eec.add, cartlines/add, gtm4wp.addProductToCartEEC, Wishlist Product Added to Cart",
    "checkout": "eec.purchase, gtm4wp.orderCompletedEEC, trackEcommerceOrder, ecommerceOrder, "
    "woocommerce_thankyou, PlaceAnOrder, checkout_onepage_controller_success_action, checkout.session.completed, "
    "wix.ecom.v1.order_approved, order_approved",
    "initiate_checkout": "commerce.checkouts, scCheckout, eec.checkout, gtm4wp.checkoutStepEEC",
    "lead": "SubmitForm",
    "view_category": "eec.impressionView, eec.impression",
}
_EXACT_PRODUCT_VIEWS = "eec.detail, gtm4wp.changeDetailViewEEC"
_ONE_PRODUCT = frozenset(("add_to_cart", "add_to_wishlist", "customize_product"))
_LISTS = frozenset(("search", "view_category"))

# Words that say where or how an event was recorded, not what happened.
_FILLER_WORDS = """
a an the to of your my our on us with for event events dl ga ga4 gtm ee eec ecommerce commerce fb mobile tt af pixel web
amplitude mixpanel posthog
website server client offline online tracked track shopify woocommerce magento klaviyo segment
"""
_FILLERS = frozenset(_FILLER_WORDS.split())
_FORMS = """
activate activated; add added adding adds addition; application app apps; begin start started starts begun began
initiate initiated initiates starting initiation; capture captured; cart bag basket trolley; checkout checkouts;
complete completed completes completion finished finish done; confirm confirmed confirmation; contact contacted
contacts; create created creates creation; custom customize customized customise customised customization customisation;
customer customers; detail details; enter entered; event events; favorite favorites favourite favourites;
find found finder; generate generated generation generates; info information; install installed installs;
launch launched; lead leads; load loaded; locate located; make made; open opened opens; order orders ordered;
page pages; paid pay; payment payments; perform performed; place placed places; play played plays;
process processed; product products item items prod; purchase purchased purchases buy bought; receive received;
register registered registration registrations; request requested; result results; schedule scheduled book booked;
screen screens; search searched searches searching; sale sales; signup signups signed;
submit submitted submits submission; subscribe subscribed subscribes; subscription subscriptions;
success successful successfully succeeded; use used; user users; video videos; view viewed views viewing;
visit visited visits; watch watched
"""
_STEM_OF = {word: row.split()[0] for row in _FORMS.split(";") if row.strip() for word in row.split()}
# Words that are written as one or as two.
_JOINED = {
    ("sign", "up"): "signup",
    ("signed", "up"): "signup",
    ("wish", "list"): "wishlist",
    ("check", "out"): "checkout",
}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", re.ASCII)
_VOCABULARY = frozenset(
    word.lower()
    for text in (
        " ".join(_SPELLINGS.values()),
        _PRODUCT_VIEWS,
        " ".join(_STEM_OF),
        " ".join(_FILLERS),
        _NAMES,
    )
    for word in _WORD.findall(text)
)
_LONGEST, _LONGEST_WORD = 100, 40


# Cached, because a shop has few names of its own.
@lru_cache(maxsize=4096)
def _stems(name: str) -> frozenset[str]:
    """Return the words of a name without their endings and without fillers, in no order."""
    words: list[str] = []
    for part in _WORD.findall(name):
        for word in _split(part.lower()):
            pair = _JOINED.get((words[-1], word)) if words else None
            words[-1:] = [pair] if pair else [*words[-1:], word]
    return frozenset(_STEM_OF.get(word, word) for word in words if word not in _FILLERS)


def _split(word: str) -> list[str]:
    """Return the known words that a name such as ``begincheckout`` is made of, as few as possible."""
    if word in _VOCABULARY or len(word) > _LONGEST_WORD:
        return [word]
    best: list[list[str]] = [[]]
    for end in range(1, len(word) + 1):
        parts = [
            [*best[start], word[start:end]]
            for start in range(end)
            if (best[start] or not start) and word[start:end] in _VOCABULARY
        ]
        best.append(min(parts, key=len, default=[]))
    return best[-1] or [word]


def _kinds(mapping: FieldMapping) -> dict[str, tuple[EventKind, str, str]]:
    """Return each kind with its names, and with the names that count only as they are."""
    kinds = {
        name: (
            EventKind(name, name in _ONE_PRODUCT, name in _LISTS),
            _SPELLINGS.get(name, name),
            _EXACT.get(name, ""),
        )
        for name in sorted(PINTEREST_NAMES)
    }
    view = EventKind("view_category" if mapping == "signal" else "view_content", one_product=True)
    return kinds | {"": (view, _PRODUCT_VIEWS, _EXACT_PRODUCT_VIEWS)}


def _table(mapping: FieldMapping) -> dict[str, EventKind]:
    table: dict[str, EventKind] = {}
    for name, (kind, spellings, exact) in _kinds(mapping).items():
        for spelling in filter(None, (name, *spellings.split(", "), *exact.split(", "))):
            table.setdefault(fold_key(spelling), kind)
    return table


def _stem_table(mapping: FieldMapping) -> dict[frozenset[str], EventKind]:
    table: dict[frozenset[str], EventKind] = {}
    for name, (kind, spellings, _) in _kinds(mapping).items():
        for spelling in (name.replace("_", " "), *spellings.split(", ")):
            if stems := _stems(spelling):
                table.setdefault(stems, kind)
    return table


_TABLES: dict[FieldMapping, dict[str, EventKind]] = {
    "signal": _table("signal"),
    "pinterest": _table("pinterest"),
}
_STEM_TABLES: dict[FieldMapping, dict[frozenset[str], EventKind]] = {
    "signal": _stem_table("signal"),
    "pinterest": _stem_table("pinterest"),
}


def event_kind(name: str, mapping: FieldMapping) -> EventKind:
    """Return the kind of an event by the sender's name; an unknown name is a custom event."""
    return _TABLES[mapping].get(fold_key(name)) or _kind_by_words(name, mapping)


def _kind_by_words(name: str, mapping: FieldMapping) -> EventKind:
    if len(name) > _LONGEST or not name.isascii():
        return CUSTOM_KIND
    return _STEM_TABLES[mapping].get(_stems(name), CUSTOM_KIND)


# Words of events about an order that was, or should have been, reported before.
_LATER_WORDS = """
refund refunded refunds cancel cancelled canceled cancellation return returned update updated edit edited fulfill
fulfilled fulfilment fulfillment ship shipped shipment deliver delivered delivery fail failed abandoned abandon delete
deleted remove removed step void voided chargeback dispute draft invoice archive archived
"""
_LATER = frozenset(_LATER_WORDS.split())
# Klaviyo reports every line of an order with an event of its own.
_ONE_LINE = frozenset(("order", "product"))


def may_be_an_order(name: str) -> bool:
    """Return whether a name could be that of an order: it says nothing of a refund, a delivery or a single line."""
    stems = _stems(name[:_LONGEST])
    return stems != _ONE_LINE and _LATER.isdisjoint(stems)
