"""The broker stops, hangs or returns, workers are killed: all accepted events arrive."""

import time

from tests.integration.conftest import EMBEDDED
from tests.integration.shop import Shop, Visitor
from tests.integration.stack import BROKER, Stack, frozen_broker, start_broker
from tests.integration.waiting import until

# The longest time to a response, with or without a broker.
PATIENCE_SECONDS = 4.0
EVENTS = 10


def _send(shop: Shop, n: int, prefix: str) -> float:
    """Send single events; return how long the slowest answer took."""
    slowest = 0.0
    for number in range(n):
        began = time.monotonic()
        shop.send("/v1/t", {"event": "Signed Up", "messageId": f"{prefix}_{number}"}, Visitor())
        slowest = max(slowest, time.monotonic() - began)
    return slowest


def _assert_each_arrived_once(shop: Shop, n: int, prefix: str) -> None:
    shop.await_delivered(n, seconds=60)
    assert {(f"{prefix}_{number}", "signup"): 1 for number in range(n)} == shop.copies()
    until("the ledger knows", lambda: shop.standing() == {"delivered": n})


@EMBEDDED
def test_accepts_with_the_broker_down_and_delivers_once_it_is_back(stack: Stack) -> None:
    shop = Shop(stack)
    stack.stop(BROKER)
    try:
        slowest = _send(shop, EVENTS, "down")
    finally:
        start_broker(stack)
    assert slowest < PATIENCE_SECONDS
    _assert_each_arrived_once(shop, EVENTS, "down")


@EMBEDDED
def test_accepts_with_the_broker_hung_and_delivers_once_it_goes_on(stack: Stack) -> None:
    shop = Shop(stack)
    with frozen_broker(stack):
        slowest = _send(shop, EVENTS, "hung")
    assert slowest < PATIENCE_SECONDS
    _assert_each_arrived_once(shop, EVENTS, "hung")


def test_nothing_is_lost_when_workers_are_killed_at_work(stack: Stack) -> None:
    shop = Shop(stack)
    stack.sandbox.behave({"rules": [{"account": shop.account, "latency_seconds": 3.0}]})
    events = [_event(number) for number in range(400)]
    assert shop.post("/v1/batch", {"batch": events[:200]}).status_code == 200
    until("a batch is being sent", lambda: shop.standing()["in_flight"])
    assert shop.post("/v1/batch", {"batch": events[200:]}).status_code == 200
    victims = (stack.ingest_workers[0], "delivery")
    stack.kill(*victims)
    stack.start(*victims)
    stack.end_leases()
    stack.sandbox.behave_well()
    stack.await_ready(*victims)
    shop.await_delivered(len(events), seconds=90)
    until("the ledger knows", lambda: shop.standing() == {"delivered": len(events)})
    assert {(event["messageId"], "signup") for event in events} == set(shop.copies())
    assert stack.command("books").returncode == 0


def _event(number: int) -> dict[str, object]:
    return {
        "type": "track",
        "event": "Signed Up",
        "messageId": f"killed_{number}",
        "context": {"page": {"url": "https://example.com/"}, "consent": {"advertising": True}},
    }
