"""The document's examples and every row of its table, through live processes."""

import json
import random
import subprocess
import time
from shutil import which
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.integration import document, services
from tests.integration.conftest import EMBEDDED
from tests.integration.queues import shuffle
from tests.integration.shop import EPIK, LANDING_URL, PIN_UNAUTH, Shop, Visitor
from tests.integration.stack import Stack
from tests.integration.waiting import until

EM = "836f82db99121b3481011f16b49dfa5fbc714a0d1b1b9f784a1ebbbf5b39577f"
USER_DATA = {
    "client_ip_address": "203.0.113.50",
    "client_user_agent": "Mozilla/5.0 ...",
    "em": [EM],
    "click_id": PIN_UNAUTH,
    "partner_id": EPIK,
}
ORDER = document.checkout_call()[1]
CHECKOUT = document.payload("Pinterest Conversions API payload")["custom_data"]
WIDGET = {"product_id": "SKU-A", "name": "Widget", "price": 49.99, "currency": "USD"}


def _one_widget(value: str, quantity: int) -> dict[str, Any]:
    return {
        "currency": "USD",
        "value": value,
        "num_items": quantity,
        "content_ids": ["SKU-A"],
        "contents": [{"id": "SKU-A", "item_price": "49.99", "quantity": quantity}],
    }


# Path and call; Pinterest's event name and its custom_data.
ROWS: tuple[tuple[str, dict[str, Any], str, dict[str, Any] | None], ...] = (
    ("/v1/p", {}, "page_visit", None),
    (
        "/v1/t",
        {"event": "Product Added", "properties": WIDGET | {"quantity": 2}},
        "add_to_cart",
        _one_widget("99.98", 2),
    ),
    ("/v1/t", {"event": "Order Completed", "properties": ORDER}, "checkout", CHECKOUT),
    ("/v1/t", {"event": "Product Purchased", "properties": ORDER}, "checkout", CHECKOUT),
    ("/v1/t", {"event": "Signed Up"}, "signup", None),
    ("/v1/t", {"event": "Lead Generation", "properties": {"lead_type": "newsletter"}}, "lead", None),
    (
        "/v1/t",
        {"event": "Products Searched", "properties": {"query": "lamp"}},
        "search",
        {"search_string": "lamp"},
    ),
    ("/v1/t", {"event": "Product Viewed", "properties": WIDGET}, "view_category", _one_widget("49.99", 1)),
    ("/v1/t", {"event": "Newsletter Opened", "properties": {"edition": 7}}, "custom", None),
)


def expected_payload(row: int, event_id: str, event_time: int) -> dict[str, Any]:
    _, _, event_name, custom_data = ROWS[row]
    event = {
        "event_name": event_name,
        "action_source": "web",
        "event_time": event_time,
        "event_id": event_id,
        "event_source_url": LANDING_URL,
        "user_data": USER_DATA,
    }
    return event | ({"custom_data": custom_data} if custom_data else {})


def _send_rows(shop: Shop, visitor: Visitor, prefix: str) -> list[tuple[int, int]]:
    """Send every row; return the second before and the second after each call."""
    shop.send("/v1/i", {"userId": "u-1", "traits": {"email": "john.doe@example.com"}}, visitor)
    spans = []
    for number, (path, call, _, _) in enumerate(ROWS):
        before = int(time.time())
        shop.send(path, call | {"messageId": f"{prefix}_{number}"}, visitor)
        spans.append((before, int(time.time())))
    return spans


def _assert_rows_arrived(shop: Shop, prefix: str, spans: list[tuple[int, int]]) -> None:
    shop.await_delivered(len(ROWS))
    for number, (earliest, latest) in enumerate(spans):
        event_id = f"{prefix}_{number}"
        (event,) = shop.received(event_id)
        assert earliest <= event["event_time"] <= latest
        assert expected_payload(number, event_id, event["event_time"]) == event
    names = {one.event_id: one.source_name for one in shop.deliveries()}
    assert names[f"{prefix}_{len(ROWS) - 1}"] == "Newsletter Opened"


