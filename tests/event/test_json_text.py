"""The fast JSON parser agrees with the standard library."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.event import json_text

NUMBERS = st.integers() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
# Halves of surrogate pairs are among these characters.
TEXTS = st.text(st.characters(exclude_categories=()))
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)


@given(VALUES, st.booleans())
@example(2**63, True)
@example(-(2**63) - 1, True)
@example([2**64, 0.1, "1" * 30], True)
@example("\ud800", True)
def test_it_reads_what_the_standard_library_reads(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    try:
        expected = json.loads(text.decode())
    except UnicodeDecodeError:
        with pytest.raises(UnicodeDecodeError):
            json_text.parse_json(text)
        return
    found = json_text.parse_json(text)
    assert found == expected
    assert repr(found) == repr(expected)


@given(st.binary(max_size=40))
@example(b'{"a":1,}')
@example(b"[1e400]")
@example(b"[-0, -0.0, 1E5, 12345678901234567890.5]")
@example(b'{"a": 1, "a": 2}')
def test_it_refuses_what_the_standard_library_refuses(text: bytes) -> None:
    try:
        expected = json.loads(text.decode(), parse_constant=lambda _: 1 / 0)
    except (ValueError, ZeroDivisionError):
        with pytest.raises(ValueError):  # noqa: PT011  # whichever of its kinds
            json_text.parse_json(text)
    else:
        assert repr(json_text.parse_json(text)) == repr(expected)


CHECKED = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(CHECKED)
def test_what_is_written_is_read_again(value: Any) -> None:
    text = json_text.format_json(value)
    assert text == json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() or b"\\" in text
    assert repr(json_text.parse_json(text)) == repr(value)


@pytest.mark.parametrize("offset", range(4))
@pytest.mark.parametrize("digits", range(17, 24))
def test_a_long_number_is_found_at_every_place(offset: int, digits: int) -> None:
    number = int("9" * digits)
    assert json_text.parse_json(b" " * offset + b"[%d]" % number) == [number]


@pytest.mark.parametrize("depth", range(28, 37))
def test_a_value_is_storable_up_to_its_depth(depth: int) -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        text = opening * depth + "1" + closing * depth
        assert (json_text.format_storable(json.loads(text), 32) is not None) == (depth <= 32)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_does_not_have_gives_no_key(number: float) -> None:
    assert json_text.short_key({"price": None}, 100) == b'{"price":null}'
    assert json_text.short_key({"prices": [{"price": number}]}, 100) is None
