"""Every accepted event is accounted for, with any content."""

from collections import Counter
from typing import Any

from tests.integration.crowd import CONSUMED, crowd
from tests.integration.shop import Shop, Visitor
from tests.integration.stack import Stack
from tests.integration.waiting import until

EVENTS = 2_000
A_BATCH = 500


def _still_moving(shop: Shop) -> int:
    standing = shop.standing()
    return standing["pending"] + standing["in_flight"]


def test_two_thousand_mixed_events_are_all_accounted_for(stack: Stack) -> None:
    shop = Shop(stack)
    people = crowd(EVENTS, seed=int(shop.account))
    refused = []
    for start in range(0, EVENTS, A_BATCH):
        batch = people.events[start : start + A_BATCH]
        answer = shop.post("/v1/batch", {"batch": batch}, Visitor())
        assert answer.status_code == 200, answer.text
        told = answer.json()
        refused += [start + error["index"] for error in told.get("errors", [])]
        assert told["accepted"] == len(batch) - len(told.get("errors", []))
    assert people.refused == refused
    expected = people.ends - Counter({CONSUMED: people.ends[CONSUMED]})
    until(
        "every delivery has an end",
        lambda: shop.standing().total() >= expected.total() and not _still_moving(shop),
        60,
    )
    assert expected == shop.standing()
    assert len(refused) + people.ends.total() == EVENTS
    assert dict.fromkeys(people.delivered, 1) == shop.copies()


def test_what_failed_has_its_reason_in_words(stack: Stack) -> None:
    shop = Shop(stack)
    _send(shop, {"type": "track", "event": "Order Completed", "properties": {"order_id": "ORD-1"}})
    _send(shop, {"type": "page", "timestamp": "2020-01-01T00:00:00Z"})
    until("both failed", lambda: shop.standing()["failed"] == 2)
    words = " ".join(one.reason or "" for one in shop.deliveries())
    assert "A checkout needs a value; it is missing, and cannot be computed from the products." in words
    assert "The event is more than seven days old, and Pinterest refuses such events." in words


def _send(shop: Shop, event: dict[str, Any]) -> None:
    answer = shop.post("/v1/batch", {"batch": [event | {"context": {"consent": {"advertising": True}}}]})
    assert answer.json() == {"success": True, "accepted": 1}


def test_the_books_balance_with_status_zero(stack: Stack) -> None:
    done = stack.command("books", "--audit")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.endswith("The books balance.\n")


def test_no_process_logged_an_error(stack: Stack) -> None:
    logged = {path.name: path.read_text(errors="replace") for path in stack.logs.iterdir()}
    assert [name for name, text in logged.items() if "ERROR" in text or "Traceback" in text] == []
