"""Custom data: money, products and searches."""

from typing import Any

import pytest

from tests.pinterest.conftest import custom_data, run, track
from worker.event.problems import Problem
from worker.pinterest.mapping.call import Options
from worker.pinterest.mapping.mapping import Failed, Mapped

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
        ({"value": 1, "currency": "EURO"}, "EUR"),
        ({"value": {"amount": 1, "currencyCode": "CAD"}}, "CAD"),
        ({"value": 1, "currency": "undefined"}, None),
        ({"value": "$1.50"}, None),  # ambiguous dollar sign
        ({"value": 1}, None),
    ],
)
def test_the_currency_is_a_code_in_upper_case(properties: dict[str, Any], currency: str | None) -> None:
    assert custom_data(properties).get("currency") == currency


@pytest.mark.parametrize(
    ("properties", "currency", "computed"),
    [
        ({"value": 5}, "EUR", True),
        ({"items": [{"id": "1", "price": 5, "quantity": 2}]}, "EUR", True),
        ({"value": 5, "currency": ""}, "EUR", True),
        # What the event states counts.
        ({"value": 5, "currency": "USD"}, "USD", False),
        ({"value": "5 kr", "currency": "SEK"}, "SEK", False),
        ({"value": "\N{POUND SIGN}5"}, "GBP", True),
        ({"items": [{"id": "1", "price": "\N{POUND SIGN}5"}, {"id": "2", "price": 5}]}, None, False),
        ({"value": 5, "currency": "nonsense"}, None, False),
        ({"items": [{"id": "1"}]}, None, False),
        ({}, None, False),
    ],
)
def test_amounts_without_a_currency_are_in_the_integrations(
    properties: dict[str, Any], currency: str | None, computed: bool
) -> None:
    (outcome,) = run(track("Order Completed", properties), options=Options(default_currency="EUR"))
    assert isinstance(outcome, Mapped | Failed)
    assert ((outcome.payload or {}).get("custom_data") or {}).get("currency") == currency
    if isinstance(outcome, Mapped):
        assert ("currency" in outcome.computed) is computed
        assert not any("without a currency" in warning for warning in outcome.warnings) or currency is None


def test_value_without_currency_is_sent_with_a_warning() -> None:
    (outcome,) = run(track("Order Completed", {"value": 5, "num_items": 1}))
    assert isinstance(outcome, Mapped)
    assert outcome.warnings == ("value without a currency: Pinterest takes the ad account's",)


@pytest.mark.parametrize(
    "currency", ["Taler", "$", "EUR/USD", "XXX", "FR", {"a": 1}, ["EUR"], True, 999, "¥"]
)
def test_a_currency_that_is_given_and_not_known_stops_value_and_prices(currency: Any) -> None:
    order = {"value": "5 €", "currency": currency, "products": TWO, "num_items": 3}
    (outcome,) = run(track("Order Completed", order), options=PINTEREST)
    assert isinstance(outcome, Mapped)
    data = outcome.payload["custom_data"]
    assert "value" not in data
    assert "currency" not in data
    assert data["contents"] == [{"id": "A", "quantity": 2}, {"id": "B", "quantity": 1}]
    assert Problem.CURRENCY_UNREADABLE in outcome.problems


def test_a_checkout_in_an_unknown_currency_fails_and_is_kept() -> None:
    (outcome,) = run(track("Order Completed", {"value": 5, "currency": "Taler", "num_items": 1}))
    assert isinstance(outcome, Failed)
    assert outcome.reason_class == "missing_value"
    assert outcome.reason == "A checkout needs a value; it is left out, because its currency is not known."
    assert outcome.payload is not None
    assert Problem.CURRENCY_UNREADABLE in outcome.problems


def test_a_product_in_an_unknown_currency_is_sent_without_its_price() -> None:
    products = [{"id": "A", "price": 1, "currency": "Taler"}, {"id": "B", "price": 1, "currency": "Euro"}]
    data = custom_data({"products": products})
    assert data["contents"] == [{"id": "A", "quantity": 1}, {"id": "B", "item_price": "1", "quantity": 1}]
    assert "value" not in data


@pytest.mark.parametrize(
    ("value", "warned"),
    [
        (2550, True),  # cents
        (2990, True),  # cents, with shipping
        (0.255, True),
        (400_000, True),  # another currency
        (25.5, False),
        (49.9, False),  # with shipping and taxes
        (5, False),  # with a discount
        (0, False),  # paid with a gift card
        (500, False),
    ],
)
def test_a_value_that_contradicts_the_products_is_sent_with_a_warning(value: float, warned: bool) -> None:
    (outcome,) = run(track("Order Completed", {"products": TWO, "value": value, "currency": "USD"}))
    assert isinstance(outcome, Mapped)
    assert outcome.problems == ((Problem.VALUE_CONTRADICTS_PRODUCTS,) if warned else ())
    assert float(outcome.payload["custom_data"]["value"]) == value


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
    # Of Meta and Snap, TikTok, and Google.
    for stated in (["LDU"], '["LDU"]', "ldu"):
        assert custom_data({"data_processing_options": stated}) == {"opt_out_type": "LDP"}
    assert custom_data({"data_processing_options": []}) == {}
    assert custom_data({"limited_data_use": True}) == {"opt_out_type": "LDP"}
    assert custom_data({"restricted_data_processing": "true"}) == {"opt_out_type": "LDP"}
    assert custom_data({"limited_data_processing": "no"}) == {}


def test_a_predicted_lifetime_value_is_text() -> None:
    assert custom_data({"predicted_ltv": 99.5}) == {"predicted_ltv": "99.5"}


def test_one_events_product_is_not_changed_by_another_events_options() -> None:
    products = [{"id": "kim@example.com", "price": 1, "name": "Mug"}, {"id": "B", "price": 2, "name": "Cup"}]
    plain, prefixed = Options(), Options(product_id_prefix="shop_", field_mapping="pinterest")
    before = custom_data({"products": products}, options=plain)
    assert custom_data({"products": products}, options=prefixed)["contents"][1]["id"] == "shop_B"
    assert custom_data({"products": products, "currency": "?"}, options=plain)["contents"][1] == {
        "id": "B",
        "quantity": 1,
    }
    assert custom_data({"products": products}, options=plain) == before
    assert "kim@example.com" not in str(before)
