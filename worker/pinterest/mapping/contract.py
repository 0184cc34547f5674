"""Check a payload against Pinterest's contract before it joins a batch."""

import re
from collections.abc import Mapping
from typing import Any, NoReturn

ACTION_SOURCES = ("web", "app_android", "app_ios", "offline")

# What a field may hold: a text of at most this many characters, a whole number, a word of a list, or a list of texts.
LANGUAGES: tuple[()] = ()
Limit = int | range | frozenset[str] | tuple[()]
_PIXELS, _MEGABYTES = range(30_721), range(1_048_577)
APP_INFO: Mapping[str, Limit] = {
    **dict.fromkeys(("app_id", "app_name", "app_package_name"), 200),
    **dict.fromkeys(("app_store", "app_version"), 100),
    "install_time": range(2**53),
    "user_agent": 16_384,
    **dict.fromkeys(("window_height", "window_width"), _PIXELS),
}
DEVICE_INFO: Mapping[str, Limit] = {
    "battery_level": range(101),
    **dict.fromkeys(("brand", "carrier", "kernel_version", "model", "os_name"), 100),
    **dict.fromkeys(("os_release_name", "os_version", "type"), 100),
    "cpu_cores": range(1_153),
    **dict.fromkeys(("external_storage_free_space", "external_storage_size"), _MEGABYTES),
    **dict.fromkeys(("storage_free_space", "storage_size"), _MEGABYTES),
    "form_factor": frozenset(
        ["desktop", "laptop", "cellphone", "tablet", "smartwatch", "tv", "vr", "console", "other"]
    ),
    "languages": LANGUAGES,
    "locale": 35,
    "network_type": frozenset(
        [
            "wifi",
            "cellular_2g",
            "cellular_3g",
            "cellular_4g",
            "cellular_5g",
            "cellular_6g",
            "ethernet",
            "unknown",
        ]
    ),
    "os_family": frozenset(["ios", "android", "macos", "windows", "linux", "bsd", "other"]),
    "screen_density": range(100_001),
    **dict.fromkeys(("screen_height", "screen_width"), _PIXELS),
    "timezone": 40,
    "timezone_abbr": 5,
}
_OBJECTS = {"app_info": APP_INFO, "device_info": DEVICE_INFO}
_MOST_LANGUAGES = 100

# The versions of Pinterest's API, the oldest first, and the fields that are newer than the oldest.
SCHEMA_VERSIONS = ("5.23", "5.28")
NEWER_FIELDS = {"app_info": "5.28", "device_info": "5.28", "item_brand_id": "5.28"}

_EVENT: Mapping[str, type] = {
    "event_name": str,
    "action_source": str,
    "event_time": int,
    "event_id": str,
    "event_source_url": str,
    "opt_out": bool,
    "partner_name": str,
    "user_data": dict,
    "custom_data": dict,
    "app_id": str,
    "app_name": str,
    "app_version": str,
    "device_brand": str,
    "device_carrier": str,
    "device_model": str,
    "device_type": str,
    "os_version": str,
    "language": str,
    "wifi": bool,
    "app_info": dict,
    "device_info": dict,
}
_REQUIRED = {"event_name", "action_source", "event_time", "event_id", "user_data"}
_NOTHING: Mapping[str, Any] = {}
_CUSTOM_DATA: Mapping[str, type] = {
    "currency": str,
    "value": str,
    "content_ids": list,
    "contents": list,
    "num_items": int,
    "order_id": str,
    "search_string": str,
    "content_name": str,
    "content_category": str,
    "content_brand": str,
    "predicted_ltv": str,
    "opt_out_type": str,
}
_CONTENT: Mapping[str, type] = {
    "id": str,
    "item_price": str,
    "quantity": int,
    "item_name": str,
    "item_category": str,
    "item_brand": str,
    "item_brand_id": str,
}
_HASHED = ["em", "ph", "ge", "db", "ln", "fn", "ct", "st", "zp", "country", "external_id", "hashed_maids"]
_USER_DATA: Mapping[str, type] = dict.fromkeys(_HASHED, list) | {
    "client_ip_address": str,
    "client_user_agent": str,
    "click_id": str,
    "partner_id": str,
}
_HEX_DIGITS = b"0123456789abcdef"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
# One more character than an amount may have, so that a longer text does not match.
_LONGEST_AMOUNT = 20
_AMOUNT = re.compile(r"\d{1,12}(\.\d{1,6})?", re.ASCII)