# Two rows are checkouts of one order, which count once unless the integration says otherwise.
BY_EVENT_ID = {"dedupe_by_business_id": False}


def test_every_row_of_the_table_arrives_as_printed(stack: Stack) -> None:
    shop = Shop(stack, **BY_EVENT_ID)
    spans = _send_rows(shop, Visitor(), "row")
    _assert_rows_arrived(shop, "row", spans)


def test_every_row_arrives_as_printed_when_messages_come_in_any_order(stack: Stack) -> None:
    shop = Shop(stack, **BY_EVENT_ID)
    stack.stop(*stack.ingest_workers)
    try:
        visitor = Visitor()
        spans = _send_rows(shop, visitor, "shuffled")
        shuffle(stack.settings.broker_url, "events", len(ROWS) + 1, random.Random(20_240_129))
    finally:
        stack.start(*stack.ingest_workers)
    stack.await_ready(*stack.ingest_workers)
    _assert_rows_arrived(shop, "shuffled", spans)


def test_the_documents_checkout_arrives_as_the_document_prints_it(stack: Stack) -> None:
    expected = document.payload("Pinterest Conversions API payload")
    name, properties = document.checkout_call()
    shop, visitor = Shop(stack), Visitor()
    shop.send("/v1/p", {}, visitor)
    shop.send("/v1/i", {"traits": {"email": "john.doe@example.com"}}, visitor)
    call = {"event": name, "properties": properties, "messageId": expected["event_id"]}
    shop.send("/v1/t", call, visitor, url=expected["event_source_url"])
    shop.await_delivered(2)
    (event,) = shop.received(expected["event_id"])
    assert expected == event | {"event_time": expected["event_time"]}


def test_the_documents_page_visit_arrives_as_the_document_prints_it(stack: Stack) -> None:
    expected = document.payload("Example: Page Visit")
    shop = Shop(stack)
    call = {"messageId": expected["event_id"]}
    shop.send("/v1/p", call, Visitor(), url=expected["event_source_url"])
    shop.await_delivered(1)
    (event,) = shop.received(expected["event_id"])
    assert expected == event | {"event_time": expected["event_time"]}


@EMBEDDED
def test_the_documents_curl_creates_an_integration(stack: Stack, curl: str) -> None:
    stack.admin("POST", "/sources", {"id": "src_abc123", "name": "The document's shop"})
    port = urlsplit(stack.management_url).port
    command = document.curl_command().replace("YOUR_TOKEN", stack.settings.admin_token)
    command = command.replace("localhost:8084", f"localhost:{port}", 1)
    options = "--silent --show-error --max-time 15 --write-out '\n%{http_code}'"
    done = subprocess.run(
        ["/bin/sh", "-c", f"{command} {options}"], capture_output=True, text=True, timeout=30, check=True
    )
    body, _, status = done.stdout.rpartition("\n")
    assert status == "201", body
    created = stack.admin("GET", f"/integrations/{json.loads(body)['id']}")
    assert created == json.loads(body)
    assert (created["config"]["ad_account_id"], created["config"]["access_token"]) == ("1234567890", "***")
    assert (created["vendor"], created["enabled"]) == ("pinterest", True)
    assert created["consent_categories"] == ["advertising"]


def test_the_books_balance_after_all_of_that(stack: Stack) -> None:
    until("nothing moves any more", lambda: "pending" not in (told := stack.command("books").stdout) and told)
    done = stack.command("books", "--audit")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("The books balance.\n")


def test_each_worker_answers_celerys_own_inspect_ping(stack: Stack) -> None:
    done = subprocess.run(
        ["celery", "-A", "worker", "inspect", "ping", "--json"],
        env=stack.environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    answers = json.loads(done.stdout)
    assert {node.partition("@")[0] for node in answers} == set(stack.workers)
    assert all(answer == {"ok": "pong"} for answer in answers.values())


@pytest.fixture
def curl() -> str:
    path = which("curl")
    if path is None:
        services.missing("curl is not installed")
    return str(path)
