"""Check a request's body against Pinterest's published contract, and each event against its unwritten rules."""

import json
import re
from collections.abc import Callable, Collection, Mapping
from types import NoneType
from typing import Any, NamedTuple, NoReturn

# Of Pinterest's API, whose fields are known here.
_VERSION = "5.28"

Check = Callable[[Any], str | None]
"""Checks a value of the right type; returns the problem, starting with its path, or None."""


class _Field(NamedTuple):
    """What a key may hold."""

    types: tuple[type, ...]
    words: str
    inside: Check | None = None


def _object_check(
    fields: Mapping[str, _Field],
    *,
    required: Collection[str] = (),
    closed: bool = True,
    rule: Callable[[Collection[str]], str | None] | None = None,
) -> Check:
    """Check an object key by key; `rule` has a last word on which keys are there.

    A closure over one plain table, because this runs for every key of every event.
    """
    required_keys = frozenset(required)
    # Nearly every value is of its key's first type; what is not listed here has an inside to check.
    types = {key: field.types[0] for key, field in fields.items() if not field.inside}

    def mismatch(key: str, item: object) -> str | None:
        field = fields.get(key)
        if field is None:
            return f" has an unknown field {_quoted(key)} (version {_VERSION})" if closed else None
        if type(item) not in field.types:
            return f".{key} must be {field.words}"
        problem = field.inside(item) if field.inside else None
        return problem and f".{key}{problem}"

    def check(value: dict[str, Any]) -> str | None:
        for key, item in value.items():
            if type(item) is not types.get(key):
                problem = mismatch(key, item)
                if problem:
                    return problem
        if required_keys and not required_keys <= value.keys():
            return f".{min(required_keys - value.keys())} is required"
        return rule(value.keys()) if rule else None

    return check


def _quoted(text: str) -> str:
    """Quote untrusted text for a message, cut to a suitable length."""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def _text_field(max_length: int | None = None) -> _Field:
    """Describe a string of at most ``max_length`` code points."""

    def too_long(value: str) -> str | None:
        return f" must have at most {max_length} characters" if len(value) > (max_length or 0) else None

    return _Field((str,), "a string", too_long if max_length else None)


def _integer_field(minimum: int, maximum: int | None = None) -> _Field:
    """Describe an integer within a range. Booleans and 1.0 are not integers."""

    def out_of_range(value: int) -> str | None:
        if value < minimum:
            return f" must be at least {minimum}"
        return f" must be at most {maximum}" if maximum is not None and value > maximum else None

    return _Field((int,), "an integer", out_of_range)


def _enum_field(*choices: str) -> _Field:
    """Describe a string out of a closed list."""
    values = frozenset(choices)

    def unknown(value: str) -> str | None:
        return None if value in values else f" must be one of {', '.join(choices)}"

    return _Field((str,), "a string", unknown)


def _strings(max_items: int | None = None) -> _Field:
    """Describe a list of strings."""

    def not_strings(values: list[Any]) -> str | None:
        if max_items is not None and len(values) > max_items:
            return f" must have at most {max_items} items"
        for value in values:
            if type(value) is not str:
                return f"[{values.index(value)}] must be a string"
        return None

    return _Field((list,), "a list of strings", not_strings)


def _list_of(check: Check) -> Check:
    """Check each item of a list to be an object of a kind."""

    def not_objects(values: list[Any]) -> str | None:
        for position, value in enumerate(values):
            if type(value) is not dict:
                return f"[{position}] must be an object"
            problem = check(value)
            if problem is not None:
                return f"[{position}]{problem}"
        return None

    return not_objects


def _objects(check: Check) -> _Field:
    """Describe a list of objects."""
    return _Field((list,), "a list of objects", _list_of(check))


def _object_(check: Check) -> _Field:
    """Describe an object."""
    return _Field((dict,), "an object", check)


_STRING = _text_field()
_STRING_OR_NULL = _Field((str, NoneType), "a string or null")
_INTEGER = _Field((int,), "an integer")
_INTEGER_OR_NULL = _Field((int, NoneType), "an integer or null")
_BOOLEAN = _Field((bool,), "true or false")
_STRINGS = _strings()


_MAX_EVENTS = 1_000

# Arrays of SHA-256 digests, by Pinterest's own rules.
_HASHED_FIELDS = (
    *("em", "ph", "ge", "db", "ln", "fn", "ct", "st", "zp", "country"),
    *("external_id", "hashed_maids"),
)


def _identity(keys: Collection[str]) -> str | None:
    if (
        "em" in keys
        or "hashed_maids" in keys
        or ("client_ip_address" in keys and "client_user_agent" in keys)
    ):
        return None
    return " must have em, or hashed_maids, or client_ip_address and client_user_agent"


