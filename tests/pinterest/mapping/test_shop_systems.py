"""Orders in the shapes of shop systems and payment services, as these document them."""

from typing import Any

import pytest

from tests.pinterest.conftest import payload, run, server, sha, track
from worker.pinterest.mapping.mapping import Dropped

EMAIL = "jane@shop.example"
JANE = {"firstName": "Jane", "lastName": "Doe", "city": "Ottawa"}


def mapped(name: str, properties: dict[str, Any]) -> dict[str, Any]:
    context = {"ip": "203.0.113.5", "userAgent": "Mozilla/5.0 (shop)"}
    return payload(track(name, properties, context=context), received=server())


def cents(amount: int, currency: str = "EUR", digits: int = 2) -> dict[str, Any]:
    return {
        "type": "centPrecision",
        "centAmount": amount,
        "currencyCode": currency,
        "fractionDigits": digits,
    }


STRIPE = {
    "id": "cs_test_1",
    "object": "checkout.session",
    "amount_subtotal": 2198,
    "amount_total": 2198,
    "client_reference_id": "S-1",
    "currency": "usd",
    "customer_details": {"email": EMAIL, "name": "Jane Doe", "address": {"city": "Ottawa", "country": "CA"}},
    "line_items": {
        "object": "list",
        "data": [
            {
                "id": "li_1",
                "price": {"id": "price_1", "product": "prod_1", "unit_amount": 1099},
                "quantity": 2,
            }
        ],
    },
}
VTEX = {
    "orderId": "v126-01",
    "value": 11990,
    "items": [{"id": "310117869", "productId": "134", "sellingPrice": 5500, "price": 6000, "quantity": 2}],
    "clientProfileData": JANE | {"email": EMAIL},
    "storePreferencesData": {"countryCode": "BRA", "currencyCode": "BRL"},
}
SYLIUS = {
    "number": "000000021",
    "tokenValue": "abc",
    "currencyCode": "EUR",
    "total": 10350,
    "itemsTotal": 10000,
    "items": [{"id": 1, "variant": "/api/v2/shop/product-variants/X", "quantity": 2, "unitPrice": 5000}],
    "customer": JANE | {"email": EMAIL},
}
VENDURE = {
    "code": "T_1",
    "totalWithTax": 12000,
    "total": 10000,
    "currencyCode": "EUR",
    "lines": [
        {"id": "1", "quantity": 2, "unitPriceWithTax": 6000, "productVariant": {"id": "3", "sku": "L"}}
    ],
    "customer": JANE | {"emailAddress": EMAIL},
}
MEDUSA_1 = {
    "id": "order_01",
    "display_id": 17,
    "email": EMAIL,
    "currency_code": "jpy",
    "total": 8200,
    "items": [{"id": "item_01", "unit_price": 4100, "quantity": 2, "variant": {"product_id": "prod_1"}}],
}
MEDUSA_2 = MEDUSA_1 | {
    "currency_code": "eur",
    "items": [{"id": "ordli_01", "unit_price": 4100, "quantity": 2, "product_id": "prod_1"}],
}
COMMERCETOOLS = {
    "id": "a1",
    "orderNumber": "CT-1",
    "orderState": "Open",
    "customerEmail": EMAIL,
    "totalPrice": cents(12345),
    "taxedPrice": {"totalGross": cents(14691)},
    "lineItems": [
        {
            "id": "line1",
            "productId": "prod-1",
            "variant": {"id": 1, "sku": "SKU-1"},
            "price": {"value": cents(4115)},
            "quantity": 3,
        }
    ],
    "billingAddress": JANE | {"country": "CA"},
}
SALEOR = {
    "id": "T3JkZXI6MQ==",
    "number": "117",
    "userEmail": EMAIL,
    "total": {"gross": {"amount": 80.9, "currency": "USD"}, "net": {"amount": 70.1, "currency": "USD"}},
    "lines": [
        {
            "id": "T3JkZXJMaW5lOjE=",
            "productSku": "43226647",
            "quantity": 2,
            "unitPrice": {"gross": {"amount": 40.45, "currency": "USD"}},
            "variant": {"id": "V1", "product": {"id": "P1"}},
        }
    ],
    "billingAddress": JANE,
}
SALESFORCE = {
    "order_no": "00000101",
    "currency": "USD",
    "order_total": "136.49",
    "customer_info": {"email": EMAIL, "customer_name": "Jane Doe"},
    "product_items": [
        {"item_id": "it1", "product_id": "701643", "quantity": 2, "price": 129.98, "base_price": 64.99}
    ],
}
PRESTASHOP = {
    "id": "5",
    "reference": "KHWLILZLL",
    "total_paid": "29.900000",
    "total_paid_tax_incl": "29.900000",
    "currency": "EUR",
    "associations": {
        "order_rows": [
            {"id": "9", "product_id": "2", "product_quantity": "1", "unit_price_tax_incl": "23.900000"},
        ]
    },
}
SHOPWARE = {
    "id": "9ed1",
    "orderNumber": "10001",
    "amountTotal": 478.94,
    "currency": {"isoCode": "EUR"},
    "orderCustomer": {"email": EMAIL, "firstName": "Jane", "lastName": "Doe"},
    "lineItems": [
        {"id": "l1", "productId": "11dc", "quantity": 2, "unitPrice": 236.97, "type": "product"},
        {"id": "l2", "type": "promotion", "unitPrice": -10, "quantity": 1},
    ],
}
BIGCOMMERCE = {
    "id": 118,
    "status_id": 11,
    "status": "Awaiting Fulfillment",
    "total_inc_tax": "109.0000",
    "items_total": 2,
    "currency_code": "USD",
    "billing_address": {"first_name": "Jane", "last_name": "Doe", "email": EMAIL},
    "products": [{"id": 20, "product_id": 77, "price_inc_tax": "49.5000", "quantity": 2}],
}
SQUARESPACE = {
    "id": "585d",
    "orderNumber": "1042",
    "createdOn": "2024-01-29T14:00:00Z",
    "customerEmail": EMAIL,
    "grandTotal": {"value": "70.77", "currency": "USD"},
    "billingAddress": JANE,
    "lineItems": [
        {"id": "58", "productId": "p1", "quantity": 2, "unitPricePaid": {"value": "29.99", "currency": "USD"}}
    ],
}
WIX = {
    "id": "e994",
    "number": "10002",
    "currency": "USD",
    "priceSummary": {"total": {"amount": "12.00", "formattedAmount": "$12.00"}},
    "buyerInfo": {"email": EMAIL},
    "billingInfo": {"contactDetails": {"firstName": "Jane", "lastName": "Doe"}},
    "lineItems": [
        {
            "id": "l1",
            "catalogReference": {"catalogItemId": "5862"},
            "quantity": 2,
            "price": {"amount": "5.00", "formattedAmount": "$5.00"},
        }
    ],
}
SNIPCART = {
    "invoiceNumber": "SNIP-1427",
    "email": EMAIL,
    "currency": "usd",
    "finalGrandTotal": 1000.5,
    "items": [{"uniqueId": "x", "id": "2", "price": 500.25, "quantity": 2}],
}
PAYPAL = {
    "id": "5O19",
    "status": "COMPLETED",
    "purchase_units": [
        {
            "reference_id": "d9f",
            "amount": {"currency_code": "USD", "value": "100.00"},
            "items": [
                {"sku": "s", "quantity": "2", "unit_amount": {"currency_code": "USD", "value": "50.00"}}
            ],
        }
    ],
    "payer": {"name": {"given_name": "Jane", "surname": "Doe"}, "email_address": EMAIL},
}
SPREE = {
    "id": 1,
    "number": "R123",
    "item_total": "15.99",
    "total": "18.99",
    "currency": "USD",
    "email": EMAIL,
    "bill_address": {"firstname": "Jane", "lastname": "Doe"},
    "line_items": [{"id": 7, "quantity": 2, "price": "8", "variant": {"id": 3, "product_id": 2}}],
}
ECWID = {
    "orderNumber": 355885,
    "total": 35.65,
    "usdTotal": 35.65,
    "currency": "USD",
    "email": EMAIL,
    "billingPerson": {"firstName": "Jane", "lastName": "Doe"},
    "items": [{"id": 140273658, "productId": 667, "price": 15, "quantity": 2}],
}
TIENDANUBE = {
    "id": 871254203,
    "number": 306,
    "contact_email": EMAIL,
    "total": "25300.00",
    "currency": "ARS",
    "products": [{"id": 1069053029, "product_id": 58979310, "price": "12650.00", "quantity": "2"}],
}
MPARTICLE = {
    "product_action": {
        "action": "purchase",
        "transaction_id": "mp-1",
        "total_amount": 20.0,
        "products": [{"id": "p1", "price": 10, "quantity": 2}],
    },
    "currency_code": "USD",
    "email": EMAIL,
}
DIGITAL_DATA = {
    "transaction": {
        "transactionID": "D-1",
        "total": {"basePrice": 90, "transactionTotal": 100, "currency": "USD"},
        "item": [{"productInfo": {"productID": "p1"}, "price": {"basePrice": 50}, "quantity": 2}],
    },
    "email": EMAIL,
}
GRAPHQL = {
    "id": "gid://shopify/Order/450",
    "name": "#1001",
    "email": EMAIL,
    "currencyCode": "USD",
    "totalPriceSet": {"shopMoney": {"amount": "209.00", "currencyCode": "USD"}},
    "lineItems": {
        "edges": [
            {
                "node": {
                    "id": "gid://shopify/LineItem/1",
                    "quantity": 2,
                    "originalUnitPriceSet": {"shopMoney": {"amount": "104.5", "currencyCode": "USD"}},
                    "product": {"id": "gid://shopify/Product/9"},
                }
            }
        ]
    },
}

