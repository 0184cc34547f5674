"""The collector answers requests of Segment's and RudderStack's libraries."""

import gzip
import json
from base64 import b64encode
from typing import Any

import pytest

from tests.collector.conftest import KEY, SECRET, SOURCE, Collector
from worker.collector import segment
from worker.ledger.setup.sources import write_key

WRITE_KEY = write_key(SOURCE.id, SECRET)
TRACK = {"userId": "u_1", "event": "Order Completed", "properties": {"order_id": "A-1"}, "messageId": "m-1"}


def basic(key: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{key}:".encode()).decode()}


@pytest.mark.parametrize(
    ("call", "body", "expected"),
    [
        ("track", TRACK, {"type": "track", **TRACK}),
        (
            "page",
            {"anonymousId": "a", "name": "Home"},
            {"type": "page", "anonymousId": "a", "name": "Home"},
        ),
        ("screen", {"userId": "u", "name": "Cart"}, {"type": "page", "userId": "u", "name": "Cart"}),
        ("identify", {"userId": "u", "traits": {}}, {"type": "identify", "userId": "u", "traits": {}}),
        (
            "identify",
            {"userId": "u", "context": {"traits": {"email": "a@b.example"}}},
            {
                "type": "identify",
                "userId": "u",
                "traits": {"email": "a@b.example"},
                "context": {"traits": {"email": "a@b.example"}},
            },
        ),
        ("group", {"userId": "u", "groupId": "g"}, {"type": "group", "userId": "u", "groupId": "g"}),
        (
            "alias",
            {"userId": "u", "previousId": "old"},
            {"type": "identify", "userId": "u", "anonymousId": "old"},
        ),
        ("import", {"type": "track", **TRACK}, {"type": "track", **TRACK}),
        (
            "track",
            TRACK | {"originalTimestamp": "2026-01-29T10:00:00Z", "channel": "server", "integrations": {}},
            {
                "type": "track",
                **TRACK,
                "originalTimestamp": "2026-01-29T10:00:00Z",
                "timestamp": "2026-01-29T10:00:00Z",
            },
        ),
        (
            "track",
            TRACK | {"timestamp": "2026-01-29T11:00:00Z", "originalTimestamp": "2026-01-29T10:00:00Z"},
            {
                "type": "track",
                **TRACK,
                "timestamp": "2026-01-29T11:00:00Z",
                "originalTimestamp": "2026-01-29T10:00:00Z",
            },
        ),
    ],
)
def test_a_message_becomes_an_event(call: str, body: dict[str, Any], expected: dict[str, Any]) -> None:
    assert segment.to_events(body, segment.CALLS[call]) == [expected]


def test_a_batch_shares_its_context_and_the_time_of_sending() -> None:
    body = {
        "batch": [
            {"type": "track", "event": "A", "context": {"ip": "203.0.113.9"}},
            "nothing",
            {"type": "page"},
        ],
        "sentAt": "2026-01-29T10:00:00Z",
        "context": {"ip": "203.0.113.1", "locale": "de-DE"},
        "writeKey": "k",
    }
    assert segment.to_events(body, None) == [
        {
            "type": "track",
            "event": "A",
            "context": {"ip": "203.0.113.9", "locale": "de-DE"},
            "sentAt": "2026-01-29T10:00:00Z",
        },
        "nothing",
        {
            "type": "page",
            "context": {"ip": "203.0.113.1", "locale": "de-DE"},
            "sentAt": "2026-01-29T10:00:00Z",
        },
    ]


@pytest.mark.parametrize("path", ["/v1/track", "/v1/t"])
@pytest.mark.parametrize("place", ["basic", "query", "body"])
@pytest.mark.parametrize(("key", "channel"), [(WRITE_KEY, "s"), (KEY, "b")])
def test_a_key_counts_wherever_libraries_put_it(
    collector: Collector, path: str, place: str, key: str, channel: str
) -> None:
    body = TRACK | ({"writeKey": key} if place == "body" else {})
    query = f"?writeKey={key}" if place == "query" else ""
    headers = basic(key) if place == "basic" else {}
    response = collector.client.post(path + query, json=body, headers=headers)
    assert (response.status_code, response.json) == (200, {"success": True})
    [kept] = collector.kept()
    assert kept.event["event"] == "Order Completed"
    assert kept.received["ch"] == channel


@pytest.mark.parametrize(
    "key",
    [
        "",
        "sk_",
        "sk_src_shop_",
        WRITE_KEY[:-1],
        WRITE_KEY + "0",
        "sk_src_other_" + "0" * 64,
        "dk_live_unknown",
        SECRET,
    ],
)
@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch", "/v1/import"])
def test_a_wrong_key_is_refused(collector: Collector, key: str, path: str) -> None:
    response = collector.client.post(path, json=TRACK, headers=basic(key))
    assert (response.status_code, response.json["error"]["code"]) == (401, "UNAUTHORIZED")
    assert collector.kept() == []


@pytest.mark.parametrize(
    "header", ["Basic", "Basic !!!", "Basic " + b64encode(b"\xff\xfe:").decode(), "Digest x"]
)
def test_an_unreadable_authentication_is_refused(collector: Collector, header: str) -> None:
    response = collector.client.post("/v1/track", json=TRACK, headers={"Authorization": header})
    assert response.status_code == 401


def test_a_compressed_batch_with_a_bad_message_keeps_the_good_ones(collector: Collector) -> None:
    body = {"batch": [{"type": "track", **TRACK}, {"type": "track"}, {"type": "identify", "userId": "u"}]}
    headers = basic(WRITE_KEY) | {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    response = collector.client.post(
        "/v1/batch", data=gzip.compress(json.dumps(body).encode()), headers=headers
    )
    assert response.status_code == 200
    assert (response.json["accepted"], [error["index"] for error in response.json["errors"]]) == (2, [1])


def test_segments_largest_batch_is_taken(collector: Collector) -> None:
    batch = [{"type": "track", "event": "A", "userId": "u"}] * segment.MAX_BATCH_EVENTS
    response = collector.client.post("/v1/batch", json={"batch": batch}, headers=basic(WRITE_KEY))
    assert response.json["accepted"] == 2_500
    batch.append(batch[0])
    response = collector.client.post("/v1/batch", json={"batch": batch}, headers=basic(WRITE_KEY))
    assert response.status_code == 413


@pytest.mark.parametrize("shared", [{"context": {"x": "y" * 60_000}}, {"sentAt": " " * 60_000}])
def test_what_a_batch_shares_is_not_stored_a_thousand_times_over(
    collector: Collector, shared: dict[str, Any]
) -> None:
    """Compressed, such a request has 300 bytes, and would fill 150 MB."""
    body = {"batch": [{"type": "page"}] * segment.MAX_BATCH_EVENTS, **shared}
    packed = gzip.compress(json.dumps(body).encode())
    assert len(packed) < 500
    headers = basic(KEY) | {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    response = collector.client.post("/v1/batch", data=packed, headers=headers)
    assert (response.status_code, response.json["error"]["code"]) == (413, "BODY_TOO_LARGE")
    body["batch"] = body["batch"][:60]
    assert collector.client.post("/v1/batch", json=body, headers=basic(KEY)).status_code == 200


def test_a_repeated_message_has_the_same_id(collector: Collector) -> None:
    for _ in range(2):
        collector.client.post("/v1/track", json=TRACK, headers=basic(WRITE_KEY))
    assert {kept.event["messageId"] for kept in collector.kept()} == {"m-1"}


def test_rudderstacks_browser_library_gets_its_configuration(collector: Collector) -> None:
    headers = basic(KEY) | {"Origin": "https://example.com"}
    response = collector.client.get(f"/sourceConfig/?writeKey={KEY}", headers=headers)
    assert response.json["source"]["writeKey"] == KEY
    assert response.headers["Access-Control-Allow-Origin"] == "https://example.com"
    assert collector.client.get("/sourceConfig/?writeKey=dk_live_x").status_code == 401


def test_pages_may_ask_first(collector: Collector) -> None:
    for path in ("/v1/track", "/beacon/v1/batch", "/sourceConfig/"):
        response = collector.client.options(path, headers={"Origin": "https://example.com"})
        assert response.headers["Access-Control-Allow-Origin"] == "https://example.com"


def test_a_beacon_of_a_page(collector: Collector) -> None:
    body = json.dumps({"batch": [{"type": "track", **TRACK}]})
    response = collector.client.post(
        f"/beacon/v1/batch?writeKey={KEY}", data=body, headers={"Content-Type": "text/plain"}
    )
    assert response.status_code == 200
    assert len(collector.kept()) == 1
