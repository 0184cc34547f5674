"""One order is one checkout, however often a shop reports it."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select

from tests.ledger.shop import place
from tests.pipeline.ingest.test_ingest_bulk import HERE, order, payloads, take_in
from worker.event.received import Trust
from worker.ledger.database import Ledger
from worker.ledger.delivery import find_deliveries
from worker.ledger.schema import delivery
from worker.ledger.setup import integrations
from worker.ledger.setup.ad_accounts import AccountRateLimit
from worker.pipeline.ingest.ingest_bulk import ingest


def track(name: str, properties: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    context = {"ip": HERE["ip"], "userAgent": HERE["user_agent"], "traits": {"email": "jane@example.com"}}
    said = {"type": "track", "event": name, "properties": properties or {}, "messageId": str(uuid4())}
    return said | {"context": context} | fields


def again(event: dict[str, Any], name: str = "again") -> dict[str, Any]:
    return event | {"messageId": name}


def states(ledger: Ledger) -> list[str]:
    with ledger.read() as connection:
        return [found.state for found in find_deliveries.find_after(connection, 0, 100)]


LINE = {
    "id": 9,
    "variant_id": 2,
    "product_id": 1,
    "sku": "A",
    "title": "Lamp",
    "price": "10.00",
    "quantity": 2,
}
SHOPIFY_ORDER = {
    "id": 820982911946154508,
    "admin_graphql_api_id": "gid://shopify/Order/820982911946154508",
    "order_number": 1001,
    "name": "#1001",
    "total_price": "20.00",
    "currency": "USD",
    "line_items": [LINE],
}
PIXEL_CHECKOUT = {
    "order": {"id": "820982911946154508"},
    "totalPrice": {"amount": 20.0, "currencyCode": "USD"},
    "currencyCode": "USD",
    "lineItems": [{"quantity": 2, "title": "Lamp", "variant": {"id": "2", "product": {"id": "1"}}}],
}


def pixel_event(**context: Any) -> dict[str, Any]:
    return track("checkout_completed", {"checkout": PIXEL_CHECKOUT}, anonymousId="browser") | {
        "context": {"ip": HERE["ip"], "userAgent": HERE["user_agent"], **context}
    }


WOOCOMMERCE_ORDER = {
    "id": 727,
    "number": "1001",
    "order_key": "wc_order_1",
    "total": "129.99",
    "currency": "USD",
    "line_items": [{"id": 1, "product_id": 2, "quantity": 1, "price": 129.99}],
}
MAGENTO_ORDER = {
    "entity_id": 727,
    "increment_id": "000001001",
    "grand_total": 129.99,
    "order_currency_code": "USD",
    "items": [{"product_id": 2, "qty_ordered": 1, "price": 129.99}],
}
WITH_TOKEN = SHOPIFY_ORDER | {"checkout_token": "tok_1"}


def page(order_id: str) -> dict[str, Any]:
    return again(order(order_id), f"page {order_id}")


# How a page, a pixel or a server names an order, and the shop's own report of the order.
NAMED = [
    (page("1001"), track("orders/create", SHOPIFY_ORDER)),
    (page("#1001"), track("orders/create", SHOPIFY_ORDER)),
    (page("SHOP-1001-A"), track("orders/create", SHOPIFY_ORDER | {"name": "SHOP-1001-A"})),
    (page("820982911946154508"), track("orders/create", SHOPIFY_ORDER)),
    (page("gid"), track("orders/create", SHOPIFY_ORDER | {"order_id": "gid"})),
    (page("1001") | {"event": "purchase"}, track("orders/create", SHOPIFY_ORDER)),
    (track("checkout_completed", {"checkout": PIXEL_CHECKOUT | {"order": None, "token": "tok_1"}}),
     track("orders/create", WITH_TOKEN)),
    (page("1001"), track("Order Completed", WOOCOMMERCE_ORDER)),
    (page("727"), track("Order Completed", WOOCOMMERCE_ORDER)),
    (page("000001001"), track("Order Completed", MAGENTO_ORDER)),
    (page("727"), track("Order Completed", MAGENTO_ORDER)),
]  # fmt: skip

CAME_TWICE = [
    *NAMED,
    *((second, first) for first, second in NAMED),
    (pixel_event(), track("orders/create", SHOPIFY_ORDER)),
    (track("orders/paid", SHOPIFY_ORDER), pixel_event()),
    (
        track("orders/create", SHOPIFY_ORDER),
        track("orders/paid", SHOPIFY_ORDER | {"financial_status": "paid"}),
    ),
    (order("1"), again(order("1"))),
    (order("1"), again(order("1")) | {"event": "purchase"}),
    (order("1"), again(order("1", anonymousId="mail program"))),
    (order("17"), track("checkout", order("17")["properties"] | {"order_id": 17})),
    (track("Signed Up", userId="u1"), track("sign_up", userId="u1", messageId="again")),
    (track("Signed Up", {"user_id": 7}), track("Signed Up", {"userId": "7"}, messageId="again")),
    (track("Lead", {"lead_id": "l1"}), track("generate_lead", {"leadId": "l1"}, messageId="again")),
    (track("subscribe", {"subscription_id": "s1"}), track("subscribe", {"subscriptionId": "s1"})),
    (track("start_trial", {"subscription_id": 9}), track("start_trial", {"subscription_id": "9"})),
]


def _trust_of(event: dict[str, Any]) -> Trust:
    """Return how a page's, a pixel's or a server's event comes in."""
    is_servers = not {"id", "increment_id", "entity_id"}.isdisjoint(event["properties"])
    return Trust.SIGNED if is_servers else Trust.PUBLIC