# Name, properties; then value, currency, order id, number of items, ids and price of the first product.
ORDERS: list[tuple[str, dict[str, Any], tuple[Any, ...]]] = [
    ("checkout.session.completed", STRIPE, ("21.98", "USD", "S-1", 2, ["prod_1"], "10.99")),
    ("Order Placed", VTEX, ("119.9", "BRL", "v126-01", 2, ["134"], "55")),
    ("order completed", SYLIUS, ("103.5", "EUR", "000000021", 2, ["X"], "50")),
    ("OrderPlaced", VENDURE, ("120", "EUR", "T_1", 2, ["3"], "60")),
    ("order.placed", MEDUSA_1, ("8200", "JPY", "17", 2, ["prod_1"], "4100")),
    ("order.placed", MEDUSA_1 | {"currency_code": "eur"}, ("82", "EUR", "17", 2, ["prod_1"], "41")),
    ("order.placed", MEDUSA_2, ("8200", "EUR", "17", 2, ["prod_1"], "4100")),
    ("OrderCreated", COMMERCETOOLS, ("146.91", "EUR", "CT-1", 3, ["prod-1"], "41.15")),
    ("ORDER_CREATED", SALEOR, ("80.9", "USD", "117", 2, ["P1"], "40.45")),
    ("order_placed", SALESFORCE, ("136.49", "USD", "00000101", 2, ["701643"], "64.99")),
    ("actionValidateOrder", PRESTASHOP, ("29.9", "EUR", "KHWLILZLL", 1, ["2"], "23.9")),
    ("checkout.order.placed", SHOPWARE, ("478.94", "EUR", "10001", 2, ["11dc"], "236.97")),
    ("store/order/created", BIGCOMMERCE, ("109", "USD", "118", 2, ["77"], "49.5")),
    ("order.create", SQUARESPACE, ("70.77", "USD", "1042", 2, ["p1"], "29.99")),
    ("wix.ecom.v1.order_approved", WIX, ("12", "USD", "10002", 2, ["5862"], "5")),
    ("order.completed", SNIPCART, ("1000.5", "USD", "SNIP-1427", 2, ["2"], "500.25")),
    ("Order Completed", PAYPAL, ("100", "USD", "5O19", 2, ["s"], "50")),
    ("order.placed", SPREE, ("18.99", "USD", "R123", 2, ["2"], "8")),
    ("order.created", ECWID, ("35.65", "USD", "355885", 2, ["667"], "15")),
    ("Purchase", MPARTICLE, ("20", "USD", "mp-1", 2, ["p1"], "10")),
    ("purchase", DIGITAL_DATA, ("100", "USD", "D-1", 2, ["p1"], "50")),
    ("order/created", TIENDANUBE, ("25300", "ARS", "306", 2, ["58979310"], "12650")),
    ("orders/create", {"order": GRAPHQL}, ("209", "USD", "450", 2, ["9"], "104.5")),
]
# How webhooks wrap an order.
ENVELOPES: list[dict[str, Any]] = [
    {"order": SHOPWARE},
    {"payload": {"order": SHOPWARE}, "source": {"shopId": "x"}},
    {"id": "evt_1", "type": "order", "data": SHOPWARE},
    {"id": "evt_1", "object": "event", "data": {"object": SHOPWARE}},
    {"eventName": "order.completed", "content": SHOPWARE},
    {"id": "1", "resource": SHOPWARE},
    {"id": "162", "slug": "approved", "actionEvent": {"body": {"order": SHOPWARE}}},
]


