"""The built-in table from a shop's event names to Pinterest's."""

from dataclasses import dataclass
from typing import Literal

from worker.events.keys import fold

FieldMapping = Literal["signal", "pinterest"]

_NAMES = """
add_payment_info add_to_cart add_to_wishlist app_install app_open checkout contact custom customize_product
find_location initiate_checkout lead page_visit schedule search signup start_trial submit_application
subscribe view_category view_content watch_video
"""
PINTEREST_NAMES = frozenset(_NAMES.split())


@dataclass(frozen=True, slots=True)
class Meaning:
    """Say what an event name stands for.

    ``one_product``: its properties describe a single product. ``a_list``: its products were shown, not
    chosen, so that their prices add up to nothing.
    """

    pinterest_name: str
    one_product: bool = False
    a_list: bool = False


PAGE = Meaning("page_visit")
CUSTOM = Meaning("custom")

# What shops, Segment's and GA4's specifications and other tags call these events.
_SPELLINGS = {
    "add_payment_info": "Payment Info Entered, Payment Info Added, Payment Method Added",
    "add_to_cart": "Product Added, Added to Cart, Product Added to Cart, Add to Basket",
    "add_to_wishlist": "Product Added to Wishlist, Added to Wishlist, Wishlist Product Added, Wishlist Added",
    "app_install": "Application Installed, App Installed, First Open",
    "app_open": "Application Opened, App Opened, Session Start App",
    "checkout": "Order Completed, Product Purchased, Purchase, Purchased, Order Placed, Order Created, "
    "Checkout Completed, Purchase Completed, Transaction",
    "contact": "Contacted, Contact Us, Contact Form Submitted, Contact Requested",
    "customize_product": "Product Customized, Customized Product",
    "find_location": "Location Found, Store Located, Store Locator Used, Location Searched",
    "initiate_checkout": "Checkout Started, Begin Checkout, Checkout Initiated, Started Checkout",
    "lead": "Lead Generated, Lead Generation, Generate Lead, Lead Submitted, Lead Created",
    "page_visit": "Page Viewed, Page View, Viewed Page, Page Visited, Page, Screen View, Screen Viewed",
    "schedule": "Scheduled, Appointment Scheduled, Appointment Booked, Booking Scheduled",
    "search": "Products Searched, Searched, Product Searched, Site Searched, View Search Results",
    "signup": "Signed Up, Account Created, Complete Registration, Registration Completed, User Registered, "
    "User Signed Up",
    "start_trial": "Trial Started, Started Trial",
    "submit_application": "Application Submitted, Submitted Application",
    "subscribe": "Subscribed, Subscription Started, Subscription Created",
    "view_category": "Product List Viewed, View Item List, Category Viewed, Viewed Category, "
    "Collection Viewed",
    "view_content": "Content Viewed, Viewed Content",
    "watch_video": "Video Watched, Video Started, Video Start, Video Playback Started",
}
_PRODUCT_VIEWS = "Product Viewed, View Item, Viewed Product, Product Detail Viewed"
_ONE_PRODUCT = frozenset(("add_to_cart", "add_to_wishlist", "customize_product"))
_LISTS = frozenset(("search", "view_category"))


def _table(mapping: FieldMapping) -> dict[str, Meaning]:
    meanings = {name: Meaning(name, name in _ONE_PRODUCT, name in _LISTS) for name in PINTEREST_NAMES}
    table = {fold(name): meanings[name] for name in PINTEREST_NAMES}
    for name, spellings in _SPELLINGS.items():
        table |= dict.fromkeys(map(fold, spellings.split(", ")), meanings[name])
    view = Meaning("view_category" if mapping == "signal" else "view_content", one_product=True)
    return table | dict.fromkeys(map(fold, _PRODUCT_VIEWS.split(", ")), view)


_TABLES: dict[FieldMapping, dict[str, Meaning]] = {
    "signal": _table("signal"),
    "pinterest": _table("pinterest"),
}


def meaning_of(name: str, mapping: FieldMapping) -> Meaning:
    """Return what a caller's event name stands for; an unknown name is a custom event."""
    return _TABLES[mapping].get(fold(name), CUSTOM)
