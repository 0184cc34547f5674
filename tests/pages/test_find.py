"""An order, an event or a visitor is found in every state."""

import pytest

from tests.ledger.shop import accept
from tests.pages.conftest import Pages, fail, write
from worker.ledger.database import Ledger
from worker.ledger.intake import inbox
from worker.ledger.setup.integrations import Integration


def test_an_order_an_event_and_a_visitor_are_found_in_every_state(
    pages: Pages, ledger: Ledger, shop: Integration
) -> None:
    order_key = ledger.vault.keyed_hash("order", "src_shop", "ORD-001")
    visitor_key = ledger.vault.keyed_hash("anonymous", "src_shop", "visitor-1")
    write(ledger, shop, "e1", order_key=order_key)
    fail(ledger, shop, "e2", anonymous_key=visitor_key)

    assert "pending</span>" in pages.get("/search?q=ORD-001")
    assert "failed</span>" in pages.get("/search?q=visitor-1")
    assert "A checkout needs a value." in pages.get("/search?q=e2")
    assert "Not found." in pages.get("/search?q=ORD-002")


def test_a_visitor_is_found_by_the_shops_own_id_of_them(
    pages: Pages, ledger: Ledger, shop: Integration
) -> None:
    write(ledger, shop, "e1", user_key=ledger.vault.keyed_hash("user", "src_shop", "customer-4711"))

    assert "<code>e1</code>" in pages.get("/search?q=customer-4711")


def test_a_visitor_is_searched_for_among_the_newest_deliveries_first(
    pages: Pages, ledger: Ledger, shop: Integration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.pages.routes.find._READ_AT_ONCE", 1)
    keys = {name: ledger.vault.keyed_hash("anonymous", "src_shop", name) for name in ("old", "new")}
    order_key = ledger.vault.keyed_hash("order", "src_shop", "ORD-001")
    write(ledger, shop, "e1", anonymous_key=keys["old"], order_key=order_key)
    write(ledger, shop, "e2", anonymous_key=keys["new"])

    assert "Not found yet." in pages.get("/search?q=old")
    assert "<code>e1</code>" in pages.get("/search?q=old&all=1")
    assert "Not found." in pages.get("/search?q=nobody&all=1")
    assert "newest 1 deliveries were searched" in pages.get("/search?q=new")
    assert "were searched" not in pages.get("/search?q=ORD-001")


@pytest.mark.parametrize("what", ["m1", "ORD-7", "device", "customer-4711"])
def test_what_waits_to_be_mapped_is_found_too(
    pages: Pages, ledger: Ledger, shop: Integration, what: str
) -> None:
    event = {
        "type": "track",
        "event": "Order Completed",
        "messageId": "m1",
        "anonymousId": "device",
        "userId": "customer-4711",
        "properties": {"orderId": "ORD-7"},
    }
    accept(ledger, [event, {"type": "page", "messageId": "m2"}])
    page = pages.get(f"/search?q={what}")

    assert "Accepted, not mapped yet" in page
    assert "<code>m1</code>" in page
    assert "<code>m2</code>" not in page


def test_what_was_set_aside_says_why(pages: Pages, ledger: Ledger, shop: Integration) -> None:
    (number,) = accept(ledger, [{"type": "page", "messageId": "m1"}])
    with ledger.write() as connection:
        inbox.park_event(connection, number, "The worker could not map the event (KeyError).")

    assert "could not map the event (KeyError)." in pages.get("/search?q=m1")