@pytest.mark.parametrize(("name", "properties", "expected"), ORDERS)
def test_an_order_of_a_shop_system_has_its_value_id_products_and_buyer(
    name: str, properties: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    sent = mapped(name, properties)
    data = sent["custom_data"]
    stated = [data.get(key) for key in ("value", "currency", "order_id", "num_items", "content_ids")]
    assert (sent["event_name"], *stated, data["contents"][0]["item_price"]) == ("checkout", *expected)
    if properties is not PRESTASHOP:
        assert sent["user_data"]["em"] == [sha(EMAIL)]


@pytest.mark.parametrize("properties", ENVELOPES)
def test_an_order_is_read_inside_the_envelope_of_a_webhook(properties: dict[str, Any]) -> None:
    data = mapped("Order Completed", properties)["custom_data"]
    assert (data["value"], data["order_id"], data["num_items"]) == ("478.94", "10001", 2)


LINE = {"product_id": 713, "variant_id": 79, "id": 79, "price": 2950, "quantity": 2}
CART = {"original_total_price": 5900, "total_price": 5900, "item_count": 2, "items": [LINE]}


@pytest.mark.parametrize("currency", ["CAD", "JPY"])
@pytest.mark.parametrize(
    ("name", "properties"),
    [
        ("Checkout Started", CART | {"items_subtotal_price": 5900}),
        ("Product Added", LINE | {"final_price": 2950, "final_line_price": 5900}),
    ],
)
def test_shopifys_cart_is_in_hundredths_in_every_currency(
    name: str, properties: dict[str, Any], currency: str
) -> None:
    data = mapped(name, properties | {"currency": currency})["custom_data"]
    assert (data["value"], data["num_items"], data["content_ids"]) == ("59", 2, ["713"])
    assert data["contents"] == [{"id": "713", "item_price": "29.5", "quantity": 2}]


def test_a_cart_whose_amounts_the_theme_divided_is_not_divided_again() -> None:
    line = LINE | {"price": 29.5}
    data = mapped(
        "Checkout Started", CART | {"total_price": "59.00", "original_total_price": 59.0, "items": [line]}
    )["custom_data"]
    assert (data.get("value"), data["contents"][0]["item_price"]) == ("59", "29.5")


@pytest.mark.parametrize(
    "properties",
    [
        {"object": "order", "amount_total": 50},
        {"amount_total": 50},
        {"display_id": 17, "total": 50, "currency_code": "EUR", "items": [{"id": "item_1", "price": 50}]},
        {"total": 50, "data": {"total": 9, "id": "inner", "items": [{"id": "z", "price": 9}]}},
        {"total": 50, "content": {"title": "Thank you", "value": 3}},
        {"total": 50, "transaction": {"id": "T1", "value": 5}},
    ],
)
def test_an_event_that_only_resembles_an_order_of_a_shop_system_is_read_as_it_is(
    properties: dict[str, Any],
) -> None:
    data = mapped("Order Completed", {"order_id": "O", "currency": "EUR", "num_items": 1} | properties)[
        "custom_data"
    ]
    assert (data["value"], data["order_id"]) == ("50", "O")


def test_a_refunded_order_of_a_shop_system_is_no_sale() -> None:
    (outcome,) = run(track("Order Completed", BIGCOMMERCE | {"status": "Refunded"}), received=server())
    assert isinstance(outcome, Dropped)
