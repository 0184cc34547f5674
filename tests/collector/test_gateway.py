import json
import uuid
from typing import Any

import pytest

from tests.collector.conftest import NOW, SOURCE, Collector

DFID = "0b0f2a8e-5a3c-4c7e-9d1f-1c2d3e4f5a6b"
LANDING = {"page": {"url": "https://example.com/p?epik=dj0yJnU9"}}


@pytest.mark.parametrize(("call", "kind"), [("t", "track"), ("p", "page"), ("i", "identify"), ("g", "group")])
def test_the_address_implies_the_type(collector: Collector, call: str, kind: str) -> None:
    event = {"event": "Signed Up", "messageId": "m1"}
    response = collector.send(f"/v1/{call}", event)
    assert (response.status_code, response.json) == (200, {"success": True})
    assert collector.kept()[0].event == event | {"type": kind}


def test_the_event_is_kept_as_it_came(collector: Collector) -> None:
    event = {
        "type": "track",
        "event": "Order Completed",
        "messageId": "m1",
        "timestamp": "2024-01-29T14:53:20.000Z",
        "properties": {"total": 129.99, "note": "Müller ☃", "big": 2**62, "none": None, "0": [1, [2.5]]},
        "unknown": {"kept": True},
    }
    collector.send("/v1/t", event)
    assert collector.kept()[0].event == event


@pytest.mark.parametrize("event", [{}, {"messageId": ""}, {"messageId": None}])
def test_a_missing_message_id_is_made_up_and_kept(collector: Collector, event: dict[str, Any]) -> None:
    collector.send("/v1/p", event)
    assert uuid.UUID(collector.kept()[0].event["messageId"]).version == 4


def test_a_falsy_but_good_message_id_stays(collector: Collector) -> None:
    collector.send("/v1/p", {"messageId": 0})
    assert collector.kept()[0].event["messageId"] == 0


def test_a_batch_is_taken_in_its_order_and_hinted_at_once(collector: Collector) -> None:
    events = [{"type": "page", "messageId": f"m{number}"} for number in range(500)]
    response = collector.send("/v1/batch", {"batch": events})
    assert response.json == {"success": True, "accepted": 500}
    kept = collector.kept()
    assert [row.event["messageId"] for row in kept] == [event["messageId"] for event in events]
    assert collector.hints.offered == [[row.id for row in kept]]


def test_the_good_events_of_a_batch_are_taken_and_the_bad_ones_listed(collector: Collector) -> None:
    batch = [
        {"type": "page", "messageId": "good"},
        {"type": "track"},
        {"type": "page", "properties": {"price": "PLACE"}},
        "page",
        {"type": "page", "context": {"page": "x" * 70_000}},
        {"type": "page", "messageId": "good too"},
    ]
    response = collector.send("/v1/batch", json.dumps({"batch": batch}).replace('"PLACE"', "1e999"))
    assert response.status_code == 200
    assert response.json == {
        "success": True,
        "accepted": 2,
        "errors": [
            {
                "index": 1,
                "field": "event",
                "message": "event must be a text of 1 to 256 characters in a track call.",
            },
            {
                "index": 2,
                "field": "properties.price",
                "message": "properties.price must be a finite number.",
            },
            {"index": 3, "field": "event", "message": "event must be an object."},
            {
                "index": 4,
                "field": "event",
                "message": "event must be at most 64 KB (65536 bytes) of JSON, not 70088 bytes.",
            },
        ],
    }
    assert [row.event["messageId"] for row in collector.kept()] == ["good", "good too"]


def test_a_batch_of_bad_events_is_refused_with_the_list(collector: Collector) -> None:
    response = collector.send("/v1/batch", {"batch": [{"type": "purchase"}]})
    assert response.status_code == 400
    assert response.json == {
        "success": False,
        "error": {
            "code": "INVALID_EVENTS",
            "message": "No event of the batch is valid; errors lists why.",
        },
        "errors": [
            {
                "index": 0,
                "field": "type",
                "message": "type must be one of track, page, identify, group.",
            }
        ],
    }
    assert response.headers.getlist("Set-Cookie") == []


def test_visitors_are_known_by_keyed_hashes_of_their_ids(collector: Collector) -> None:
    collector.send("/v1/p", {"userId": " u1 "}, cookies={"_dfid": DFID})
    collector.send_signed("/v1/events", {"type": "page", "userId": "u1", "anonymousId": "a1"})
    collector.send_signed("/v1/events", {"type": "page"})
    hashed = collector.ledger.vault.keyed_hash
    assert [(row.anonymous_key, row.user_key) for row in collector.kept()] == [
        (hashed("anonymous", SOURCE.id, DFID), hashed("user", SOURCE.id, "u1")),
        (hashed("anonymous", SOURCE.id, "a1"), hashed("user", SOURCE.id, "u1")),
        (None, None),
    ]


@pytest.mark.parametrize(
    ("event", "cookies", "expected"),
    [
        ({"type": "page"}, {}, False),
        ({"type": "page"}, {"_dfid": DFID}, False),
        ({"type": "identify"}, {}, True),
        ({"type": "group"}, {}, False),
        ({"type": "page"}, {"_epik": "dj0"}, True),
        ({"type": "page", "context": LANDING}, {}, True),
    ],
)
def test_events_that_tell_something_about_the_visitor_are_marked(
    collector: Collector, event: dict[str, Any], cookies: dict[str, str], expected: bool
) -> None:
    collector.send("/v1/batch", {"batch": [event]}, cookies=cookies)
    assert collector.kept()[0].informs is expected


def test_the_time_of_receipt_is_kept(collector: Collector) -> None:
    collector.send("/v1/p", {})
    assert collector.kept()[0].received["at"] == NOW


def test_a_missing_content_type_is_taken_for_json(collector: Collector) -> None:
    assert collector.send("/v1/p", {}, headers={"Content-Type": ""}).status_code == 200


def test_the_health_check_needs_nothing(collector: Collector) -> None:
    collector.ledger.dispose()
    response = collector.client.get("/healthz")
    assert (response.status_code, response.json) == (200, {"success": True})


@pytest.mark.parametrize("path", ["/v1/p", "/healthz", "/nowhere"])
def test_every_answer_carries_security_headers(collector: Collector, path: str) -> None:
    headers = collector.client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["Referrer-Policy"] == "no-referrer"
