"""The shop's orders are compared with the deliveries, and what is missing is shown with its reason."""

import io
import json
import time
from typing import Any

import pytest

from tests.api.conftest import Api
from tests.pages.conftest import ACCOUNT, Pages, csrf_of, fail, write
from worker.event.times import iso
from worker.ledger.database import Ledger
from worker.ledger.intake import inbox
from worker.ledger.schema import State
from worker.ledger.setup.integrations import Integration

NOW = time.time()
PATH = "/v1/admin/orders"


def order(name: str, total: float = 10, ago: float = 600, **more: Any) -> dict[str, Any]:
    return {"order_id": name, "timestamp": iso(NOW - ago), "total": total, "currency": "EUR"} | more


def key(ledger: Ledger, name: str) -> bytes:
    return ledger.vault.keyed_hash("order", "src_shop", name)


@pytest.fixture
def recorded(ledger: Ledger, shop: Integration, api: Api) -> Any:
    """Record four orders: one failed, one filtered, one waiting, one never arrived."""
    fail(ledger, shop, "e1", order_key=key(ledger, "F-1"))
    write(
        ledger, shop, "e2", order_key=key(ledger, "C-1"), state=State.FILTERED, reason="Consent is missing."
    )
    write(ledger, shop, "e3", order_key=key(ledger, "W-1"))
    orders = [order("F-1"), order("C-1"), order("W-1"), order("N-1", 1_234.5)]
    answer = api.call("POST", PATH, {"source_id": "src_shop", "orders": [*orders, {"order_id": "X"}]})
    assert answer.status_code == 200, answer.text
    return answer.json


def test_orders_are_recorded_and_each_is_in_one_count(api: Api, recorded: Any) -> None:
    sentence = "timestamp must say when the order was placed."
    assert recorded == {"new": 4, "known": 0, "wrong": [{"number": 5, "message": sentence}]}
    found = api.get(PATH)
    ten = {"n": 1, "value": "10.00"}
    assert found["data"] == [
        {
            "day": time.strftime("%Y-%m-%d", time.gmtime(NOW - 600)),
            "source_id": "src_shop",
            "ad_account_id": ACCOUNT,
            "currency": "EUR",
            "ordered": {"n": 4, "value": "1264.50"},
            "delivered": {"n": 0, "value": "0.00"},
            "waiting": ten,
            "failed": ten,
            "filtered": ten,
            "not_sent": {"n": 0, "value": "0.00"},
            "never_arrived": {"n": 1, "value": "1234.50"},
        }
    ]
    assert found["accuracy"] == {"delivered": 0, "expected": 3, "percent": 0.0}
    assert found["before"] == {"delivered": 0, "expected": 0, "percent": None}
    assert api.get(f"{PATH}?source_id=src_other")["data"] == []
    assert api.error("POST", PATH, {"source_id": "src_x", "orders": []})[0] == 404
    assert api.error("GET", f"{PATH}?days=93")[0] == 422


def test_missing_orders_come_page_by_page_with_their_reason(api: Api, recorded: Any) -> None:
    first = api.get(f"{PATH}/undelivered?limit=3")
    assert [(one["order_id"], one["fate"], one["reason"]) for one in first["data"]] == [
        ("N-1", "never_arrived", "No event of this order was received."),
        ("W-1", "waiting", "Waits for its batch."),
        ("C-1", "filtered", "Consent is missing."),
    ]
    rest = api.get(f"{PATH}/undelivered?limit=3&cursor={first['next_cursor']}")
    assert [one["order_id"] for one in rest["data"]] == ["F-1"]
    assert (first["has_more"], rest["has_more"]) == (True, False)


def test_the_page_shows_the_sums_the_reasons_and_a_way_to_send(
    pages: Pages, viewer: Pages, recorded: Any
) -> None:
    page = " ".join(pages.get("/orders").split())
    assert "Accuracy: 0.0 %" in page
    assert "0 of 3 orders with consent are delivered" in page
    assert '<td data-of="Value ordered" class="number">1,264.50 EUR</td>' in page
    assert page.count('type="checkbox" name="ids"') == 1
    assert "A checkout needs a value." in page
    assert "No event of this order was received." in page
    only = pages.get("/orders?fate=failed")
    assert "F-1" in only
    assert "N-1" not in only
    assert "No order is missing for this reason." in pages.get("/orders?fate=not_sent")
    seen = viewer.get("/orders")
    assert "N-1" in seen
    assert 'name="ids"' not in seen
    assert 'type="file"' not in seen
    lines = pages.get("/orders/export?fate=never_arrived").splitlines()
    assert [line.split(",")[0] for line in lines] == ["order_id", "N-1"]


def test_an_order_id_that_is_a_formula_is_only_text_in_the_export(
    pages: Pages, shop: Integration, api: Api
) -> None:
    api.call("POST", PATH, {"source_id": "src_shop", "orders": [order("=1+1")]})
    assert pages.get("/orders/export").splitlines()[1].startswith("'=1+1,src_shop,")


