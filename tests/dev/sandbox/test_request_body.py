"""The hand-written checks refuse exactly what the published schema refuses."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.dev.sandbox.samples import DIGEST, event, schema, validator
from worker.dev.sandbox.request_body import _check_root, parse_body

REQUEST = validator("request")
USER = {"em": [DIGEST]}

GOOD = {
    "every scalar of an event": event(
        **dict.fromkeys(
            [
                *("app_id", "app_name", "app_version", "device_brand", "device_carrier", "device_model"),
                *("device_type", "event_source_url", "language", "os_version", "partner_name"),
            ],
            "x",
        ),
        opt_out=False,
        wifi=True,
    ),
    "an order": event(
        custom_data={
            "currency": "USD",
            "value": "129.99",
            "num_items": 3,
            "content_ids": ["SKU-A"],
            "contents": [
                {
                    "id": "SKU-A",
                    "item_price": "49.99",
                    "quantity": 2,
                    "item_name": "Widget",
                    "item_brand_id": "B1",
                }
            ],
        }
    ),
    "null where a string may be null": event(custom_data={"value": None, "order_id": None}),
    "an unknown key of user_data": event(user_data={**USER, "bd": 1}),
    "address and user agent": event(user_data={"client_ip_address": "::1", "client_user_agent": "M"}),
    "hashed_maids alone": event(user_data={"hashed_maids": []}),
    "an advertiser's name": event(event_name="anything"),
    "application and device at their limits": event(
        app_info={"app_id": "é" * 200, "install_time": 0, "window_height": 30_720},
        device_info={
            "battery_level": 100,
            "languages": ["en"] * 100,
            "os_family": "bsd",
            "timezone_abbr": "x" * 5,
        },
    ),
}

BAD = {
    "no event_id": (event(event_id=None), "data[0].event_id is required"),
    "no user_data": (event(user_data=None), "data[0].user_data is required"),
    "an unknown key": (
        event(order_quantity=1),
        "data[0] has an unknown field 'order_quantity' (version 5.28)",
    ),
    "event_time as a string": (event(event_time="1706540000"), "data[0].event_time must be an integer"),
    "event_time as a boolean": (event(event_time=True), "data[0].event_time must be an integer"),
    "event_time as a float": (event(event_time=1.0), "data[0].event_time must be an integer"),
    "opt_out as a number": (event(opt_out=0), "data[0].opt_out must be true or false"),
    "nobody": (
        event(user_data={"client_ip_address": "::1"}),
        "data[0].user_data must have em, or hashed_maids, or client_ip_address and client_user_agent",
    ),
    "em as a string": (event(user_data={"em": DIGEST}), "data[0].user_data.em must be a list of strings"),
    "a number in em": (event(user_data={"em": [DIGEST, 1]}), "data[0].user_data.em[1] must be a string"),
    "a null address": (
        event(user_data={**USER, "client_ip_address": None}),
        "data[0].user_data.client_ip_address must be a string",
    ),
    "value as a number": (
        event(custom_data={"value": 129.99}),
        "data[0].custom_data.value must be a string or null",
    ),
    "num_items as null": (
        event(custom_data={"num_items": None}),
        "data[0].custom_data.num_items must be an integer",
    ),
    "an unknown key of custom_data": (
        event(custom_data={"category_name": "x"}),
        "data[0].custom_data has an unknown field 'category_name' (version 5.28)",
    ),
    "contents as an object": (
        event(custom_data={"contents": {"id": "a"}}),
        "data[0].custom_data.contents must be a list of objects",
    ),
    "a null content": (
        event(custom_data={"contents": [{"id": "a"}, None]}),
        "data[0].custom_data.contents[1] must be an object",
    ),
    "a null in a content": (
        event(custom_data={"contents": [{"id": None}]}),
        "data[0].custom_data.contents[0].id must be a string",
    ),
    "a level above the range": (
        event(device_info={"battery_level": 101}),
        "data[0].device_info.battery_level must be at most 100",
    ),
    "a length above the limit": (
        event(app_info={"app_store": "x" * 101}),
        "data[0].app_info.app_store must have at most 100 characters",
    ),
    "a negative time": (
        event(app_info={"install_time": -1}),
        "data[0].app_info.install_time must be at least 0",
    ),
    "an unknown system": (
        event(device_info={"os_family": "beos"}),
        "data[0].device_info.os_family must be one of ios, android, macos, windows, linux, bsd, other",
    ),
    "too many languages": (
        event(device_info={"languages": ["en"] * 101}),
        "data[0].device_info.languages must have at most 100 items",
    ),
}


@pytest.mark.parametrize("sample", GOOD.values(), ids=GOOD)
def test_takes_what_the_contract_allows(sample: dict[str, Any]) -> None:
    assert _check_root({"data": [sample]}) is None
    assert REQUEST.is_valid({"data": [sample]})


@pytest.mark.parametrize(("sample", "problem"), BAD.values(), ids=BAD)
def test_names_what_the_contract_forbids(sample: dict[str, Any], problem: str) -> None:
    assert _check_root({"data": [sample]}) == problem
    assert not REQUEST.is_valid({"data": [sample]})


def test_names_the_position_of_the_one_bad_event() -> None:
    assert (
        _check_root({"data": [event(), event(), event(x=1)]})
        == "data[2] has an unknown field 'x' (version 5.28)"
    )


@pytest.mark.parametrize(
    ("root", "problem"),
    [
        ([], "The body must be an object"),
        ({}, "data must be a list of events"),
        ({"data": None}, "data must be a list of events"),
        ({"data": {}}, "data must be a list of events"),
        ({"data": []}, "data must have between 1 and 1000 events, not 0"),
        ({"data": [event()] * 1_001}, "data must have between 1 and 1000 events, not 1001"),
        ({"data": [1]}, "data[0] must be an object"),
        ({"data": [event()], "test": True}, "The body has an unknown field 'test'"),
    ],
)
def test_checks_the_root(root: object, problem: str) -> None:
    assert _check_root(root) == problem
    assert not REQUEST.is_valid(root)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"data": [NaN]}',
        b'{"data": [-Infinity]}',
        b'{"data": "\xff"}',
        '{"data": []}'.encode("utf-16"),
        b"[" * 200_000,
        b"1" * 10_000,
    ],
)
def test_refuses_a_body_that_is_not_json(body: bytes) -> None:
    assert parse_body(body).problem is not None


def test_reads_events_in_order() -> None:
    data = [event("a"), event("b")]
    assert parse_body(json.dumps({"data": data}).encode()) == (data, None)


JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 1.0, 10**20, "", "x", "x" * 20_000, [], ["a"], ["a", None], {}, [{}]]
)


def _resolved(part: dict[str, Any]) -> dict[str, Any]:
    return schema("request")["$defs"]["user_data"] if "$ref" in part else part


def _good(part: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Generate what one part of the published schema allows, with its limits hit often."""
    if "anyOf" in part:
        branches = part["anyOf"]
        return st.sampled_from(branches).flatmap(
            lambda branch: _object({**_resolved(branch["allOf"][0]), "required": branch["required"]})
        )
    kinds = part["type"] if isinstance(part["type"], list) else [part["type"]]
    return st.one_of(*(_of_kind(kind, part) for kind in kinds))