@pytest.mark.parametrize(("first", "second"), CAME_TWICE)
@pytest.mark.parametrize("at_once", [True, False])
def test_what_happened_once_is_sent_once(
    sqlite_ledger: Ledger, first: dict[str, Any], second: dict[str, Any], at_once: bool
) -> None:
    place(sqlite_ledger)
    ids = [
        *take_in(sqlite_ledger, first, trust=_trust_of(first)),
        *take_in(sqlite_ledger, second, trust=_trust_of(second)),
    ]
    for some in [ids] if at_once else [ids[:1], ids[1:]]:
        ingest(sqlite_ledger, some)
    assert sorted(states(sqlite_ledger)) == ["duplicate", "pending"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (order("1"), order("2")),
        (order("1"), again(order("1")) | {"event": "Order Shipped"}),
        (track("Product Added", {"order_id": "1"}), track("Product Added", {"order_id": "1"})),
        (track("Signed Up", userId="u1"), track("Signed Up", userId="u2")),
        (track("Signed Up"), track("Signed Up")),
        (track("Lead", {"lead_id": "1"}), track("Lead", {"lead_id": "2"})),
        (track("Lead", userId="u1"), track("Lead", userId="u1")),
        (track("subscribe", {"subscription_id": "1"}), track("start_trial", {"subscription_id": "1"})),
        (track("Page Viewed", {"order_id": "1"}), again(order("1"))),
    ],
)
def test_what_happened_twice_is_sent_twice(
    sqlite_ledger: Ledger, first: dict[str, Any], second: dict[str, Any]
) -> None:
    place(sqlite_ledger)
    ingest(sqlite_ledger, take_in(sqlite_ledger, first, second))
    assert states(sqlite_ledger) == ["pending", "pending"]


def test_an_integration_may_count_event_ids_only(ledger: Ledger) -> None:
    place(ledger, dedupe_by_business_id=False)
    ingest(ledger, take_in(ledger, order("1"), again(order("1"))))
    assert states(ledger) == ["pending", "pending"]


def test_two_sources_of_one_account_may_both_have_an_order_1001(ledger: Ledger) -> None:
    place(ledger)
    place(ledger, "src_other")
    ingest(ledger, take_in(ledger, order("1001")))
    ingest(ledger, take_in(ledger, again(order("1001")), source_id="src_other"))
    assert states(ledger) == ["pending", "pending"]


