"""Books, tallies, searches and match quality over HTTP."""

from typing import Any

import pytest

from tests.api.conftest import Api
from tests.ledger.shop import accept, new, pend, place, write
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


def test_the_books_show_where_everything_is(api: Api, ledger: Ledger, shop: Integration) -> None:
    accept(ledger, [{"type": "track", "event": "x"}])
    pend(ledger, shop, 2)
    write(ledger, [new(ledger, shop, "f", state=State.FAILED)])
    shown = api.get("/v1/admin/books")

    assert shown["balance"] is True
    assert shown["events"] == {"inbox": 1, "consumed": 0, "without_destination": 0, "mapped": 0, "erased": 0}
    assert shown["deliveries"] == {"pending": 2, "failed": 1}
    assert shown["lines"][:2] == [
        {"what": "events accepted", "counted": 1, "found": 1, "balances": True},
        {"what": "deliveries created", "counted": 3, "found": 3, "balances": True},
    ]
    assert shown["accounts"] == {shop.ad_account_id: {"pending": 2, "failed": 1}}

    audited = api.get("/v1/admin/books?audit=true")
    owned = {"what": "waiting deliveries with an integration", "counted": 2, "found": 2, "balances": True}
    assert [line for line in audited["lines"] if line not in shown["lines"]] == [owned]
    audited["lines"].remove(owned)
    assert audited == shown


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


def test_stats_count_by_hour_and_integration(api: Api, ledger: Ledger, shop: Integration) -> None:
    other = place(ledger, ad_account_id="2")
    accept(ledger, [{"type": "track", "event": "x"}], received_at=NOW - HOUR)
    write(ledger, [new(ledger, shop, "old")], NOW - 2 * DAY)
    write(ledger, [new(ledger, shop, "e1"), new(ledger, shop, "e2")], NOW - HOUR)
    write(ledger, [new(ledger, other, "e1", state=State.FILTERED, qualities=("em",))], NOW)

    def row(hour: str, one: Integration, **outcomes: int) -> dict[str, Any]:
        return {"hour": hour, "integration_id": one.id, "outcomes": outcomes}

    assert api.get("/v1/admin/stats") == {
        "since": "2029-12-31T00:00:00.000Z",
        "events": [
            {"hour": "2029-12-31T23:00:00.000Z", "outcomes": {"accepted": 1}},
        ],
        "deliveries": [
            row("2029-12-31T23:00:00.000Z", shop, created=2),
            row("2030-01-01T00:00:00.000Z", other, created=1, filtered=1),
        ],
    }
    assert len(api.get("/v1/admin/stats?since=3d")["deliveries"]) == 3
    only = api.get(f"/v1/admin/stats?since=3d&integration_id={other.id}")
    assert (only["events"], len(only["deliveries"])) == ([], 1)


def test_quality_shows_shares_and_says_what_to_improve(api: Api, ledger: Ledger, shop: Integration) -> None:
    events = [
        *(
            new(ledger, shop, f"em{number}", qualities=("em", "external_id", "ip_ua", "ph"))
            for number in range(9)
        ),
        *(new(ledger, shop, f"ip{number}", qualities=("ip_ua", "partner_id")) for number in range(15)),
        new(ledger, shop, "bad", state=State.FAILED, qualities=("invalid=stale",)),
    ]
    write(ledger, events, NOW)

    assert api.get("/v1/admin/quality") == {
        "since": "2029-12-25T00:00:00.000Z",
        "data": [
            {
                "integration_id": shop.id,
                "event_name": "checkout",
                "since": "2029-12-25T00:00:00.000Z",
                "events": 25,
                "valid": 24,
                "late": 0,
                "computed": 0,
                "invalid": {"stale": 1},
                "shares": {
                    "ip_ua": 1.0,
                    "partner_id": 0.625,
                    "em": 0.375,
                    "external_id": 0.375,
                    "ph": 0.375,
                },
                "advice": [
                    "4 % of the events were not sent, because they were over seven days old when they were received: "
                    "send them sooner.",
                    "Only 38 % of these events carry an e-mail address. Call identify with the email trait "
                    "when a visitor signs in, subscribes or orders: it is what Pinterest matches best.",
                ],
            }
        ],
    }


def test_quality_comes_by_steps_of_time(api: Api, ledger: Ledger, shop: Integration) -> None:
    for hours in (0, 1, 25):
        write(ledger, [new(ledger, shop, f"e{hours}", qualities=("em",))], NOW - hours * HOUR)

    by_day = api.get(f"/v1/admin/quality?since=3d&step_hours=24&integration_id={shop.id}")["data"]
    assert [(one["since"], one["events"]) for one in by_day] == [
        ("2029-12-30T00:00:00.000Z", 1),
        ("2029-12-31T00:00:00.000Z", 1),
        ("2030-01-01T00:00:00.000Z", 1),
    ]
    assert by_day[0]["advice"] == []


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("deliveries", "find: is required"),
        ("deliveries?find=", "find: must be 1 to 256 characters"),
        ("stats?since=93d", "since: must be within the last 92 days"),
        ("stats?since=x", "since: must be like 90m, 24h, 7d or 2030-01-29T14:53:20Z"),
        ("stats?integration_id=int_x", "integration_id: there is no integration int_x"),
        ("quality?since=93d", "since: must be within the last 92 days"),
        ("quality?step_hours=0", "step_hours: must be between 1 and 168"),
        ("quality?step_hours=x", "step_hours: must be a whole number"),
        ("quality?integration_id=int_x", "integration_id: there is no integration int_x"),
    ],
)
def test_what_is_wrong_is_named(api: Api, path: str, sentence: str) -> None:
    assert api.error("GET", f"/v1/admin/{path}") == (422, sentence)
