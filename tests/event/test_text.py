"""Cleaned texts and folded keys."""

import pytest

from worker.event.text import clean_text, fold_key, fold_keys, shown_key


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("  SKU-A\n", "SKU-A"),
        (7, "7"),
        (0, "0"),
        ("0", "0"),
        (7.0, "7"),
        ("a\x00b\x1fc", "a b c"),
        ("\ufeffzero\u200bwidth", "zerowidth"),
        ("half \ud800", "half"),
        ("😀 \u200d", "😀 \u200d"),
        ("Null Island", "Null Island"),
    ],
)
def test_a_text_or_whole_number_becomes_clean_text(value: object, text: str) -> None:
    assert clean_text(value) == text


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "  ",
        "null",
        "UNDEFINED",
        "[object Object]",
        True,
        7.5,
        [],
        {},
        "x" * 1025,
        10**25,
        float("nan"),
    ],
)
def test_placeholders_and_other_types_become_none(value: object) -> None:
    assert clean_text(value) is None


@pytest.mark.parametrize(
    "name", ["Product Added", "product_added", "productAdded", "product-added", "PRODUCT ADDED"]
)
def test_a_name_is_the_same_in_every_spelling(name: str) -> None:
    assert fold_key(name) == "productadded"


def test_the_first_spelling_of_a_key_counts_and_nulls_are_skipped() -> None:
    assert fold_keys({"orderId": None, "order_id": 1, "OrderID": 2, "x" * 65: 3}) == {"orderid": 1}
    assert fold_keys({"Order-Id": 1, "total": None, "Café": 2}) == {"orderid": 1, "café": 2}
    assert fold_keys(["no", "mapping"]) == {}


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("order_id", "order_id"),
        ("$value", "$value"),
        ("config.rate-limit", "config.rate-limit"),
        (12, "12"),
        ("jane.doe@example.com", "(key)"),
        ("Jane Doe", "(key)"),
        ("Zo\u00eb", "(key)"),
        ("a491711234567", "(key)"),
        ("x" * 41, "(key)"),
        ("<script>", "(key)"),
        ("a\n", "(key)"),
        ("", "(key)"),
    ],
)
def test_a_key_is_shown_where_it_looks_like_a_field(key: object, shown: str) -> None:
    assert shown_key(key) == shown
