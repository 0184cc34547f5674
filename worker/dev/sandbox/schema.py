"""Check a request's body against Pinterest's published contract."""

import json
from collections.abc import Collection
from typing import Any, NamedTuple, NoReturn

from worker.dev.sandbox.shapes import (
    BOOLEAN,
    INTEGER,
    INTEGER_OR_NULL,
    STRING,
    STRING_OR_NULL,
    STRINGS,
    Field,
    enum_field,
    integer_field,
    list_of,
    object_,
    object_check,
    objects,
    strings,
    text_field,
)

_MAX_EVENTS = 1_000

# Arrays of SHA-256 digests, by Pinterest's own rules.
HASHED_FIELDS = (
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


def _each(names: str, field: Field) -> dict[str, Field]:
    return dict.fromkeys(names.split(), field)


_user_data = object_check(
    {
        **dict.fromkeys(HASHED_FIELDS, STRINGS),
        **_each("client_ip_address client_user_agent", STRING),
        **_each("click_id partner_id", STRING_OR_NULL),
    },
    closed=False,
    rule=_identity,
)

_content = object_check(
    {**_each("id item_brand item_brand_id item_category item_name item_price", STRING), "quantity": INTEGER}
)

_custom_data = object_check(
    {
        **_each("content_brand content_category content_name currency np opt_out_type", STRING_OR_NULL),
        **_each("external_measurement_id order_id predicted_ltv search_string value", STRING_OR_NULL),
        "content_ids": STRINGS,
        "contents": objects(_content),
        "external_measurement_vendor_id": INTEGER_OR_NULL,
        "num_items": INTEGER,
    }
)

_app_info = object_check(
    {
        **_each("app_id app_name app_package_name", text_field(200)),
        **_each("app_store app_version", text_field(100)),
        "install_time": integer_field(0),
        "user_agent": text_field(16_384),
        **_each("window_height window_width", integer_field(0, 30_720)),
    }
)

_FORM_FACTORS = ("desktop", "laptop", "cellphone", "tablet", "smartwatch", "tv", "vr", "console", "other")
_CELLULAR = ("cellular_2g", "cellular_3g", "cellular_4g", "cellular_5g", "cellular_6g")

_device_info = object_check(
    {
        "battery_level": integer_field(0, 100),
        "cpu_cores": integer_field(0, 1_152),
        **_each(
            "brand carrier kernel_version model os_name os_release_name os_version type", text_field(100)
        ),
        **_each("external_storage_free_space external_storage_size", integer_field(0, 1_048_576)),
        **_each("storage_free_space storage_size", integer_field(0, 1_048_576)),
        "form_factor": enum_field(*_FORM_FACTORS),
        "languages": strings(100),
        "locale": text_field(35),
        "network_type": enum_field("wifi", *_CELLULAR, "ethernet", "unknown"),
        "os_family": enum_field("ios", "android", "macos", "windows", "linux", "bsd", "other"),
        "screen_density": integer_field(0, 100_000),
        **_each("screen_height screen_width", integer_field(0, 30_720)),
        "timezone": text_field(40),
        "timezone_abbr": text_field(5),
    }
)

_event = object_check(
    {
        **_each("action_source event_id event_name", STRING),
        "event_time": INTEGER,
        **_each("opt_out wifi", BOOLEAN),
        **_each("app_id app_name app_version device_brand device_carrier device_model", STRING_OR_NULL),
        **_each("device_type event_source_url language os_version partner_name", STRING_OR_NULL),
        "user_data": object_(_user_data),
        "custom_data": object_(_custom_data),
        "app_info": object_(_app_info),
        "device_info": object_(_device_info),
    },
    required=("event_name", "action_source", "event_time", "user_data", "event_id"),
)

_check_events = list_of(_event)


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
    problem = check_root(root)
    return Reading([], problem) if problem else Reading(root["data"])


def check_root(root: object) -> str | None:
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
