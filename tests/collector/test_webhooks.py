"""The order webhooks of Shopify and WooCommerce, and signed webhooks of other systems."""

import base64
import hmac
import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from tests.collector.conftest import SOURCE, Collector
from worker.collector import gateway
from worker.collector.intake import GroupCommit
from worker.collector.spooling import SpoolingIntake
from worker.collector.wsgi import create_app
from worker.event.received import Trust
from worker.ledger.database import LedgerBusyError
from worker.ledger.intake.spool import count_spooled
from worker.ledger.setup import sources
from worker.settings import parse

SECRET = "hush_hush"
SHOPIFY_ORDER = {
    "id": 450789469,
    "order_number": 1001,
    "total_price": "598.94",
    "currency": "USD",
    "created_at": "2024-01-29T09:53:00-05:00",
    "customer": {"id": 207119551, "email": "bob@shop.example"},
    "line_items": [{"product_id": 632910392, "price": "199.00", "quantity": 3}],
    "note_attributes": [
        {"name": "_epik", "value": "dj0abc"},
        {"name": "_consent", "value": '{"advertising": true}'},
    ],
}
WOO_ORDER = {
    "id": 727,
    "number": "727",
    "status": "processing",
    "total": "29.35",
    "currency": "USD",
    "customer_id": 26,
    "date_created_gmt": "2024-01-29T14:53:00",
    "billing": {"email": "john@shop.example"},
    "line_items": [{"product_id": 93, "price": 3, "quantity": 2}],
    "meta_data": [{"id": 1, "key": "_consent", "value": "denied"}],
}


def signature(body: bytes, secret: str = SECRET) -> bytes:
    return hmac.new(secret.encode(), body, sha256).digest()


@pytest.fixture(autouse=True)
def _with_secret(collector: Collector) -> None:
    with collector.ledger.write() as connection:
        vault, secrets = collector.ledger.vault, dict.fromkeys(sources.WEBHOOK_SYSTEMS, SECRET)
        sources.change_webhook_secrets(connection, vault, SOURCE.id, secrets)


def post(collector: Collector, system: str, order: Any, secret: str = SECRET, **headers: str) -> Any:
    body = order if isinstance(order, bytes) else json.dumps(order).encode()
    coded = base64.b64encode(signature(body, secret)).decode()
    signed = {
        "shopify": {"X-Shopify-Hmac-Sha256": coded, "X-Shopify-Topic": "orders/create"},
        "woocommerce": {"X-WC-Webhook-Signature": coded, "X-WC-Webhook-Topic": "order.created"},
        "custom": {"X-Signature": f"sha256={signature(body, secret).hex()}"},
    }[system]
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    path = f"/v1/webhooks/{SOURCE.id}/{system}"
    return collector.send(path, body, key=None, headers={**signed, **named})


def test_a_shopify_order_is_stored_as_a_signed_event(collector: Collector) -> None:
    answer = post(collector, "shopify", SHOPIFY_ORDER, X_Shopify_Webhook_Id="w1")
    assert (answer.status_code, answer.json) == (200, {"success": True})
    (kept,) = collector.kept()
    assert kept.event == {
        "type": "track",
        "event": "orders/create",
        "messageId": "w1",
        "properties": SHOPIFY_ORDER,
        "context": {"consent": {"advertising": True}},
        "timestamp": SHOPIFY_ORDER["created_at"],
        "userId": "207119551",
    }
    assert kept.received["ch"] == "s"
    assert kept.informs  # its click id
    with collector.ledger.read() as connection:
        assert connection.exec_driver_sql("SELECT trust FROM inbox").scalar() == Trust.SIGNED


def test_a_woocommerce_order_is_stored_as_a_signed_event(collector: Collector) -> None:
    assert post(collector, "woocommerce", WOO_ORDER).status_code == 200
    (kept,) = collector.kept()
    assert (kept.event["event"], kept.event["userId"], kept.event["context"]) == (
        "Order Completed",
        "26",
        {"consent": "denied"},
    )
    assert kept.event["timestamp"] == "2024-01-29T14:53:00Z"