def _of_kind(kind: str, part: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "enum" in part:
        return st.sampled_from(part["enum"])
    if kind == "object":
        return _object(part)
    if kind == "array":
        return st.lists(_noisy(part["items"]), max_size=2)
    longest = part.get("maxLength", 3)
    return {
        "null": st.none(),
        "boolean": st.booleans(),
        "integer": st.sampled_from([0, 1, part.get("maximum", 9), part.get("maximum", 9) + 1, -1]),
        "string": st.sampled_from(["", "x", "é" * longest, "x" * (longest + 1)]),
    }[kind]


def _object(part: dict[str, Any]) -> st.SearchStrategy[Any]:
    properties = {key: _noisy(inner) for key, inner in part["properties"].items()}
    required = {key: properties.pop(key) for key in part.get("required", ())}
    whole = st.fixed_dictionaries(required, optional=properties)
    unknown = st.sampled_from([{}] * 20 + [{"unknown": 1}])
    missing = st.sampled_from([None] * 20 + sorted(required))
    return st.builds(
        lambda made, extra, gone: {key: held for key, held in {**made, **extra}.items() if key != gone},
        whole,
        unknown,
        missing,
    )


def _noisy(part: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Generate what a part allows, and now and then anything."""
    return st.integers(0, 60).flatmap(lambda dice: JUNK if dice == 60 else _good(part))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_noisy(schema("request")["properties"]["data"]["items"]))
def test_agrees_with_the_published_schema(sample: object) -> None:
    root = {"data": [sample]}
    assert (_check_root(root) is None) == REQUEST.is_valid(root)
