"""Decide whether Pinterest would accept well-formed events."""

import re
from collections.abc import Collection
from typing import Any

from worker.dev.sandbox.schema import HASHED_FIELDS
from worker.dev.sandbox.shapes import quoted

EVENT_NAMES = frozenset(
    {
        *("add_payment_info", "add_to_cart", "add_to_wishlist", "app_install", "app_open", "checkout"),
        *("contact", "custom", "customize_product", "find_location", "initiate_checkout", "lead"),
        *("page_visit", "schedule", "search", "signup", "start_trial", "submit_application", "subscribe"),
        *("view_category", "view_content", "watch_video"),
    }
)
_ACTION_SOURCES = frozenset({"web", "app_android", "app_ios", "offline"})
_MAX_AGE_SECONDS = 7 * 24 * 3_600
TEST_MAX_EVENTS = 20

_hashed = frozenset(HASHED_FIELDS)
_is_digest = re.compile(r"[0-9a-f]{64}").fullmatch
_is_currency = re.compile(r"[A-Z]{3}").fullmatch
_is_decimal = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?").fullmatch


def event_problem(event: dict[str, Any], names: Collection[str], now_seconds: float) -> str | None:
    """Return why Pinterest would fail a well-formed event, or None.

    Pinterest publishes the shape of an event only. What it refuses beyond that is what connectors report
    (the times) and what its documentation demands (names, sources, digests, currency, decimal strings); such
    an event fails alone, and the others of its request are processed.
    """
    return (
        _about_event(event, names, now_seconds)
        or _about_user(event["user_data"])
        or (_about_order(event["custom_data"]) if "custom_data" in event else None)
    )


def _about_event(event: dict[str, Any], names: Collection[str], now_seconds: float) -> str | None:
    if event["event_name"] not in names:
        return f"event_name {quoted(event['event_name'])} is neither a standard nor a defined event"
    if event["action_source"] not in _ACTION_SOURCES:
        return "action_source must be web, app_android, app_ios or offline"
    if not event["event_id"]:
        return "event_id must not be empty"
    if event["event_time"] > now_seconds:
        return "event_time is in the future"
    if event["event_time"] < now_seconds - _MAX_AGE_SECONDS:
        return "event_time is more than 7 days ago"
    return None


def _about_user(user: dict[str, Any]) -> str | None:
    for key, values in user.items():
        if key in _hashed:
            for value in values:
                if not _is_digest(value):
                    return f"user_data.{key} must hold SHA-256 digests of 64 lower-case hexadecimal digits"
    if user.get("em") or user.get("hashed_maids"):
        return None
    if user.get("client_ip_address") and user.get("client_user_agent"):
        return None
    return "user_data identifies nobody: em, hashed_maids, client_ip_address and client_user_agent are empty"


def _about_order(order: dict[str, Any]) -> str | None:
    currency = order.get("currency")
    if currency is not None and not _is_currency(currency):
        return "custom_data.currency must be three upper-case letters"
    for key in ("value", "predicted_ltv"):
        amount = order.get(key)
        if amount is not None and not _is_decimal(amount):
            return f"custom_data.{key} must be a plain decimal number"
    for content in order.get("contents", ()):
        price = content.get("item_price")
        if price is not None and not _is_decimal(price):
            return "custom_data.contents.item_price must be a plain decimal number"
    return None