def test_an_order_is_recorded_as_the_shops_own_once(collector: Collector) -> None:
    for topic in ("orders/create", "orders/paid"):
        post(collector, "shopify", SHOPIFY_ORDER, X_Shopify_Topic=topic, X_Shopify_Webhook_Id=topic)
    post(collector, "shopify", SHOPIFY_ORDER, X_Shopify_Topic="refunds/create", X_Shopify_Webhook_Id="r")
    post(collector, "woocommerce", WOO_ORDER)
    post(collector, "woocommerce", WOO_ORDER | {"id": 728, "number": "728", "status": "cancelled"})
    with collector.ledger.read() as connection:
        rows = connection.exec_driver_sql("SELECT ordered_at, currency, value_thousandths FROM shop_order")
        assert sorted(map(tuple, rows)) == [(1706539980.0, "USD", 29_350), (1706539980.0, "USD", 598_940)]


@pytest.mark.parametrize("problem", ["no order", "no database"])
def test_a_webhook_is_accepted_also_if_its_order_cannot_be_recorded(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, problem: str
) -> None:
    def away(*_: object, **__: object) -> None:
        raise LedgerBusyError("away")

    if problem == "no database":
        monkeypatch.setattr(gateway, "record_orders", away)
    order = {"total_price": "1.00", "currency": "USD"} if problem == "no order" else SHOPIFY_ORDER
    assert post(collector, "shopify", order, X_Shopify_Webhook_Id="w1").status_code == 200
    assert len(collector.kept()) == 1
    assert ("order_not_recorded" in caplog.text) == (problem == "no database")


