"""JSON inside a text."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.event.json_in_text import looks_like_json, open_text, with_opened_fields


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('["A","B"]', ["A", "B"]),
        (' [ "A" ] ', ["A"]),
        ('{"id": 7}', {"id": 7}),
        ('[{"id": "A", "price": null}]', [{"id": "A", "price": None}]),
        ('"[\\"A\\"]"', ["A"]),
        ('"{\\"id\\": 1}"', {"id": 1}),
        ("[]", []),
        ("{}", {}),
        ('{"a": {"b": [1]}}', {"a": {"b": [1]}}),
        ('\n["Ä"]\n', ["Ä"]),
    ],
)
def test_an_object_or_a_list_in_a_text_is_opened(text: str, value: Any) -> None:
    assert open_text(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "['A', 'B']",
        "{'id': 1}",
        "[A, B]",
        "[Sale] Lamp",
        "{{ product.id }}",
        "[1,2",
        '["\\u0000"]',
        '["\\ud800"]',
        "[NaN]",
        "[" * 100 + "]" * 100,
        "[" + "9" * 400 + "]",
        '"A"',
        "7",
        "null",
        "",
    ],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert open_text(text) == text


@pytest.mark.parametrize("value", [None, 7, 1.5, True, ["A"], {"a": 1}])
def test_what_is_no_text_stays_as_it_is(value: Any) -> None:
    assert open_text(value) is value


@given(st.text())
def test_any_text_can_be_looked_at(text: str) -> None:
    assert isinstance(looks_like_json(text), bool)
    assert open_text(text) == text or isinstance(open_text(text), list | dict)


def test_properties_traits_and_context_in_text_are_opened_once() -> None:
    event = {
        "type": "track",
        "event": "[x]",
        "properties": json.dumps({"a": 1}),
        "context": "{}",
        "traits": "no",
    }
    assert with_opened_fields(event) == event | {"properties": {"a": 1}, "context": {}}
    clean = {"type": "track", "properties": {"a": "{}"}}
    assert with_opened_fields(clean) is clean
    assert with_opened_fields("text") == "text"