class SharedContent(dict[str, Any]):
    """What is sent of a product: events share it, and it cannot be changed, so that it is checked only once."""

    __slots__ = ("is_checked",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.is_checked = False

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("events share this object")

    __setitem__ = __delitem__ = __ior__ = update = setdefault = pop = popitem = clear = _refuse


def contract_error(payload: Mapping[str, Any]) -> str | None:
    """Return a sentence that says why Pinterest would refuse a payload, or None.

    The check is stricter than Pinterest: no value may be empty or null, and unknown keys are refused.
    """
    if not payload.keys() >= _REQUIRED:
        return f"{min(_REQUIRED - payload.keys())} is missing."
    wrong = _check_object(payload, _EVENT, "event")
    if wrong:
        return wrong
    if payload["action_source"] not in ACTION_SOURCES:
        return "action_source is not one of Pinterest's."
    if not _NAME.fullmatch(payload["event_name"]):
        return "event_name has characters that Pinterest does not accept."
    if payload["event_time"] <= 0:
        return "event_time is not a Unix time in seconds."
    wrong = _check_user_data(payload["user_data"]) or _check_custom_data(payload.get("custom_data", _NOTHING))
    return wrong or (_check_objects(payload) if "app_info" in payload or "device_info" in payload else None)


def _check_objects(payload: Mapping[str, Any]) -> str | None:
    for name, limits in _OBJECTS.items():
        for key, value in payload.get(name, _NOTHING).items():
            if key not in limits:
                return f"{name} has a key that Pinterest does not know."
            if not fits(value, limits[key]):
                return f"{key} of {name} is not a value that Pinterest accepts."
    return None


def fits(value: object, limit: Limit) -> bool:
    """Return whether a value of ``app_info`` or ``device_info`` is within its limit."""
    if isinstance(limit, int):
        return type(value) is str and 0 < len(value) <= limit
    if isinstance(limit, range):
        return type(value) is int and value in limit
    if isinstance(limit, frozenset):
        return value in limit
    return type(value) is list and 0 < len(value) <= _MOST_LANGUAGES and _all_texts(value)


def has_identity(user_data: Mapping[str, Any]) -> bool:
    """Return whether the identifiers are sufficient for Pinterest to match a person."""
    if "em" in user_data or "hashed_maids" in user_data:
        return True
    return "client_ip_address" in user_data and "client_user_agent" in user_data


def _check_object(raw: Mapping[str, Any], types: Mapping[str, type], where: str) -> str | None:
    # The usual case, in a fifth of the loop's time: an object of these keys and types has passed before.
    shape = (where, *raw, *map(type, raw.values()))
    if shape in _GOOD_SHAPES and all(raw.values()):
        return None
    wrong = _first_error(raw, types, where)
    if wrong is None and len(_GOOD_SHAPES) < _MOST_SHAPES:
        _GOOD_SHAPES.add(shape)
    return wrong


# The keys and types of objects that were right. Only values can be wrong in another object of the same shape.
_GOOD_SHAPES: set[tuple[object, ...]] = set()
_MOST_SHAPES = 4096


def _first_error(raw: Mapping[str, Any], types: Mapping[str, type], where: str) -> str | None:
    for key, value in raw.items():
        expected = types.get(key)
        if type(value) is expected:
            # No value may be empty, but false and zero are values.
            if value or expected is bool or expected is int:
                continue
            return f"{key} is empty."
        if expected is None:
            return f"{where} has a key that Pinterest does not know."
        return f"{key} must be of type {expected.__name__}."
    return None


def _check_user_data(user_data: Mapping[str, Any]) -> str | None:
    wrong = _check_object(user_data, _USER_DATA, "user_data")
    if wrong:
        return wrong
    if not has_identity(user_data):
        return "user_data must have em, hashed_maids, or both client_ip_address and client_user_agent."
    digests: list[Any] = []
    for value in user_data.values():
        if type(value) is list:
            digests += value
    return None if _are_hashes(digests) else "user_data has a value that is not a SHA-256 hash."


def _are_hashes(digests: list[Any]) -> bool:
    # Far faster than a regular expression for each: without the hex digits, only the commas remain, and a comma
    # follows each 64 of them.
    commas = "," * (len(digests) - 1)
    try:
        joined = ",".join(digests)
        rest = joined.encode().translate(None, _HEX_DIGITS)
    except (TypeError, ValueError):
        return False
    return (
        joined[64::65] == commas and len(joined) == max(65 * len(digests) - 1, 0) and rest == commas.encode()
    )


def _check_custom_data(custom_data: Mapping[str, Any]) -> str | None:
    wrong = _check_object(custom_data, _CUSTOM_DATA, "custom_data")
    if wrong:
        return wrong
    if not _all_texts(custom_data.get("content_ids", ())):
        return "content_ids must be a list of texts."
    if not _are_numbers(custom_data, "value", "num_items"):
        return "value or num_items is not a plain number above zero."
    for content in custom_data.get("contents", ()):
        is_shared = type(content) is SharedContent
        if is_shared and content.is_checked:
            continue
        if not (is_shared or type(content) is dict) or not content:
            return "contents must be a list of objects."
        wrong = _check_object(content, _CONTENT, "contents")
        if not wrong and not _are_numbers(content, "item_price", "quantity"):
            wrong = "item_price or quantity is not a plain number above zero."
        if wrong:
            return wrong
        if is_shared:
            content.is_checked = True
    return None


def _are_numbers(holder: Mapping[str, Any], amount: str, count: str) -> bool:
    return _is_amount(holder.get(amount, "0")[:_LONGEST_AMOUNT]) and holder.get(count, 1) >= 1


def _is_amount(text: str) -> bool:
    return _AMOUNT.fullmatch(text) is not None


def _all_texts(values: Any) -> bool:
    return all(values) and _TEXT.issuperset(map(type, values))


_TEXT = frozenset((str,))
