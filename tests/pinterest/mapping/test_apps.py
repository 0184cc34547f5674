"""The data on apps and devices, and that every field of the contract is filled or left out on purpose."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.pinterest.conftest import payload, server, track
from worker.pinterest.mapping.apps import app_fields, app_objects
from worker.pinterest.mapping.call import Options

CONTEXT = {
    "app": {
        "id": "429047995",
        "name": "Shop",
        "version": "1.2",
        "namespace": "com.example.shop",
        "store": "F-Droid",
    },
    "device": {"manufacturer": "Apple", "model": "iPhone15,2", "type": "ios", "formFactor": "Phone"},
    "os": {"name": "iOS", "version": "17.1"},
    "network": {"carrier": "T-Mobile", "wifi": False, "type": "5G"},
    "screen": {"width": 390, "height": 844, "density": 3.0},
    "locale": "de-DE",
    "languages": ["de", "en"],
    "timezone": "Europe/Berlin",
}


def test_app_and_device_have_pinterests_names() -> None:
    context = {
        "app": {"name": "Shop", "version": "1.2", "namespace": "com.example.shop"},
        "device": {"manufacturer": "Apple", "model": "iPhone15,2", "type": "ios"},
        "os": {"name": "iOS", "version": "17.1"},
        "network": {"carrier": "T-Mobile", "wifi": True},
        "locale": "de-DE",
    }
    assert app_fields(context) == {
        "app_id": "com.example.shop",
        "app_name": "Shop",
        "app_version": "1.2",
        "device_brand": "Apple",
        "device_carrier": "T-Mobile",
        "device_model": "iPhone15,2",
        "device_type": "ios",
        "os_version": "17.1",
        "language": "de",
        "wifi": True,
    }


@pytest.mark.parametrize(
    ("locale", "language"), [("en", "en"), ("pt_BR", "pt"), ("german", None), ("", None), (7, None)]
)
def test_a_language_is_two_letters(locale: Any, language: str | None) -> None:
    assert app_fields({"locale": locale}).get("language") == language


def test_app_and_device_have_objects_too() -> None:
    assert app_objects({}, CONTEXT) == {
        "app_info": {
            "app_id": "429047995",
            "app_name": "Shop",
            "app_package_name": "com.example.shop",
            "app_store": "F-Droid",
            "app_version": "1.2",
        },
        "device_info": {
            "brand": "Apple",
            "carrier": "T-Mobile",
            "form_factor": "cellphone",
            "languages": ["de", "en"],
            "locale": "de-DE",
            "model": "iPhone15,2",
            "network_type": "cellular_5g",
            "os_family": "ios",
            "os_version": "17.1",
            "screen_density": 3,
            "screen_height": 844,
            "screen_width": 390,
            "timezone": "Europe/Berlin",
            "type": "ios",
        },
    }


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("battery_level", 78, 78),
        ("battery_level", 101, None),
        ("battery_level", "full", None),
        ("screen_width", 30_721, None),
        ("cpu_cores", True, None),
        ("os_family", "Windows NT", "windows"),
        ("os_family", "BeOS", None),
        ("network_type", "LTE", "cellular_4g"),
        ("form_factor", "Tablet", "tablet"),
        ("locale", "x" * 36, None),
        ("timezone_abbr", "PDT", "PDT"),
        ("languages", "de", None),
        ("languages", ["de"] * 101, None),
        ("model", "Phone of jane@example.com", "Phone of"),
    ],
)
def test_a_field_under_pinterests_name_is_sent_if_it_fits(field: str, value: Any, expected: Any) -> None:
    found = app_objects({"deviceinfo": {field: value}}, {}).get("device_info", {})
    assert found.get(field) == expected


def rich_event() -> dict[str, Any]:
    """Return an event with something for every field, from an app."""
    hashed = dict.fromkeys(("em", "ph", "ge", "db", "ln", "fn", "ct", "st", "zp", "country"), "0" * 64)
    given = dict.fromkeys(
        _names("device_info") - {"languages", "form_factor", "network_type", "os_family"}, 5
    )
    product = {"id": "1", "price": 5, "name": "n", "category": "c", "brand": "b", "brand_id": "b1"}
    properties = {
        "products": [product],
        "order_id": "1",
        "value": 5,
        "currency": "EUR",
        "num_items": 1,
        "content_name": "n",
        "content_category": "c",
        "content_brand": "b",
        "predicted_ltv": 9,
        "search_string": "lamp",
        "limited_data_processing": True,
        "opt_out": False,
        "epik": "abc",
        "device_info": {key: str(5) if key in _TEXTS else value for key, value in given.items()},
    }
    context: dict[str, Any] = {
        **CONTEXT,
        "app": CONTEXT["app"] | {"installTime": 1_706_540_000},  # type: ignore[operator]
        "screen": {"innerWidth": 5, "innerHeight": 5},
        "ip": "203.0.113.50",
        "userAgent": "Shop/1",
        "page": {"url": "https://example.com/"},
        "device": {"type": "phone", "carrier": "x", "manufacturer": "x", "model": "x"},
        "user_data": {"external_id": "7", "_pin_unauth": "p"},
    }
    traits = {**hashed, "hashed_maids": "1" * 64, "external_id": "2" * 64}
    return track("Order Completed", properties, context=context, traits=traits)


_SCHEMA = json.loads(
    (Path(__file__).parents[2] / "dev/sandbox/pinterest-events-request.schema.json").read_text()
)
_EVENT = _SCHEMA["properties"]["data"]["items"]["properties"]
_TEXTS = frozenset(
    name for name, field in _EVENT["device_info"]["properties"].items() if field.get("type") == "string"
)
# Pinterest's words: only use when instructed, or for internal use only; partner_name is that of an agency's software.
ON_PURPOSE = {"external_measurement_id", "external_measurement_vendor_id", "np", "partner_name"}


def _names(part: str) -> set[str]:
    return set(_EVENT[part]["properties"])


@pytest.mark.parametrize("part", ["event", "custom_data", "contents", "app_info", "device_info"])
def test_every_field_of_the_contract_is_filled_or_left_out_on_purpose(part: str) -> None:
    sent = payload(rich_event(), received=server(), options=Options(field_mapping="pinterest"))
    holders = {"event": sent, "contents": sent["custom_data"]["contents"][0]}
    names = {
        "event": set(_EVENT),
        "contents": set(_EVENT["custom_data"]["properties"]["contents"]["items"]["properties"]),
    }
    known = names[part] if part in names else _names(part)
    assert known - set(holders.get(part) or sent[part]) <= ON_PURPOSE


def test_an_older_version_of_the_contract_has_none_of_the_newer_fields() -> None:
    options = Options(field_mapping="pinterest", schema_version="5.23")
    sent = payload(rich_event(), received=server(), options=options)
    assert not {"app_info", "device_info"} & set(sent)
    assert sent["app_name"] == "Shop"
    assert "item_brand_id" not in sent["custom_data"]["contents"][0]


def test_offline_and_web_events_have_no_app() -> None:
    for change in ({"action_source": "offline"}, {"action_source": "web"}):
        event = rich_event()
        event["properties"] |= change
        assert "app_info" not in payload(event, received=server())
