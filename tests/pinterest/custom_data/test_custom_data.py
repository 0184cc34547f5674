"""Custom data: money, products and searches."""

from typing import Any

import pytest

from tests.pinterest.conftest import custom_data, run, track
from worker.pinterest.mapping.call import Options
from worker.pinterest.mapping.mapping import Mapped

TWO = [{"id": "A", "price": 10, "quantity": 2}, {"id": "B", "price": "5.50"}]
PINTEREST = Options(field_mapping="pinterest")


@pytest.mark.parametrize("key", ["total", "revenue", "value", "orderTotal"])
def test_the_orders_value_is_read_in_every_spelling(key: str) -> None:
    data = custom_data({key: 129.99, "currency": "usd", "num_items": 1}, "Order Completed")
    assert data == {"currency": "USD", "value": "129.99", "num_items": 1}


def test_the_first_usable_spelling_wins() -> None:
    data = custom_data({"total": "", "revenue": "undefined", "value": 7, "currency": "EUR"})
    assert data["value"] == "7"


def test_missing_values_are_computed_from_the_products_and_noted() -> None:
    (outcome,) = run(track("Order Completed", {"products": TWO, "currency": "USD"}))
    assert isinstance(outcome, Mapped)
    assert outcome.payload["custom_data"] == {
        "currency": "USD",
        "value": "25.5",
        "num_items": 3,
        "content_ids": ["A", "B"],
        "contents": [
            {"id": "A", "item_price": "10", "quantity": 2},
            {"id": "B", "item_price": "5.5", "quantity": 1},
        ],
    }
    assert outcome.computed == ("value", "num_items")
    assert outcome.warnings == ()


def test_values_from_the_sender_are_never_overwritten() -> None:
    given = {"products": TWO, "value": 20, "num_items": 9, "content_ids": ["X"], "currency": "USD"}
    (outcome,) = run(track("Order Completed", given))
    assert isinstance(outcome, Mapped)
    data = outcome.payload["custom_data"]
    assert (data["value"], data["num_items"], data["content_ids"]) == ("20", 9, ["X"])
    assert outcome.computed == ()
    assert outcome.warnings == (
        "the number of items is given as 9, but the products' quantities add up to 3",
    )


@pytest.mark.parametrize("name", ["Product List Viewed", "Products Searched"])
def test_prices_of_a_list_that_was_only_shown_are_not_added_up(name: str) -> None:
    data = custom_data({"products": TWO, "currency": "USD", "query": "lamp"}, name)
    assert "value" not in data
    assert data["content_ids"] == ["A", "B"]


def test_no_value_is_computed_from_half_the_prices_or_from_two_currencies() -> None:
    assert "value" not in custom_data({"products": [*TWO, {"id": "C"}]})
    mixed = [{"id": "A", "price": 1, "currency": "USD"}, {"id": "B", "price": 1, "currency": "EUR"}]
    assert "value" not in custom_data({"products": mixed})


def test_a_product_sold_by_weight_counts_once_and_is_priced_by_weight() -> None:
    data = custom_data({"products": [{"id": "A", "price": 2, "quantity": 0.75}], "currency": "EUR"})
    assert data == {
        "currency": "EUR",
        "value": "1.5",
        "num_items": 1,
        "content_ids": ["A"],
        "contents": [{"id": "A", "item_price": "2"}],
    }


@pytest.mark.parametrize(
    ("properties", "currency"),
    [
        ({"value": 1, "currency": "usd"}, "USD"),
        ({"value": 1, "currency": "€"}, "EUR"),
        ({"value": "1,50 €"}, "EUR"),
        ({"products": [{"id": "A", "price": "€1.50"}]}, "EUR"),
        ({"products": [{"id": "A", "price": 1, "currency": "gbp"}]}, "GBP"),
        ({"value": 1, "currency": "EURO"}, None),
        ({"value": "$1.50"}, None),  # ambiguous dollar sign
        ({"value": 1}, None),
    ],
)
def test_the_currency_is_a_code_in_upper_case(properties: dict[str, Any], currency: str | None) -> None:
    assert custom_data(properties).get("currency") == currency


def test_value_without_currency_is_sent_with_a_warning() -> None:
    (outcome,) = run(track("Order Completed", {"value": 5, "num_items": 1}))
    assert isinstance(outcome, Mapped)
    assert outcome.warnings == ("value without a currency: Pinterest takes the ad account's",)


def test_contents_have_names_only_with_the_pinterest_mapping() -> None:
    product = {"product_id": "A", "name": "Widget", "category": "Tools", "brand": "ACME", "price": 5}
    assert custom_data(product)["contents"] == [{"id": "A", "item_price": "5", "quantity": 1}]
    assert custom_data(product, options=PINTEREST)["contents"] == [
        {
            "id": "A",
            "item_price": "5",
            "quantity": 1,
            "item_name": "Widget",
            "item_category": "Tools",
            "item_brand": "ACME",
        }
    ]


def test_contact_data_is_removed_from_names_and_searches_unless_switched_off() -> None:
    searched = {"query": "lamp for a@b.example"}
    assert custom_data(searched, "search") == {"search_string": "lamp for"}
    assert custom_data(searched, "search", options=Options(clean_free_text=False)) == {
        "search_string": "lamp for a@b.example"
    }
    product = {"product_id": "A", "name": "Card for a@b.example"}
    assert custom_data(product, options=PINTEREST)["contents"][0]["item_name"] == "Card for"
    assert custom_data({"content_name": "a@b.example"}) == {}


@pytest.mark.parametrize("key", ["query", "search_query", "searchTerm", "search_string"])
def test_a_search_is_read_in_every_spelling(key: str) -> None:
    assert custom_data({key: "lamp"}, "Products Searched") == {"search_string": "lamp"}


def test_the_query_of_another_event_is_not_a_search() -> None:
    assert custom_data({"query": "SELECT 1"}, "Report Run") == {}


@pytest.mark.parametrize("key", ["order_id", "orderId", "transaction_id"])
def test_an_order_id_is_text(key: str) -> None:
    assert custom_data({key: 1001}) == {"order_id": "1001"}


def test_limited_data_processing_is_set_only_on_request() -> None:
    assert custom_data({"opt_out_type": "ldp"}) == {"opt_out_type": "LDP"}
    assert custom_data({"limited_data_processing": True}) == {"opt_out_type": "LDP"}
    assert custom_data({}, options=Options(limited_data_processing=True)) == {"opt_out_type": "LDP"}
    assert custom_data({"opt_out_type": "other"}) == {}
    assert custom_data({"limited_data_processing": "yes"}) == {}


def test_a_predicted_lifetime_value_is_text() -> None:
    assert custom_data({"predicted_ltv": 99.5}) == {"predicted_ltv": "99.5"}
