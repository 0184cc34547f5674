"""Products in all formats of lists."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pinterest.conftest import run, track
from worker.event.problems import Problem
from worker.event.text import fold_keys
from worker.pinterest.custom_data import items as items_module
from worker.pinterest.custom_data.items import Item, read_count, read_items
from worker.pinterest.mapping.call import Notes
from worker.pinterest.mapping.mapping import Mapped


def read(properties: dict[str, Any], one_product: bool = False) -> tuple[list[Item], list[str]]:
    notes = Notes()
    return read_items(fold_keys(properties), one_product, "USD", notes), notes.warnings


def brief(items: list[Item]) -> list[tuple[str | None, str | None, int | None]]:
    return [(item.id, item.price.text if item.price else None, item.quantity) for item in items]


@pytest.mark.parametrize("key", ["products", "items", "contents", "lineItems"])
@pytest.mark.parametrize("id_key", ["product_id", "productId", "id", "sku", "item_id"])
def test_products_are_found_in_every_spelling(key: str, id_key: str) -> None:
    items, warnings = read({key: [{id_key: "SKU-A", "price": "49.99", "quantity": "2"}]})
    assert brief(items) == [("SKU-A", "49.99", 2)]
    assert warnings == []


def test_the_best_spelling_counts_in_any_order() -> None:
    items, _ = read({"products": [{"sku": "S", "id": "I", "product_id": "P", "item_price": 2, "price": 1}]})
    assert brief(items) == [("P", "1", 1)]


@pytest.mark.parametrize(
    "junk",
    [
        None,
        {},
        [],
        "",
        "null",
        {"quantity": 1},
        {"id": ""},
        {"id": "A", "quantity": 0},
        {"id": "A", "quantity": -1},
    ],
)
def test_an_invalid_product_is_left_out_with_a_warning(junk: Any) -> None:
    items, warnings = read({"products": [{"id": "A"}, junk]})
    assert brief(items) == [("A", None, 1)]
    assert warnings == ["product 2 has no id, no price and no name, or a quantity below one: left out"]


@pytest.mark.parametrize(
    ("quantity", "whole", "pieces"),
    [(2, 2, "2"), ("2", 2, "2"), (2.0, 2, "2"), (None, 1, "1"), ("", 1, "1"), (0.75, None, "0.75")],
)
def test_a_quantity_is_a_whole_number_or_absent(quantity: Any, whole: int | None, pieces: str) -> None:
    (item,), _ = read({"products": [{"id": "A", "quantity": quantity}]})
    assert (item.quantity, item.pieces) == (whole, Decimal(pieces))


@pytest.mark.parametrize("quantity", ["two", 10**9, float("nan"), True, [2]])
def test_an_unreadable_quantity_counts_as_one_with_a_warning(quantity: Any) -> None:
    (item,), warnings = read({"products": [{"id": "A", "quantity": quantity}]})
    assert item.quantity == 1
    assert warnings[0].startswith("a product's quantity is read as 1: it ")


def test_a_single_product_needs_an_id_unless_the_event_is_about_one() -> None:
    named = {"id": "x", "name": "Widget", "price": 5}
    assert read(named)[0] == []
    assert brief(read(named, one_product=True)[0]) == [("x", "5", 1)]
    assert brief(read({"product_id": "SKU-A", "name": "Widget", "price": 5})[0]) == [("SKU-A", "5", 1)]


def test_a_list_may_hold_one_object_or_bare_ids() -> None:
    assert brief(read({"products": {"id": "A"}})[0]) == [("A", None, 1)]
    assert brief(read({"products": ["A", 7]})[0]) == [("A", None, 1), ("7", None, 1)]


def test_very_long_lists_are_cut_with_a_warning() -> None:
    items, warnings = read({"products": [{"id": str(n)} for n in range(4_001)]})
    assert len(items) == 4_000
    assert warnings == ["only the first 4000 products are read"]


@pytest.mark.parametrize(
    ("value", "count"),
    [(3, 3), ("3", 3), (3.0, 3), (0, None), (-1, None), (2.5, None), ("many", None), (True, None)],
)
def test_a_count_is_a_whole_number_above_zero(value: Any, count: int | None) -> None:
    assert read_count(value) == count


_VALUES = st.sampled_from(
    ["A", "kim@example.com", "9.50", 1, 1.0, True, 0, -1, "", None, [1], {"id": "B"}, "{}"]
)
_LINES = st.dictionaries(
    st.sampled_from(["id", "sku", "price", "quantity", "currency", "product", "name"]), _VALUES, max_size=4
)


@given(st.lists(_LINES, max_size=6))
def test_lines_that_were_read_before_are_read_alike(lines: list[dict[str, Any]]) -> None:
    items_module._KNOWN_ITEMS.clear()
    first = read({"products": lines})
    assert read({"products": lines}) == first
    for line in lines:
        read({"products": [line]})
    assert read({"products": lines}) == first


def test_a_line_with_a_warning_warns_each_time() -> None:
    for _ in range(2):
        _, warnings = read({"products": [{"id": "A", "price": "cheap"}]})
        assert len(warnings) == 1


def test_a_single_product_that_is_left_out_is_a_warning() -> None:
    (outcome,) = run(
        track("Product Added", {"product_id": "A", "price": 5, "currency": "EUR", "quantity": 0})
    )
    assert isinstance(outcome, Mapped)
    assert "custom_data" not in outcome.payload
    assert outcome.problems == (Problem.PRODUCTS_LEFT_OUT,)


def test_the_kept_lines_stay_within_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    items_module._KNOWN_ITEMS.clear()
    monkeypatch.setattr(items_module, "_MOST_KNOWN", 10)
    read({"products": [{"id": f"SKU-{number}"} for number in range(35)]})
    read({"products": [{"id": "A", "name": "x" * 1000}]})
    assert len(items_module._KNOWN_ITEMS) == 5