def _each(names: str, field: _Field) -> dict[str, _Field]:
    return dict.fromkeys(names.split(), field)


_user_data = _object_check(
    {
        **dict.fromkeys(_HASHED_FIELDS, _STRINGS),
        **_each("client_ip_address client_user_agent", _STRING),
        **_each("click_id partner_id", _STRING_OR_NULL),
    },
    closed=False,
    rule=_identity,
)

_content = _object_check(
    {**_each("id item_brand item_brand_id item_category item_name item_price", _STRING), "quantity": _INTEGER}
)

_custom_data = _object_check(
    {
        **_each("content_brand content_category content_name currency np opt_out_type", _STRING_OR_NULL),
        **_each("external_measurement_id order_id predicted_ltv search_string value", _STRING_OR_NULL),
        "content_ids": _STRINGS,
        "contents": _objects(_content),
        "external_measurement_vendor_id": _INTEGER_OR_NULL,
        "num_items": _INTEGER,
    }
)

_app_info = _object_check(
    {
        **_each("app_id app_name app_package_name", _text_field(200)),
        **_each("app_store app_version", _text_field(100)),
        "install_time": _integer_field(0),
        "user_agent": _text_field(16_384),
        **_each("window_height window_width", _integer_field(0, 30_720)),
    }
)

_FORM_FACTORS = ("desktop", "laptop", "cellphone", "tablet", "smartwatch", "tv", "vr", "console", "other")
_CELLULAR = ("cellular_2g", "cellular_3g", "cellular_4g", "cellular_5g", "cellular_6g")

_device_info = _object_check(
    {
        "battery_level": _integer_field(0, 100),
        "cpu_cores": _integer_field(0, 1_152),
        **_each(
            "brand carrier kernel_version model os_name os_release_name os_version type", _text_field(100)
        ),
        **_each("external_storage_free_space external_storage_size", _integer_field(0, 1_048_576)),
        **_each("storage_free_space storage_size", _integer_field(0, 1_048_576)),
        "form_factor": _enum_field(*_FORM_FACTORS),
        "languages": _strings(100),
        "locale": _text_field(35),
        "network_type": _enum_field("wifi", *_CELLULAR, "ethernet", "unknown"),
        "os_family": _enum_field("ios", "android", "macos", "windows", "linux", "bsd", "other"),
        "screen_density": _integer_field(0, 100_000),
        **_each("screen_height screen_width", _integer_field(0, 30_720)),
        "timezone": _text_field(40),
        "timezone_abbr": _text_field(5),
    }
)

_event = _object_check(
    {
        **_each("action_source event_id event_name", _STRING),
        "event_time": _INTEGER,
        **_each("opt_out wifi", _BOOLEAN),
        **_each("app_id app_name app_version device_brand device_carrier device_model", _STRING_OR_NULL),
        **_each("device_type event_source_url language os_version partner_name", _STRING_OR_NULL),
        "user_data": _object_(_user_data),
        "custom_data": _object_(_custom_data),
        "app_info": _object_(_app_info),
        "device_info": _object_(_device_info),
    },
    required=("event_name", "action_source", "event_time", "user_data", "event_id"),
)

_check_events = _list_of(_event)


class Reading(NamedTuple):
    """A parsed body: its events, or what is wrong with it."""

    events: list[dict[str, Any]]
    problem: str | None = None


def parse_body(body: bytes) -> Reading:
    """Parse and check a body; one thing wrong anywhere and the whole request is refused.

    Stricter than the published JSON Schema in one point: 1.0 is no integer.
    """
    try:
        root = _DECODER.decode(body.decode())
    except (ValueError, RecursionError):
        # A UnicodeDecodeError is a ValueError too; what they say quotes the body, so it is not passed on.
        return Reading([], "The body must be JSON in UTF-8")
    problem = _check_root(root)
    return Reading([], problem) if problem else Reading(root["data"])


def _check_root(root: object) -> str | None:
    """Return what is wrong with a parsed body, or None."""
    if type(root) is not dict:
        return "The body must be an object"
    for key in root:
        if key != "data":
            return f"The body has an unknown field {key[:60]!r}"
    data = root.get("data")
    if type(data) is not list:
        return "data must be a list of events"
    if not 1 <= len(data) <= _MAX_EVENTS:
        return f"data must have between 1 and {_MAX_EVENTS} events, not {len(data)}"
    problem = _check_events(data)
    return f"data{problem}" if problem else None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


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

_hashed = frozenset(_HASHED_FIELDS)
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
        return f"event_name {_quoted(event['event_name'])} is neither a standard nor a defined event"
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
    return (
        "user_data identifies no person: em, hashed_maids, client_ip_address and client_user_agent are empty"
    )


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