def test_the_page_the_mail_and_the_server_report_one_order(ledger: Ledger) -> None:
    """The thank-you page is loaded twice and opened from the mail, and the shop's server sends the order too."""
    place(ledger)
    page = [again(order("1"), f"page {n}") for n in range(3)]
    ingest(ledger, take_in(ledger, *page, trust=Trust.PUBLIC))
    ingest(ledger, take_in(ledger, again(order("1"), "server"), trust=Trust.SIGNED))
    with ledger.read() as connection:
        rows = connection.execute(select(delivery.c.event_id, delivery.c.reason_class)).all()
    assert dict(map(tuple, rows)) == dict.fromkeys(["page 0", "page 1", "page 2"], "duplicate") | {
        "server": None
    }


@pytest.mark.parametrize(
    ("first", "fate"),
    [
        (order("1", context={"consent": {"advertising": False}} | HERE), "filtered"),
        (order("1", context={}, anonymousId="nobody"), "failed"),
    ],
)
def test_a_first_copy_that_was_not_sent_does_not_stop_the_second(
    sqlite_ledger: Ledger, first: dict[str, Any], fate: str
) -> None:
    shop = place(sqlite_ledger)
    with sqlite_ledger.write() as connection:
        asking = replace(shop, consent_categories=("advertising",))
        rate = AccountRateLimit(1, 1)
        integrations.update_integration(
            connection, sqlite_ledger.vault, asking, rate=rate, new_token=None, now=1.0
        )
    for event in (first, again(order("1")), again(order("1"), "third")):
        ingest(sqlite_ledger, take_in(sqlite_ledger, event))
    assert states(sqlite_ledger) == [fate, "pending", "duplicate"]


CLICKED = {"page": {"url": "https://example.com/thanks?epik=dj0click"}}


def clicks_of(ledger: Ledger, event_id: str) -> tuple[Any, Any]:
    user_data = payloads(ledger)[event_id]["user_data"]
    return user_data.get("partner_id"), user_data.get("click_id")


@pytest.mark.parametrize("field_mapping", ["signal", "pinterest"])
@pytest.mark.parametrize(
    ("browser", "server"),
    [
        (order("7", context=CLICKED | {"ip": HERE["ip"], "userAgent": "M"}), order("7", anonymousId=None)),
        (pixel_event(**CLICKED), track("orders/create", SHOPIFY_ORDER)),
    ],
)
def test_a_servers_order_has_the_click_id_of_the_browsers(
    sqlite_ledger: Ledger, browser: dict[str, Any], server: dict[str, Any], field_mapping: str
) -> None:
    place(sqlite_ledger, field_mapping=field_mapping)
    ingest(sqlite_ledger, take_in(sqlite_ledger, browser, trust=Trust.PUBLIC))
    ingest(sqlite_ledger, take_in(sqlite_ledger, again(server, "server"), trust=Trust.SIGNED))
    ids = clicks_of(sqlite_ledger, "server")
    assert ids == ((None, "dj0click") if field_mapping == "pinterest" else ("dj0click", None))


@pytest.mark.parametrize(
    "server",
    [
        order("8", anonymousId=None),
        order(
            "7",
            anonymousId=None,
            context={"consent": {"advertising": False}, "ip": "203.0.113.50", "userAgent": "M"},
        ),
    ],
)
def test_another_order_or_one_without_consent_has_no_click_id(
    sqlite_ledger: Ledger, server: dict[str, Any]
) -> None:
    place(sqlite_ledger)
    browser = order("7", context=CLICKED | {"ip": HERE["ip"], "userAgent": "M"})
    ingest(sqlite_ledger, take_in(sqlite_ledger, browser, trust=Trust.PUBLIC))
    ingest(sqlite_ledger, take_in(sqlite_ledger, again(server, "server"), trust=Trust.SIGNED))
    assert clicks_of(sqlite_ledger, "server") == (None, None)
