"""Which events are refused, and with which message."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings

from tests.pinterest.strategies import EVENTS, JSON
from worker.event import json_text
from worker.event.envelope import _MAX_DEPTH, EnvelopeError, check_envelope, decode_json, find_flaw

GOOD: dict[str, Any] = {"type": "track", "event": "Order Completed"}


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


ACCEPTED = [
    GOOD,
    {"type": "page"},
    {"type": "page", "name": "Home", "properties": None, "timestamp": None},
    {"type": "identify", "userId": 42, "traits": {"email": "a@b.example"}},
    {"type": "group", "groupId": {"anything": "else"}},
    GOOD | {"timestamp": "2024-01-29T14:53:20.000Z", "sentAt": 1706540000},
    GOOD | {"timestamp": "", "sentAt": " "},
    GOOD | {"messageId": "0", "anonymousId": 0},
    GOOD | {"properties": nested(31)},
    GOOD | {"properties": {"emoji": "😀", "": ""}},
    GOOD | {"properties": {"large": 2**53}},
]


@pytest.mark.parametrize("event", ACCEPTED)
def test_a_good_event_is_accepted(event: dict[str, Any]) -> None:
    check_envelope(event)


REFUSED = [
    ([], "event", "event must be an object."),
    ({}, "type", "type must be one of track, page, identify, group."),
    ({"type": "screen"}, "type", "type must be one of track, page, identify, group."),
    ({"type": ["track"]}, "type", "type must be one of track, page, identify, group."),
    ({"type": "track"}, "event", "event must be a text of 1 to 256 characters in a track call."),
    (
        {"type": "track", "event": " "},
        "event",
        "event must be a text of 1 to 256 characters in a track call.",
    ),
    ({"type": "track", "event": "x" * 257}, "event", "event must be a text of at most 256 characters."),
    (GOOD | {"properties": []}, "properties", "properties must be an object."),
    (GOOD | {"context": "web"}, "context", "context must be an object."),
    (GOOD | {"traits": 1}, "traits", "traits must be an object."),
    (
        GOOD | {"userId": True},
        "userId",
        "userId must be a text of at most 256 characters or a whole number.",
    ),
    (
        GOOD | {"timestamp": "yesterday"},
        "timestamp",
        "timestamp must be a time in ISO 8601, like 2024-01-29T14:53:20.000Z.",
    ),
    (
        GOOD | {"sentAt": "2024-13-01"},
        "sentAt",
        "sentAt must be a time in ISO 8601, like 2024-01-29T14:53:20.000Z.",
    ),
    (
        GOOD | {"properties": {"products": [{"price": float("nan")}]}},
        "properties.products[0].price",
        "properties.products[0].price must be a finite number.",
    ),
    (
        GOOD | {"properties": {"a": float("inf")}},
        "properties.a",
        "properties.a must be a finite number.",
    ),
    (
        GOOD | {"properties": {"id": 10**20}},
        "properties.id",
        "properties.id is a whole number of more than 18 digits: send it as text.",
    ),
    (
        GOOD | {"context": {"page": {"title": "a\0b"}}},
        "context.page.title",
        "context.page.title has a null byte or half a surrogate pair in it.",
    ),
    (
        GOOD | {"properties": {"name": "\ud800"}},
        "properties.name",
        "properties.name has a null byte or half a surrogate pair in it.",
    ),
    (
        GOOD | {"properties": {"\udfff": 1}},
        "properties",
        "properties has a key with a null byte or half a surrogate pair in it.",
    ),
    (GOOD | {"properties": nested(40)}, "properties", "properties is nested more than 32 levels deep."),
]


@pytest.mark.parametrize(("event", "field", "sentence"), REFUSED)
def test_a_bad_event_is_refused_with_a_sentence_that_names_the_field(
    event: Any, field: str, sentence: str
) -> None:
    with pytest.raises(EnvelopeError) as error:
        check_envelope(event)
    assert (error.value.field, str(error.value)) == (field, sentence)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(EVENTS | JSON)
@example(GOOD | {"properties": nested(32)})
@example(GOOD | {"properties": nested(33)})
@example(GOOD | {"properties": {"a": 10**25}})
def test_the_fast_check_accepts_nothing_that_the_full_check_refuses(event: Any) -> None:
    if (text := json_text.format_storable(event, _MAX_DEPTH)) is not None:
        assert find_flaw(event) is None
        assert text == json_text.format_json(event)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "body is not JSON: expecting value at line 1, column 1."),
        (b"{", "body is not JSON: expecting property name enclosed in double quotes at line 1, column 2."),
        (b'{"a": NaN}', "body is not JSON: NaN is not a number."),
        (b'{"a": -Infinity}', "body is not JSON: -Infinity is not a number."),
        (b'{"a": "\xff"}', "body must be JSON in UTF-8."),
        (b"[" * 100_000, "body is nested too deeply."),
        (b"1" * 5000, "body has a number with too many digits."),
        (
            b"\xef\xbb\xbf{}",
            "body is not JSON: expecting value at line 1, column 1.",
        ),
    ],
)
def test_a_body_that_is_not_strict_json_is_refused(body: bytes, sentence: str) -> None:
    with pytest.raises(EnvelopeError) as error:
        decode_json(body)
    assert str(error.value) == sentence


def test_a_body_is_decoded() -> None:
    assert decode_json(json.dumps(GOOD | {"properties": {"a": "ü"}}).encode()) == GOOD | {
        "properties": {"a": "ü"}
    }


def test_a_number_too_large_for_a_float_is_found_after_decoding() -> None:
    with pytest.raises(EnvelopeError, match=r"properties\.a must be a finite number"):
        check_envelope(decode_json(b'{"type": "page", "properties": {"a": 1e999}}'))