def test_a_webhook_does_not_wait_for_a_database_that_is_known_to_be_away(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ledger, spool_folder = collector.ledger, tmp_path / "spool"
    intake = SpoolingIntake(ledger, GroupCommit(ledger).accept, spool_folder, 1024**2, len)
    settings = parse({"SIGNAL_VAR": str(tmp_path)})
    app = create_app(ledger, settings, collector.hints, collector.clock, intake=intake)
    spooling = replace(collector, app=app)
    # The source is known from then on.
    assert post(spooling, "shopify", SHOPIFY_ORDER, X_Shopify_Webhook_Id="w1").status_code == 200
    recorded = Mock()
    monkeypatch.setattr(gateway, "record_orders", recorded)
    intake.note(LedgerBusyError("away"))
    assert post(spooling, "shopify", SHOPIFY_ORDER, X_Shopify_Webhook_Id="w2").status_code == 200
    assert (count_spooled(spool_folder).events, recorded.called) == (1, False)


@pytest.mark.parametrize("system", ["shopify", "woocommerce", "custom"])
def test_a_wrong_signature_is_401(collector: Collector, system: str) -> None:
    for answer in (
        post(collector, system, SHOPIFY_ORDER, secret="wrong"),
        collector.send(f"/v1/webhooks/{SOURCE.id}/{system}", SHOPIFY_ORDER, key=None),
        collector.send(f"/v1/webhooks/src_unknown/{system}", SHOPIFY_ORDER, key=None),
    ):
        assert (answer.status_code, answer.json["error"]["code"]) == (401, "INVALID_SIGNATURE")
    assert collector.kept() == []


def test_without_a_secret_of_its_system_every_signature_is_wrong(collector: Collector) -> None:
    with collector.ledger.write() as connection:
        secrets = {"shopify": None, "woocommerce": "of WooCommerce"}
        sources.change_webhook_secrets(connection, collector.ledger.vault, SOURCE.id, secrets)
    for secret in ("", SECRET, "of WooCommerce"):
        assert post(collector, "shopify", SHOPIFY_ORDER, secret=secret).status_code == 401
    assert post(collector, "woocommerce", WOO_ORDER, secret=SECRET).status_code == 401
    assert post(collector, "woocommerce", WOO_ORDER, secret="of WooCommerce").status_code == 200


@pytest.mark.parametrize(
    ("system", "first", "second"),
    [
        ("shopify", {"X_Shopify_Webhook_Id": "w1"}, {"X_Shopify_Webhook_Id": "w1"}),
        ("woocommerce", {"X_WC_Webhook_Delivery_ID": "d1"}, {"X_WC_Webhook_Delivery_ID": "d2"}),
        ("woocommerce", {}, {"X_WC_Webhook_Topic": "order.updated"}),
        ("custom", {"X_Webhook_Id": "1"}, {"X_Webhook_Id": "1"}),
    ],
)
def test_a_repeated_webhook_counts_once(
    collector: Collector, system: str, first: dict[str, str], second: dict[str, str]
) -> None:
    order = {
        "shopify": SHOPIFY_ORDER,
        "woocommerce": WOO_ORDER,
        "custom": {"event": "Lead", "properties": {}},
    }[system]
    for headers in (first, second):
        assert post(collector, system, order, **headers).status_code == 200
    assert len(collector.kept()) == 1


@pytest.mark.parametrize(
    ("system", "order", "headers"),
    [
        ("shopify", SHOPIFY_ORDER, {"X_Shopify_Topic": "orders/updated"}),
        ("shopify", SHOPIFY_ORDER, {"X_Shopify_Test": "true"}),
        ("shopify", SHOPIFY_ORDER | {"test": True}, {}),
        ("woocommerce", WOO_ORDER | {"status": "pending"}, {}),
        ("woocommerce", WOO_ORDER | {"status": "checkout-draft"}, {"X_WC_Webhook_Topic": "order.updated"}),
        ("woocommerce", WOO_ORDER, {"X_WC_Webhook_Topic": "order.deleted"}),
        ("woocommerce", WOO_ORDER, {"X_WC_Webhook_Topic": "product.created"}),
    ],
)
def test_what_is_no_sale_and_no_refund_is_accepted_and_not_stored(
    collector: Collector, system: str, order: Any, headers: dict[str, str]
) -> None:
    answer = post(collector, system, order, **headers)
    assert (answer.status_code, answer.json) == (200, {"success": True})
    assert collector.kept() == []


def test_woocommerces_newest_refund_is_the_one_with_the_largest_number(collector: Collector) -> None:
    for ids in (["9", "10", "x"], ["x", {}], ["9" * 5_000, "7"]):
        refunds = [{"id": id_, "total": f"-{place}"} for place, id_ in enumerate(ids, 1)]
        order = WOO_ORDER | {"refunds": refunds}
        assert post(collector, "woocommerce", order, X_WC_Webhook_Topic="order.updated").status_code == 200
    assert [kept.event["properties"]["refund_amount"] for kept in collector.kept()] == ["2", "1", "2"]


@pytest.mark.parametrize("status", ["refunded", "cancelled", "failed"])
def test_a_woocommerce_order_that_is_taken_back_is_a_refund(collector: Collector, status: str) -> None:
    post(collector, "woocommerce", WOO_ORDER)
    taken_back = WOO_ORDER | {"status": status}
    for _ in range(2):
        post(collector, "woocommerce", taken_back, X_WC_Webhook_Topic="order.updated")
    assert [kept.event["event"] for kept in collector.kept()] == ["Order Completed", "Order Refunded"]


def test_woocommerces_ping_is_answered_without_a_signature(collector: Collector) -> None:
    path = f"/v1/webhooks/{SOURCE.id}/woocommerce"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert collector.send(path, b"webhook_id=7", key=None, headers=form).status_code == 200
    assert collector.kept() == []
    other = path.replace("woocommerce", "shopify")
    assert collector.send(other, b"webhook_id=7", key=None, headers=form).status_code == 401


def test_another_systems_webhook_is_read_by_the_sources_mapping(collector: Collector) -> None:
    collector.change_source(
        webhook_mapping={
            "event": "=Order Completed",
            "messageId": "id",
            "properties.order_id": "data.number",
            "properties.total": "data.sums.0.amount",
            "context.consent.advertising": "data.ads",
            "properties.missing": "data.nothing.here",
        }
    )
    body = {"id": "evt_9", "data": {"number": 17, "sums": [{"amount": "12.50"}], "ads": True}}
    assert post(collector, "custom", body).status_code == 200
    (kept,) = collector.kept()
    assert kept.event == {
        "type": "track",
        "event": "Order Completed",
        "messageId": "evt_9",
        "properties": {"order_id": 17, "total": "12.50"},
        "context": {"consent": {"advertising": True}},
    }


def test_another_systems_webhook_may_be_an_event(collector: Collector) -> None:
    assert post(collector, "custom", {"event": "Lead", "userId": "u"}).status_code == 200
    assert post(collector, "custom", ["no event"]).status_code == 400
    assert [kept.event["event"] for kept in collector.kept()] == ["Lead"]
