"""An event in three vocabularies gives the same payload."""

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pinterest.conftest import payload, track
from worker.pinterest.mapping.call import Options

PRICES = st.decimals(min_value=0, max_value=99_999, places=2).map(float)
PRODUCTS = st.lists(
    st.tuples(st.from_regex(r"SKU-[A-Z0-9]{1,6}", fullmatch=True), PRICES, st.integers(1, 99)),
    min_size=1,
    max_size=4,
)
ORDERS = st.fixed_dictionaries(
    {
        "id": st.integers(1, 10**9),
        "value": PRICES,
        "currency": st.sampled_from(["USD", "eur"]),
        "products": PRODUCTS,
    }
)
# The names of an order and of the parts of a product in the three vocabularies.
Vocabulary = tuple[str, tuple[str, str, str], tuple[str, str, str]]
VOCABULARIES: list[Vocabulary] = [
    ("Order Completed", ("order_id", "total", "products"), ("product_id", "price", "quantity")),
    ("orderCompleted", ("orderId", "revenue", "products"), ("productId", "itemPrice", "qty")),
    ("purchase", ("transaction_id", "value", "items"), ("item_id", "price", "quantity")),
]


def call(vocabulary: Vocabulary, order: dict[str, Any]) -> dict[str, Any]:
    name, (order_id, value, products), parts = vocabulary
    listed = [dict(zip(parts, product, strict=True)) for product in order["products"]]
    properties = {
        order_id: order["id"],
        value: order["value"],
        "currency": order["currency"],
        products: listed,
    }
    return track(name, properties)


@pytest.mark.parametrize("mapping", ["signal", "pinterest"])
@given(order=ORDERS)
def test_an_order_is_the_same_payload_in_three_vocabularies(
    mapping: Literal["signal", "pinterest"], order: dict[str, Any]
) -> None:
    options = Options(field_mapping=mapping)
    first, second, third = (payload(call(one, order), options=options) for one in VOCABULARIES)
    assert first == second == third
    assert first["event_name"] == "checkout"


@pytest.mark.parametrize(
    "names",
    [
        ("Product Added", "product_added", "productAdded", "add_to_cart"),
        ("Product Viewed", "product_viewed", "productViewed", "view_item"),
        ("Checkout Started", "checkout_started", "checkoutStarted", "begin_checkout"),
        ("Products Searched", "products_searched", "productsSearched", "search"),
        ("Signed Up", "signed_up", "signedUp", "sign_up"),
        ("Lead Generated", "lead_generated", "leadGenerated", "generate_lead"),
        ("Product List Viewed", "product_list_viewed", "productListViewed", "view_item_list"),
        ("Payment Info Entered", "payment_info_entered", "paymentInfoEntered", "add_payment_info"),
        ("Product Added to Wishlist", "added_to_wishlist", "addedToWishlist", "add_to_wishlist"),
    ],
)
def test_an_event_is_the_same_payload_under_each_of_its_names(names: tuple[str, ...]) -> None:
    properties = {"product_id": "SKU-A", "price": 49.99, "currency": "USD", "query": "lamp"}
    payloads = [payload(track(name, properties)) for name in names]
    assert all(one == payloads[0] for one in payloads)
    assert payloads[0]["event_name"] != "custom"
