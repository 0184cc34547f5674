"""Searches over HTTP."""

import pytest

from tests.api.conftest import Api
from tests.ledger.shop import accept, new, write
from worker.api import context
from worker.ledger.database import Ledger
from worker.ledger.schema import State
from worker.ledger.setup.integrations import Integration
from worker.operations.deliveries import find

NOW = 1_893_456_000.0  # 2030-01-01T00:00:00Z
HOUR, DAY = 3_600, 86_400


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "now", lambda: NOW)


def test_an_order_an_event_and_a_visitor_are_found(api: Api, ledger: Ledger, shop: Integration) -> None:
    order_key = ledger.vault.keyed_hash("order", shop.source_id, "ORD-001")
    visitor_key = ledger.vault.keyed_hash("anonymous", shop.source_id, "visitor 1")
    write(ledger, [new(ledger, shop, "e1", order_key=order_key, anonymous_key=visitor_key)])
    write(ledger, [new(ledger, shop, "e2", anonymous_key=visitor_key, state=State.FAILED, reason="no")])

    def found(what: str) -> list[str]:
        return [one["event_id"] for one in api.get(f"/v1/admin/deliveries?find={what}")["data"]]

    assert (found("ORD-001"), found("e2"), found("visitor%201")) == (["e1"], ["e2"], ["e1", "e2"])
    assert found("ORD-002") == []


def test_a_found_delivery_shows_where_it_stands(api: Api, ledger: Ledger, shop: Integration) -> None:
    write(ledger, [new(ledger, shop, "e1")])

    assert api.get("/v1/admin/deliveries?find=e1") == {
        "data": [
            {
                "id": 1,
                "state": "pending",
                "ad_account_id": shop.ad_account_id,
                "integration_id": shop.id,
                "source_id": "src_shop",
                "event_name": "checkout",
                "source_name": "Order Completed",
                "event_id": "e1",
                "event_time": "2025-06-15T15:06:40.000Z",
                "accepted_at": "2025-06-15T15:06:40.000Z",
                "ended_at": None,
                "reason_class": None,
                "reason": None,
                "what_to_do": "",
                "warning": None,
                "consent": None,
                "signed": False,
            }
        ],
        "has_more": False,
        "waiting": [],
    }


def test_an_event_that_waits_to_be_mapped_is_found(
    api: Api, ledger: Ledger, shop: Integration, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = {"type": "track", "event": "Order Completed", "messageId": "m1"}
    accept(ledger, [event, event | {"messageId": "m2"}])
    waiting = {
        "received_at": "2025-06-15T15:06:40.000Z",
        "name": "Order Completed",
        "event_id": "m1",
        "parked_reason": None,
    }

    assert api.get("/v1/admin/deliveries?find=m1") == {"data": [], "has_more": False, "waiting": [waiting]}
    monkeypatch.setattr(find, "MOST_OPENED", 1)
    assert api.get("/v1/admin/deliveries?find=m1")["waiting"] == []


def test_a_search_is_bounded(
    api: Api, ledger: Ledger, shop: Integration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "MOST_FOUND", 2)
    write(ledger, [new(ledger, shop, "e1", state=State.FAILED) for _ in range(3)])
    shown = api.get("/v1/admin/deliveries?find=e1")

    assert (len(shown["data"]), shown["has_more"]) == (2, True)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("deliveries", "find: is required"),
        ("deliveries?find=", "find: must be 1 to 256 characters"),
    ],
)
def test_what_is_wrong_is_named(api: Api, path: str, sentence: str) -> None:
    assert api.error("GET", f"/v1/admin/{path}") == (422, sentence)