def upload(pages: Pages, text: str, **fields: str) -> Any:
    data = {"csrf": csrf_of(pages.get("/orders")), "source_id": "src_shop", **fields}
    return pages.client.post("/orders", data=data | {"file": (io.BytesIO(text.encode()), "orders.csv")})


def test_a_file_of_orders_is_recorded_and_what_never_arrived_is_sent_once(
    pages: Pages, ledger: Ledger, recorded: Any
) -> None:
    lines = [
        f"{name},{iso(NOW - ago)},10,EUR,1,jane@example.com"
        for name, ago in (("N-1", 600), ("N-2", 600), ("F-1", 600), ("N-3", 8 * 86_400))
    ]
    text = "\n".join(["order_id,timestamp,total,currency,num_items,email", *lines, "N-4,,10,EUR,1,x", ""])
    answer = upload(pages, text, send_missing="yes")
    assert answer.status_code == 422
    shown = " ".join(answer.text.split())
    assert "2 new orders recorded, 2 known before. 2 orders accepted to be sent" in shown
    assert "1 order is older than 7 days" in shown
    assert "Line 6: timestamp must say when the order was placed." in shown
    assert waiting(ledger) == 2
    assert "accepted to be sent" not in upload(pages, text, send_missing="yes").text
    assert waiting(ledger) == 2
    assert upload(pages, text).status_code == 422
    assert "recorded the shop's orders" in pages.get("/audit").replace("&#39;", "'")


def test_orders_that_pinterest_would_refuse_are_counted_before_and_named_instead_of_sent(
    pages: Pages, ledger: Ledger, shop: Integration
) -> None:
    lines = [
        f"{name},{iso(NOW - 600)},10,EUR,{items},{email},{consent}"
        for name, items, email, consent in (
            ("M-1", "1", "jane@example.com", "true"),
            ("M-2", "", "jane@example.com", "true"),
            ("M-3", "1", "", "true"),
            ("M-4", "1", "jane@example.com", "false"),
        )
    ]
    text = "\n".join(["order_id,timestamp,total,currency,num_items,email,consent.advertising", *lines])
    before = " ".join(upload(pages, text).text.split())
    counted = "1 lacks consent, 2 lack data that Pinterest requires."
    assert "4 orders of the last 7 days never arrived: 1 can be sent (choose the file" in before
    assert counted in before
    assert "Line 3" not in before
    assert waiting(ledger) == 0
    after = " ".join(upload(pages, text, send_missing="yes").text.split())
    assert "1 order accepted to be sent" in after
    assert f"Not sent: {counted}" in after
    assert "Line 3: was not sent: A checkout needs a number of items" in after
    assert "Line 4: was not sent: Pinterest needs an e-mail address" in after
    # The one without consent is stored, so that the comparison says why it is missing.
    assert waiting(ledger) == 2
    again = " ".join(upload(pages, text, send_missing="yes").text.split())
    assert "accepted to be sent" not in again
    assert "1 order is already waiting. Not sent: 1 lacks" in again
    assert waiting(ledger) == 2


def test_an_order_that_has_its_time_under_another_name_is_sent(
    pages: Pages, ledger: Ledger, shop: Integration
) -> None:
    row = f"C-1,{iso(NOW - 600)},10,EUR,1,jane@example.com"
    text = f"order_id,created_at,total,currency,num_items,email\n{row}\n"
    assert "1 can be sent (choose the file" in " ".join(upload(pages, text).text.split())
    assert "1 order accepted to be sent" in upload(pages, text, send_missing="yes").text
    assert waiting(ledger) == 1


def test_an_order_that_cannot_be_taken_is_named_and_does_not_wait(
    pages: Pages, ledger: Ledger, shop: Integration
) -> None:
    order = {"type": "identify", "timestamp": iso(NOW - 600), "userId": 7}
    order |= {"properties": {"order_id": "T-1", "total": 10}, "messageId": ["no id"]}
    text = json.dumps(order)
    assert "can be sent (choose the file" not in upload(pages, text).text
    answer = " ".join(upload(pages, text, send_missing="yes").text.split())
    assert "already waiting" not in answer
    assert "Line 1: was not sent: messageId must be a text" in answer
    assert waiting(ledger) == 0


def test_a_viewer_can_neither_record_nor_send_orders(viewer: Pages, ledger: Ledger, recorded: Any) -> None:
    data = {"csrf": csrf_of(viewer.get("/orders")), "source_id": "src_shop", "send_missing": "yes"}
    file = (io.BytesIO(b"order_id,timestamp,total,currency\n"), "orders.csv")
    assert viewer.client.post("/orders", data=data | {"file": file}).status_code == 403
    assert waiting(ledger) == 0


def waiting(ledger: Ledger) -> int:
    with ledger.read() as connection:
        return len(inbox.newest_waiting_events(connection, 100))


def test_a_form_without_a_file_says_so(pages: Pages, shop: Integration) -> None:
    answer = pages.send("/orders", page="/orders")
    assert answer.status_code == 422
    assert "Choose a file." in answer.text
    assert "No orders are recorded for this time." in answer.text
