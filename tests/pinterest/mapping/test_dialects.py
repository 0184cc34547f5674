"""Events in the shapes that other systems document."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pinterest.conftest import payload, run, server, sha, track
from worker.event.dialects.translate import DIALECT_KEYS, translate
from worker.event.problems import Problem
from worker.pinterest.mapping.call import Explanation, Options
from worker.pinterest.mapping.mapping import Dropped, Filtered, Mapped

DEVICE = {"ip": "203.0.113.5", "userAgent": "Mozilla/5.0 (shop)"}
BUYER = {"em": [sha("jane@shop.example")], "fn": [sha("jane")], "ln": [sha("doe")], "ct": [sha("ottawa")]}


def mapped(name: str, properties: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return payload(track(name, properties, **({"context": DEVICE} | fields)), received=server())


def usd(amount: float | str) -> dict[str, Any]:
    return {"amount": amount, "currencyCode": "USD"}


VARIANT = {
    "id": "gid://shopify/ProductVariant/44",
    "sku": "SK-1",
    "title": "Red",
    "price": usd(10.0),
    "product": {"id": "gid://shopify/Product/9", "title": "Lamp", "vendor": "Acme", "type": "Lamps"},
}
PIXEL_CHECKOUT = {
    "checkout": {
        "currencyCode": "USD",
        "totalPrice": usd(25.5),
        "order": {"id": "gid://shopify/OrderIdentity/77"},
        "email": "jane@shop.example",
        "billingAddress": {"firstName": "Jane", "lastName": "Doe", "city": "Ottawa"},
        "lineItems": [{"id": "line-1", "quantity": 2, "title": "Lamp", "variant": VARIANT}],
    }
}
SHOPIFY_ORDER = {
    "id": 820982911946154508,
    "admin_graphql_api_id": "gid://shopify/Order/820982911946154508",
    "order_number": 1234,
    "name": "#1234",
    "email": "jane@shop.example",
    "total_price": "209.00",
    "currency": "USD",
    "client_details": {"browser_ip": "203.0.113.9", "user_agent": "Mozilla/5.0 (buyer)"},
    "billing_address": {"first_name": "Jane", "last_name": "Doe", "city": "Ottawa"},
    "shipping_address": {"first_name": "Max", "last_name": "Muster", "city": "Berlin"},
    "note_attributes": [{"name": "event_id", "value": "evt-shop-9"}],
    "line_items": [
        {
            "id": 866550311766439020,
            "product_id": 632910392,
            "title": "IPod",
            "quantity": 1,
            "price": "199.00",
        },
        {"id": 141249953214522974, "product_id": None, "title": "Engraving", "quantity": 1, "price": "10.00"},
    ],
}
WOO_ORDER = {
    "id": 727,
    "number": "727",
    "order_key": "wc_order_58d2d042d1d",
    "currency": "EUR",
    "total": "29.35",
    "billing": {"first_name": "Jane", "last_name": "Doe", "city": "Ottawa", "email": "jane@shop.example"},
    "customer_ip_address": "203.0.113.7",
    "customer_user_agent": "Mozilla/5.0 (woo)",
    "line_items": [
        {
            "id": 315,
            "name": "Woo",
            "product_id": 93,
            "variation_id": 0,
            "quantity": 2,
            "price": 3,
            "total": "6.00",
        },
        {"id": 316, "name": "Ship", "product_id": 22, "variation_id": 23, "quantity": 1, "total": "12.00"},
    ],
}
MAGENTO_ORDER = {
    "increment_id": "000000001",
    "grand_total": 129.5,
    "order_currency_code": "EUR",
    "customer_email": "jane@shop.example",
    "total_qty_ordered": 2,
    "billing_address": {"firstname": "Jane", "lastname": "Doe", "city": "Ottawa", "country_id": "CA"},
    "items": [
        {"item_id": 5, "sku": "SHIRT-RED", "product_id": 11, "qty_ordered": 2, "price": 60},
        {"item_id": 6, "parent_item_id": 5, "sku": "SHIRT-RED", "product_id": 12, "qty_ordered": 2, "price": 0},
    ],
}  # fmt: skip
GA4_PURCHASE = {
    "ecommerce": {
        "transaction_id": "T_12345",
        "value": 30.03,
        "currency": "USD",
        "items": [{"item_id": "SKU_12345", "item_name": "Tee", "price": 10.01, "quantity": 3}],
    },
    "user_data": {
        "email_address": "jane@shop.example",
        "address": [{"first_name": "Jane", "last_name": "Doe", "city": "Ottawa"}],
    },
}
UA_PURCHASE = {
    "ecommerce": {
        "currencyCode": "EUR",
        "purchase": {
            "actionField": {"id": "T12345", "revenue": "35.43", "tax": "4.90", "shipping": "5.99"},
            "products": [{"name": "Android T-Shirt", "id": "12345", "price": "15.25", "quantity": 1}],
        },
    }
}
ELEVAR_PURCHASE = UA_PURCHASE | {
    "user_properties": {
        "customer_email": "jane@shop.example",
        "customer_first_name": "Jane",
        "customer_last_name": "Doe",
        "customer_city": "Ottawa",
    }
}
KLAVIYO_ORDER = {
    "$event_id": "1234",
    "$value": 29.98,
    "value_currency": "USD",
    "OrderId": "1234",
    "ItemNames": ["Winnie the Pooh", "A Tale of Two Cities"],
    "Items": [
        {"ProductID": "1111", "SKU": "W", "ProductName": "Winnie", "Quantity": 1, "ItemPrice": 9.99, "RowTotal": 9.99},
        {"ProductID": "1112", "SKU": "T", "ProductName": "Tale", "Quantity": 1, "ItemPrice": 19.99, "RowTotal": 19.99},
    ],
    "customer_properties": {
        "$email": "jane@shop.example",
        "$first_name": "Jane",
        "$last_name": "Doe",
        "$city": "Ottawa",
    },
}  # fmt: skip
META_PURCHASE = {
    "event_source_url": "https://shop.example/thanks",
    "action_source": "website",
    "user_data": {
        "em": [sha("jane@shop.example")],
        "client_ip_address": "203.0.113.8",
        "client_user_agent": "UA",
    },
    "custom_data": {
        "currency": "usd",
        "value": 142.52,
        "order_id": "m-7",
        "content_ids": ["A"],
        "contents": [{"id": "A", "quantity": 2, "item_price": 71.26}],
        "num_items": 2,
    },
}
SNAP_PURCHASE = {
    "item_ids": ["A", "B"],
    "price": "33.00",
    "currency": "USD",
    "number_items": 2,
    "transaction_id": "snap-9",
    "user_email": "jane@shop.example",
}
TAG_CHECKOUT = {
    "value": 100,
    "order_quantity": 2,
    "currency": "USD",
    "order_id": "tag-1",
    "line_items": [{"product_name": "P", "product_id": "1", "product_price": 50.0, "product_quantity": 2}],
}
XDM_PURCHASE = {
    "commerce": {
        "order": {"purchaseID": "a8g784hjq1mnp3", "priceTotal": 30, "currencyCode": "USD"},
        "purchases": {"value": 1},
    },
    "productListItems": [{"SKU": "1234", "name": "Jacket", "quantity": 1, "priceTotal": 30}],
}
TIKTOK_PAYMENT = {
    "properties": {
        "contents": [{"content_id": "1077218", "content_name": "shirt", "quantity": 2, "price": 10}],
        "currency": "USD",
        "value": 20,
        "order_id": "tt-1",
    },
    "context": {"user": {"email": sha("jane@shop.example")}, "ip": "203.0.113.6", "user_agent": "TT"},
}

# Name, properties, dialect; then value, currency, order id, number of items, ids of the products.
ORDERS: list[tuple[str, dict[str, Any], str, tuple[Any, ...]]] = [
    ("checkout_completed", PIXEL_CHECKOUT, "Shopify web pixel", ("25.5", "USD", "77", 2, ["9"])),
    ("checkout_completed", {"data": PIXEL_CHECKOUT}, "Shopify web pixel", ("25.5", "USD", "77", 2, ["9"])),
    ("orders/create", SHOPIFY_ORDER, "Shopify order", ("209", "USD", "1234", 2, ["632910392"])),
    ("order.created", WOO_ORDER, "WooCommerce order", ("29.35", "EUR", "727", 3, ["93", "22"])),
    ("sales_order_place_after", MAGENTO_ORDER, "Magento order", ("129.5", "EUR", "000000001", 2, ["11"])),
    ("purchase", GA4_PURCHASE, "Google data layer", ("30.03", "USD", "T_12345", 3, ["SKU_12345"])),
    ("eec.purchase", UA_PURCHASE, "Google data layer", ("35.43", "EUR", "T12345", 1, ["12345"])),
    ("dl_purchase", ELEVAR_PURCHASE, "Elevar", ("35.43", "EUR", "T12345", 1, ["12345"])),
    ("Placed Order", KLAVIYO_ORDER, "Klaviyo", ("29.98", "USD", "1234", 2, ["1111", "1112"])),
    ("Purchase", META_PURCHASE, "Meta", ("142.52", "USD", "m-7", 2, ["A"])),
    ("PURCHASE", SNAP_PURCHASE, "Snap", ("33", "USD", "snap-9", 2, ["A", "B"])),
    ("checkout", TAG_CHECKOUT, "Pinterest tag", ("100", "USD", "tag-1", 2, ["1"])),
    ("commerce.purchases", XDM_PURCHASE, "Adobe", ("30", "USD", "a8g784hjq1mnp3", 1, ["1234"])),
    ("CompletePayment", TIKTOK_PAYMENT, "TikTok", ("20", "USD", "tt-1", 2, ["1077218"])),
]


@pytest.mark.parametrize(("name", "properties", "dialect", "expected"), ORDERS)
def test_an_order_in_a_vendors_shape_is_a_checkout_with_its_value_and_products(
    name: str, properties: dict[str, Any], dialect: str, expected: tuple[Any, ...]
) -> None:
    sent = mapped(name, properties)
    data = sent["custom_data"]
    keys = ("value", "currency", "order_id", "num_items", "content_ids")
    assert (sent["event_name"], *(data.get(key) for key in keys)) == ("checkout", *expected)


@pytest.mark.parametrize(("name", "properties", "dialect", "expected"), ORDERS)
def test_the_explanation_names_the_dialect(
    name: str, properties: dict[str, Any], dialect: str, expected: tuple[Any, ...]
) -> None:
    explanation = Explanation()
    run(track(name, properties, context=DEVICE), received=server(), explain=explanation)
    assert dialect in " ".join(line.text for line in explanation.lines if line.step == "dialect")


@pytest.mark.parametrize(
    ("name", "properties"),
    [
        ("checkout_completed", PIXEL_CHECKOUT),
        ("orders/create", SHOPIFY_ORDER),
        ("order.created", WOO_ORDER),
        ("sales_order_place_after", MAGENTO_ORDER),
        ("purchase", GA4_PURCHASE),
        ("dl_purchase", ELEVAR_PURCHASE),
        ("Placed Order", KLAVIYO_ORDER),
    ],
)
def test_the_buyer_is_found_where_the_vendor_puts_him(name: str, properties: dict[str, Any]) -> None:
    user_data = mapped(name, properties)["user_data"]
    assert {key: user_data.get(key) for key in BUYER} == BUYER


@pytest.mark.parametrize(
    ("name", "properties", "address", "agent"),
    [
        ("orders/create", SHOPIFY_ORDER, "203.0.113.9", "Mozilla/5.0 (buyer)"),
        ("order.created", WOO_ORDER, "203.0.113.7", "Mozilla/5.0 (woo)"),
        ("Purchase", META_PURCHASE, "203.0.113.8", "UA"),
        ("CompletePayment", TIKTOK_PAYMENT, "203.0.113.6", "TT"),
    ],
)
def test_a_server_passes_on_the_buyers_device_in_the_vendors_place(
    name: str, properties: dict[str, Any], address: str, agent: str
) -> None:
    user_data = mapped(name, properties, context={})["user_data"]
    assert (user_data["client_ip_address"], user_data["client_user_agent"]) == (address, agent)


def test_the_context_of_the_event_takes_precedence_over_the_vendors_place() -> None:
    assert mapped("order.created", WOO_ORDER)["user_data"]["client_ip_address"] == DEVICE["ip"]


def test_a_browser_cannot_name_another_address() -> None:
    sent = payload(track("order.created", WOO_ORDER))
    assert sent["user_data"]["client_ip_address"] == "203.0.113.50"


LINE = {"cartLine": {"cost": {"totalAmount": usd(20)}, "merchandise": VARIANT, "quantity": 2}}
ADDED = {
    "$value": 29.98,
    "AddedItemProductID": "1112",
    "AddedItemPrice": 19.99,
    "AddedItemQuantity": 1,
    "Items": [{"ProductID": "1111", "ItemPrice": 9.99}, {"ProductID": "1112", "ItemPrice": 19.99}],
}
OTHERS: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("product_viewed", {"data": {"productVariant": VARIANT}}, "view_category", {"value": "10", "content_ids": ["9"]}),
    ("product_added_to_cart", {"data": LINE}, "add_to_cart", {"value": "20", "num_items": 2, "content_ids": ["9"]}),
    ("search_submitted", {"searchResult": {"query": "lamp"}}, "search", {"search_string": "lamp"}),
    ("collection_viewed", {"collection": {"title": "Lamps"}}, "view_category", {"content_category": "Lamps"}),
    ("checkout_started", PIXEL_CHECKOUT, "initiate_checkout", {"value": "25.5", "num_items": 2}),
    ("payment_info_submitted", PIXEL_CHECKOUT, "add_payment_info", {"value": "25.5"}),
    ("Added to Cart", ADDED, "add_to_cart", {"value": "19.99", "num_items": 1, "content_ids": ["1112"]}),
    ("eec.add", {"ecommerce": {"add": {"products": [{"id": "7", "price": "5"}]}}}, "add_to_cart", {"value": "5"}),
    ("dl_view_item_list", {"ecommerce": {"impressions": [{"id": "7"}]}}, "view_category", {"content_ids": ["7"]}),
    ("AddToCart", {"product_id": ["A", "B"], "product_price": [1, 2], "product_quantity": [1, 3]}, "add_to_cart",
     {"value": "7", "num_items": 4, "content_ids": ["A", "B"]}),
    ("view_item", {"ecommerce": {"items": [{"item_id": "A"}]}}, "view_category", {"content_ids": ["A"]}),
    ("view_search_results", {"search_term": "lamp"}, "search", {"search_string": "lamp"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "properties", "sent_as", "expected"), OTHERS)
def test_other_events_of_the_vendors_keep_what_they_say(
    name: str, properties: dict[str, Any], sent_as: str, expected: dict[str, Any]
) -> None:
    sent = mapped(name, properties)
    assert sent["event_name"] == sent_as
    assert {key: sent["custom_data"].get(key) for key in expected} == expected


@pytest.mark.parametrize("name", ["Ordered Product", "orders/updated", "Fulfilled Order"])
def test_what_is_reported_after_or_of_a_part_of_an_order_is_no_checkout_and_does_not_look_like_one(
    name: str,
) -> None:
    (outcome,) = run(track(name, {"order_id": "1", "value": 5, "currency": "EUR"}))
    assert isinstance(outcome, Mapped)
    assert outcome.event_name == "custom"
    assert Problem.LOOKS_LIKE_CHECKOUT not in outcome.problems


def test_an_unknown_name_with_a_value_and_an_order_id_looks_like_a_checkout() -> None:
    (outcome,) = run(track("Bestellung abgeschlossen", {"order_id": "1", "value": 5, "currency": "EUR"}))
    assert isinstance(outcome, Mapped)
    assert outcome.problems == (Problem.LOOKS_LIKE_CHECKOUT,)
    assert "Bestellung abgeschlossen" in outcome.warnings[0]


@pytest.mark.parametrize("properties", [{"order_id": "1"}, {"value": 5, "currency": "EUR"}, {}])
def test_without_value_and_order_id_it_does_not(properties: dict[str, Any]) -> None:
    (outcome,) = run(track("Newsletter Opened", properties))
    assert isinstance(outcome, Mapped)
    assert outcome.problems == ()


KEYS = st.sampled_from(sorted(DIALECT_KEYS | {"lineitems", "items"}))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(KEYS, JSON, max_size=6))
def test_any_json_in_the_vendors_keys_maps_without_an_error(properties: dict[str, Any]) -> None:
    before = repr(properties)
    assert (
        len(run(track("Order Completed", properties, context={"user": properties}), received=server())) == 1
    )
    assert repr(properties) == before


@given(st.dictionaries(st.sampled_from(["orderid", "total", "currency", "products", "query", "email"]), JSON))
def test_an_event_in_our_shape_is_not_touched(properties: dict[str, Any]) -> None:
    assert translate(properties, {}).properties is properties


LIST = '[{"product_id": "A", "price": 5, "quantity": 2}]'


@pytest.mark.parametrize(
    "properties",
    [
        {"products": LIST},
        {"items": LIST},
        {"contents": LIST},
        {"line_items": LIST},
        {"products": LIST[1:-1]},
        {"products": [LIST[1:-1]]},
        {"products": f'"{LIST}"'.replace('"', '\\"')[1:-2] + '"'},
        {"products": {"0": {"product_id": "A", "price": 5}, "1": {"product_id": "A", "price": 5}}},
        {"products": [{"id": "line-1", "product": {"id": "A", "price": 5}, "quantity": 2}]},
        {"product": {"id": "A", "price": 5}, "quantity": 2, "num_items": 2, "value": 10},
    ],
)
def test_products_are_read_in_text_and_in_objects(properties: dict[str, Any]) -> None:
    data = mapped("Order Completed", {"order_id": "1", "currency": "EUR"} | properties)["custom_data"]
    assert (data["value"], data["num_items"], data["content_ids"]) == ("10", 2, ["A"])


@pytest.mark.parametrize(
    ("properties", "problem"),
    [
        ({"products": "[{'product_id': 'A'}]"}, Problem.PRODUCTS_UNREADABLE),
        ({"products": "[object Object],[object Object]"}, Problem.PRODUCTS_UNREADABLE),
        ({"content_ids": "['A', 'B']"}, Problem.ID_LOOKS_LIKE_JSON),
        ({"products": [{"id": "['A']"}]}, Problem.ID_LOOKS_LIKE_JSON),
        ({"products": [{"id": '["A","B"]', "name": "x"}]}, Problem.ID_LOOKS_LIKE_JSON),
        ({"order_id": {"id": 7}}, Problem.FIELD_UNREADABLE),
        ({"order_id": [7]}, Problem.FIELD_UNREADABLE),
        ({"ecommerce": "{'items': []}"}, Problem.FIELD_UNREADABLE),
        ({"custom_data": "{value: 1}"}, Problem.FIELD_UNREADABLE),
        ({"data": "{checkout}"}, Problem.FIELD_UNREADABLE),
    ],
)
def test_what_is_there_and_cannot_be_read_is_a_warning(properties: dict[str, Any], problem: Problem) -> None:
    (outcome,) = run(track("Lead", properties))
    assert problem in outcome.problems


@pytest.mark.parametrize(
    ("ids", "sent"),
    [
        ('["A","B"]', ["A", "B"]),
        ("[1, 2]", ["1", "2"]),
        ('"[\\"A\\"]"', ["A"]),
        ("A,B", ["A", "B"]),
        (["A", "A", 7], ["A", "7"]),
        ("[Sale] Lamp", ["[Sale] Lamp"]),
        (12, ["12"]),
    ],
)
def test_ids_are_read_in_text(ids: object, sent: list[str]) -> None:
    assert mapped("Lead", {"content_ids": ids})["custom_data"]["content_ids"] == sent


@pytest.mark.parametrize("key", ["search", "term", "keywords", "q", "search_term", "searchText", "query"])
@pytest.mark.parametrize("value", ["red lamp", {"text": "red lamp"}, ["red", "lamp"]])
def test_a_search_is_read_in_every_spelling(key: str, value: object) -> None:
    assert mapped("search", {key: value})["custom_data"]["search_string"] == "red lamp"


def test_consent_in_a_text_counts() -> None:
    options = Options(consent_categories=("advertising",))
    for said, outcome in (('{"advertising": true}', Mapped), ('{"advertising": false}', Filtered)):
        (made,) = run(track("Lead", context={"consent": said}), options=options)
        assert isinstance(made, outcome)


@pytest.mark.parametrize(
    ("name", "properties", "expected"),
    [
        ("AddToCart", {"product_id": '["11","12"]', "value": 5}, {"content_ids": ["11", "12"]}),
        ("Lead", {"sku": ["a", "b"]}, {"content_ids": ["a", "b"]}),
        (
            "transaction",
            {
                "transactionId": "1234",
                "transactionTotal": 38.26,
                "transactionProducts": [{"sku": "DD44", "price": 11.99}, {"sku": "AA12", "quantity": 2}],
            },
            {"order_id": "1234", "value": "38.26", "content_ids": ["DD44", "AA12"], "num_items": 3},
        ),
        ("ViewContent", {"content_id": "12", "content_type": "product"}, {"content_ids": ["12"]}),
        ("Read", {"content_id": "12", "content_type": "article"}, {}),
        (
            "fb_mobile_purchase",
            {"_valueToSum": 12.5, "fb_currency": "USD", "fb_content_id": "77", "fb_order_id": "f1"},
            {"value": "12.5", "currency": "USD", "content_ids": ["77"], "num_items": 1, "order_id": "f1"},
        ),
        (
            "fb_mobile_add_to_cart",
            {"fb_content": '[{"id": "7", "quantity": 2}]', "_valueToSum": 3, "fb_currency": "EUR"},
            {"value": "3", "content_ids": ["7"], "num_items": 2},
        ),
        (
            "PURCHASE",
            {"price": "15.00", "item_ids": ["11", "12"], "number_items": ["1", "2"]},
            {"value": "15", "content_ids": ["11", "12"], "num_items": 3},
        ),
        ("START_CHECKOUT", {"price": 5, "item_ids": "11;12"}, {"content_ids": ["11", "12"]}),
        (
            "af_purchase",
            {
                "af_revenue": 10,
                "af_currency": "USD",
                "af_content_id": "1",
                "af_order_id": "o",
                "af_quantity": 2,
            },
            {"value": "10", "currency": "USD", "order_id": "o", "num_items": 2, "content_ids": ["1"]},
        ),
        ("af_add_to_cart", {"af_price": "5", "af_content_id": "1", "af_quantity": 2}, {"value": "10"}),
        (
            "purchase",
            {
                "order_total": 100,
                "product_id": ["1", "2"],
                "product_unit_price": ["40", 30],
                "product_quantity": [1, 2],
            },
            {
                "contents": [
                    {"id": "1", "item_price": "40", "quantity": 1},
                    {"id": "2", "item_price": "30", "quantity": 2},
                ]
            },
        ),
    ],
)
def test_shapes_from_the_vendors_documentation(
    name: str, properties: dict[str, Any], expected: dict[str, Any]
) -> None:
    sent = mapped(name, properties).get("custom_data", {})
    assert {field: sent.get(field) for field in expected} == expected
    assert expected or "content_ids" not in sent


@pytest.mark.parametrize(
    ("event", "event_time"),
    [
        ({}, 1706530000),
        ({"timestamp": 1706531000}, 1706531000),
        # It may be wrong only in one direction.
        ({"properties": META_PURCHASE | {"event_time": 1706999999}}, 1706540000),
        ({"properties": META_PURCHASE | {"event_time": "yesterday"}}, 1706540000),
        ({"properties": {"order_id": "1", "value": 5, "num_items": 1, "event_time": 1706530000}}, 1706540000),
    ],
)
def test_another_platforms_time_of_an_event_counts_if_it_has_no_timestamp(
    event: dict[str, Any], event_time: int
) -> None:
    purchase = track("Purchase", META_PURCHASE | {"event_time": 1706530000}, context=DEVICE)
    assert payload(purchase | event, received=server())["event_time"] == event_time


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Wishlist Product Added to Cart", "add_to_cart"),
        ("gtm4wp.orderCompletedEEC", "checkout"),
        ("gtm4wp.addProductToCartEEC", "add_to_cart"),
        ("Store Locator Viewed", "find_location"),
        ("[Amplitude] Page Viewed", "page_visit"),
        ("checkout_onepage_controller_success_action", "checkout"),
    ],
)
def test_names_from_the_vendors_documentation(name: str, expected: str) -> None:
    products = [{"id": "1", "price": 1, "quantity": 1}]
    assert mapped(name, {"products": products})["event_name"] == expected


def test_a_refund_of_shopify_takes_back_what_was_paid_back() -> None:
    transactions = [
        {"kind": "refund", "amount": "41.94", "currency": "USD"},
        {"kind": "refund", "amount": "8.06", "currency": "USD"},
        {"kind": "void", "amount": "7.00", "currency": "USD"},
    ]
    refund = {
        "order_id": 450789469,
        "refund_line_items": [{"subtotal": 195.67}],
        "transactions": transactions,
    }
    (outcome,) = run(track("refunds/create", refund), received=server())
    assert isinstance(outcome, Dropped)
    assert outcome.refund is not None
    assert outcome.refund.amount is not None
    assert (outcome.refund.amount.text, outcome.refund.currency) == ("50", "USD")


@pytest.mark.parametrize(
    "attributes",
    [
        {
            "note_attributes": [
                {"name": "epik", "value": "dj0abc"},
                {"name": "_pin_unauth", "value": "dWlkP1"},
            ]
        },
        {
            "meta_data": [
                {"id": 1, "key": "_epik", "value": "dj0abc"},
                {"key": "pin_unauth", "value": "dWlkP1"},
            ]
        },
        {"customAttributes": [{"key": "epik", "value": "dj0abc"}, {"key": "_pin_unauth", "value": "dWlkP1"}]},
    ],
)
def test_click_ids_among_an_orders_attributes_are_sent(attributes: dict[str, Any]) -> None:
    user_data = mapped("Lead", attributes)["user_data"]
    assert (user_data["partner_id"], user_data["click_id"]) == ("dj0abc", "dWlkP1")


@pytest.mark.parametrize(
    "properties",
    [
        {"email": "jane@shop.example", "first_name": "Jane", "lastName": "Doe"},
        {"contact": {"email": "jane@shop.example", "name": "Jane Doe"}},
        {"user": {"traits": {"email": "jane@shop.example", "firstName": "Jane", "lastName": "Doe"}}},
        {"order": {"total": 5, "customer": {"email": "jane@shop.example", "name": "Jane Doe"}}},
        {"buyer": {"email_address": "jane@shop.example", "name": {"given_name": "Jane", "surname": "Doe"}}},
    ],
)
def test_a_person_is_found_where_systems_put_it(properties: dict[str, Any]) -> None:
    user_data = mapped("Lead", properties)["user_data"]
    assert {key: user_data.get(key) for key in ("em", "fn", "ln")} == {
        key: BUYER[key] for key in ("em", "fn", "ln")
    }


def test_an_order_inside_an_object_is_read() -> None:
    order = {"id": "O-1", "total": "12.50", "currency": "EUR", "items": [{"sku": "A", "price": 12.5}]}
    data = mapped("Order Completed", {"order": order})["custom_data"]
    assert (data["order_id"], data["value"], data["content_ids"]) == ("O-1", "12.5", ["A"])
    assert "custom_data" not in mapped("Lead", {"order": {"note": "none"}})
