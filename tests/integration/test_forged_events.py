"""The pipeline key allows forging events, but not cancelling or changing those that the shop's server signed."""

from typing import Any

import pytest

from tests.integration.shop import Shop, Visitor
from tests.integration.stack import Stack
from tests.integration.waiting import until
from worker.ledger.delivery.signed_precedence import MAY_BE_COUNTED_ONCE
from worker.ledger.upkeep import alerts
from worker.pinterest.user_data.hashing import hash_value

CONTEXT = {"ip": "203.0.113.9", "userAgent": "Mozilla/5.0 (X11)", "consent": {"advertising": True}}
RULE = "event_ids_used_before"


def order(order_id: str, total: float, **fields: Any) -> dict[str, Any]:
    """Return an order whose event id can be guessed."""
    goods = [{"product_id": "p1", "price": total, "quantity": 1}]
    properties = {"order_id": order_id, "total": total, "currency": "EUR", "products": goods}
    return {
        "type": "track",
        "event": "Order Completed",
        "messageId": order_id,
        "properties": properties,
        "context": CONTEXT,
    } | fields


def forge(shop: Shop, *events: dict[str, Any]) -> None:
    """Send events with what a page of the shop reveals."""
    answer = shop.post("/v1/batch", {"batch": events}, Visitor())
    assert answer.json() == {"success": True, "accepted": len(events)}, answer.text


def forged_orders() -> list[dict[str, Any]]:
    return [order(f"ORD-{number}", 0.01) for number in range(1000, 1500)]


def values(shop: Shop, event_id: str) -> list[str]:
    """Return the values that Pinterest got under an event id, in their order."""
    return [event["custom_data"]["value"] for event in shop.received(event_id)]


def signed_states(shop: Shop) -> dict[str, str]:
    return {found.event_id: found.state for found in shop.deliveries() if found.signed}


@pytest.mark.parametrize("two_sources", [False, True], ids=["one_source", "two_sources"])
def test_a_signed_order_arrives_also_after_five_hundred_forged_ones_were_delivered(
    stack: Stack, two_sources: bool
) -> None:
    shop = Shop(stack)
    page = Shop(stack, account=shop.account) if two_sources else shop
    forge(page, *forged_orders())
    shop.await_delivered(500)
    shop.sign([order("ORD-1234", 499.0)])
    until("the signed order is delivered", lambda: signed_states(shop) == {"ORD-1234": "delivered"})
    assert values(shop, "ORD-1234") == ["0.01", "499"]
    (signed,) = [found for found in shop.deliveries() if found.signed]
    assert MAY_BE_COUNTED_ONCE in (signed.warning or "")
    # The next look at alerts is up to half a minute away: one of the two waits for it.
    if not two_sources:
        until("the alert is raised", lambda: (RULE, shop.account) in firing(stack), 90)


def firing(stack: Stack) -> set[tuple[str, str]]:
    with stack.ledger() as ledger, ledger.read() as connection:
        return {(alert.rule, alert.subject) for alert in alerts.firing_alerts(connection)}


@pytest.mark.parametrize("two_sources", [False, True], ids=["one_source", "two_sources"])
def test_signed_orders_arrive_with_forged_ones_before_between_and_behind_them(
    stack: Stack, two_sources: bool
) -> None:
    shop = Shop(stack)
    page = Shop(stack, account=shop.account) if two_sources else shop
    forged = forged_orders()
    ids = [f"ORD-{number}" for number in range(1000, 1500, 7)]
    for start in range(0, 500, 100):
        forge(page, *forged[start : start + 100])
        mine = [one for one in ids if start <= int(one[4:]) - 1000 < start + 100]
        shop.sign([order(one, 499.0) for one in mine])
        forge(page, *forged[start : start + 100])
    until("all signed orders are delivered", lambda: signed_states(shop) == dict.fromkeys(ids, "delivered"))
    assert {values(shop, one)[-1] for one in ids} == {"499"}
    books = stack.command("books", "--audit")
    assert (books.returncode, books.stderr) == (0, ""), books.stdout


def test_a_public_identify_does_not_change_whose_order_it_is(stack: Stack) -> None:
    shop = Shop(stack)
    jane, mallory = (
        {"email": f"{name}@example.com", "phone": "+14155550100"} for name in ("jane", "mallory")
    )
    known = {"type": "identify", "userId": "44", "context": CONTEXT}
    forge(shop, known | {"traits": mallory, "messageId": "f1"})
    shop.sign([known | {"traits": {"email": jane["email"]}, "messageId": "s1"}])
    forge(shop, known | {"traits": mallory, "messageId": "f2", "anonymousId": "evil"})
    shop.sign([order("ORD-1", 499.0, userId="44")])
    until("the order is delivered", lambda: signed_states(shop) == {"ORD-1": "delivered"})
    (event,) = shop.received("ORD-1")
    personal = {name: value for name, value in event["user_data"].items() if not name.startswith("client_")}
    assert personal == {"em": [hash_value("em", jane["email"])]}


def test_a_listed_event_counts_only_when_it_is_signed(stack: Stack) -> None:
    shop = Shop(stack)
    stack.admin("PATCH", f"/sources/{shop.source_id}", {"signed_only_events": ["Order Completed"]})
    forge(shop, order("ORD-1", 0.01), order("ORD-2", 0.01, event="purchase"))
    shop.sign([order("ORD-1", 499.0)])
    until("all have an end", lambda: shop.standing() == {"dropped": 2, "delivered": 1})
    assert values(shop, "ORD-1") == ["499"]
