"""TC strings of IAB Europe's framework are decoded."""

import base64
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.event.consent.tcf import consented_purposes


def tc_string(purposes: Iterable[int], version: int = 2) -> str:
    """Return a TC string with consent to these purposes, written field by field as the specification lists them."""
    fields = [
        *((version, 6), (16_000_000_000, 36), (16_000_000_000, 36), (10, 12), (1, 12), (0, 6)),
        *((4, 6), (13, 6), (48, 12), (4, 6), (1, 1), (0, 1), (0, 12)),
        *((int(number in set(purposes)), 1) for number in range(1, 25)),
        *((0, 24), (0, 1), (3, 6), (4, 6), (0, 16), (0, 1), (0, 16), (0, 1), (0, 12)),
    ]
    bits = "".join(f"{value:0{width}b}" for value, width in fields)
    bits += "0" * (-len(bits) % 8)
    return base64.urlsafe_b64encode(int(bits, 2).to_bytes(len(bits) // 8)).decode().rstrip("=")


@given(st.sets(st.integers(1, 24)))
def test_the_purposes_of_a_tc_string_are_read(purposes: set[int]) -> None:
    assert consented_purposes(tc_string(purposes)) == purposes
    assert consented_purposes(tc_string(purposes) + ".YAAAAAAAAAA") == purposes


def test_the_published_example_of_the_framework_is_read() -> None:
    """Its library and its specification publish this string."""
    published = (
        "COvFyGBOvFyGBAbAAAENAPCAAOAAAAAAAAAAAEEUACCKAAA.IFoEUQQgAIQwgIwQABAEAAAAOIAACAIAAAAQAIAgEAACEAAAAAgAQBAAAAAAAGBAAgAA"
        "AAAAAFAAECAAAgAAQARAEQAAAAAJAAIAAgAAAYQEAAAQmAgBC3ZAYzUw"
    )
    assert consented_purposes(published) == {1, 2, 3}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "C",
        "COvFyGBOvFyGBAbAAAENAPCAAOAAAAAAAAAAAEEUACCKAAA!",
        "COvFyGBO",
        tc_string([1], version=1),
        tc_string([1], version=3),
        "C" + "A" * 60,
        tc_string([1])[:30],
        "DBABLA~" + tc_string([1]),
        "x" * 10_000,
    ],
)
def test_other_texts_are_no_tc_strings(text: str) -> None:
    if not text.startswith("CAAA"):
        assert consented_purposes(text) is None


@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    consented_purposes(text)
    consented_purposes("C" + text)
