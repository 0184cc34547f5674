import re
from base64 import b64encode
from typing import Any

import pytest

from tests.collector.conftest import KEY, NOW, SECRET, SOURCE, Collector
from worker.collector import segment
from worker.collector.callers import key_of
from worker.collector.gateway import _TYPES
from worker.http.signature import sign
from worker.ledger.setup import sources
from worker.ledger.setup.sources import write_key

PAGE = {"type": "page"}
MESSAGE = {"event": "Order Completed", "userId": "u", "groupId": "g", "previousId": "p"}
UNFIT = "X-Signature does not match the body, X-Timestamp and the secret of X-Source-Id."
LATE = "X-Timestamp must be within 5 minutes of the current time."


BASIC = "Basic " + b64encode(b"dk_live_3:").decode()


@pytest.mark.parametrize(
    ("authorization", "query", "expected"),
    [
        ("Bearer dk_live_1", {}, "dk_live_1"),
        ("bearer  dk_live_1 ", {}, "dk_live_1"),
        (None, {"key": "dk_live_2"}, "dk_live_2"),
        (None, {"writeKey": "dk_live_2"}, "dk_live_2"),
        ("Bearer dk_live_1", {"key": "dk_live_2"}, "dk_live_1"),
        (BASIC, {}, "dk_live_3"),
        (BASIC.replace("Basic", "BASIC"), {"key": ""}, "dk_live_3"),
        # A proxy's own credentials are not ours.
        ("Basic eDp5", {"key": "dk_live_2"}, "dk_live_2"),
        ("Basic eDp5", {"writeKey": "dk_live_2"}, "dk_live_2"),
        ("Basic", {}, None),
        ("Basic !!!", {}, None),
        ("Basic " + b64encode(b"\xff:").decode(), {}, None),
        ("Digest dk_live_1", {}, None),
        ("Bearer ", {}, None),
        (None, {"key": "", "writeKey": ""}, None),
        (None, {}, None),
    ],
)
def test_the_key_is_the_bearer_s_the_query_s_or_the_basic_user_name(
    authorization: str | None, query: dict[str, str], expected: str | None
) -> None:
    assert key_of(authorization, query) == expected


ROUTES = [
    *(("POST", f"/v1/{call}") for call in (*_TYPES, *segment.CALLS, "batch")),
    ("POST", "/beacon/v1/batch"),
    ("GET", "/sourceConfig/"),
]
PLACES = {
    "bearer": lambda key: {"headers": {"Authorization": f"Bearer {key}"}},
    "basic": lambda key: {"headers": {"Authorization": "Basic " + b64encode(f"{key}:".encode()).decode()}},
    "key": lambda key: {"query_string": {"key": key}},
    "writeKey": lambda key: {"query_string": {"writeKey": key}},
    "body": lambda key: {"json": {"writeKey": key}},
}
MISSING = (
    "The key is missing. Send it as `Authorization: Bearer …`, as the user name of Basic authentication, "
    "or as `?key=…`."
)
UNKNOWN_KEY, UNKNOWN_WRITE_KEY = "The pipeline key is unknown or expired.", "The write key is unknown."
WRITE_KEY = write_key(SOURCE.id, SECRET)


def body_for(path: str) -> dict[str, Any]:
    is_batch = path.rpartition("/")[2] in ("batch", "b", "import")
    return {"batch": [MESSAGE | {"type": "track"}]} if is_batch else MESSAGE


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_each_route_takes_the_key_in_each_place(
    collector: Collector, method: str, path: str, place: str
) -> None:
    def call(key: str) -> tuple[int, Any]:
        given = PLACES[place](key)
        given["json"] = given.get("json", {}) | body_for(path)
        response = collector.client.open(path, method=method, **given)
        return response.status_code, (response.json or {}).get("error", {}).get("message")

    if (method, place) == ("GET", "body"):
        assert call(KEY) == (401, MISSING)
        return
    assert call(KEY) == (200, None)
    # RudderStack's page has the pipeline key only.
    assert call(WRITE_KEY) == ((200, None) if method == "POST" else (401, UNKNOWN_KEY))
    assert call("") == (401, MISSING)
    assert call("dk_live_unknown") == (401, UNKNOWN_KEY)
    assert call("sk_src_other_0") == (401, UNKNOWN_WRITE_KEY if method == "POST" else UNKNOWN_KEY)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_each_route_says_that_the_key_is_missing(collector: Collector, method: str, path: str) -> None:
    response = collector.client.open(path, method=method, json=body_for(path))
    assert (response.status_code, response.json["error"]["message"]) == (401, MISSING)


def test_the_signature_is_what_other_tools_compute() -> None:
    # printf '1706540000000.{"type":"page"}' | openssl dgst -sha256 -hmac whsec_of_the_shop
    expected = "sha256=e30e13584fda8f306bf59d59915c6c4c26d18a5f4dee0b8e3f8895c6aad48a05"
    assert sign(SECRET, "1706540000000", b'{"type":"page"}') == expected


def test_a_beacon_brings_its_key_in_the_address_and_plain_text(collector: Collector) -> None:
    headers = {"Content-Type": "text/plain;charset=UTF-8"}
    response = collector.send(f"/v1/batch?key={KEY}", {"batch": [PAGE]}, key=None, headers=headers)
    assert response.json == {"success": True, "accepted": 1}


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (None, MISSING),
        ("dk_live_unknown", "The pipeline key is unknown or expired."),
        ("whatever", "The pipeline key is unknown or expired."),
        ("dk_live_" + "x" * 500, "The pipeline key is unknown or expired."),
        ("dk_live_a\tb", "The pipeline key is unknown or expired."),
    ],
)
@pytest.mark.parametrize("path", ["/v1/t", "/v1/p", "/v1/i", "/v1/g", "/v1/batch"])
def test_without_a_good_key_nothing_is_taken(
    collector: Collector, path: str, key: str | None, message: str
) -> None:
    response = collector.send(path, PAGE, key=key)
    assert response.status_code == 401
    assert response.json == {"success": False, "error": {"code": "UNAUTHORIZED", "message": message}}
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert collector.kept() == []


def test_no_route_takes_anything_from_a_stranger(collector: Collector) -> None:
    """Walk over all routes: a new route needs a decision about who may call it."""
    takes = {
        (rule.rule, method)
        for rule in collector.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"GET", "HEAD", "OPTIONS"}
    }
    statuses = {
        path: collector.client.open(
            re.sub(r"<(?:any\((\w+)[^>]*|[^>]*)>", lambda part: part[1] or "t", path),
            method=method,
            json=PAGE,
        ).status_code
        for path, method in takes
    }

    assert len(takes) >= 3
    assert statuses == dict.fromkeys(statuses, 401)
    assert collector.kept() == []


def test_a_rotated_key_is_good_until_its_time_and_not_for_long_after(collector: Collector) -> None:
    with collector.ledger.write() as connection:
        sources.add_key(connection, SOURCE.id, "dk_live_new", NOW)
        sources.expire_keys(connection, SOURCE.id, "dk_live_new", NOW + 60)
    statuses = []
    for moment in (0, 59, 66):
        collector.clock.at = NOW + moment
        statuses.append(collector.send("/v1/p", {}).status_code)
    assert statuses == [200, 200, 401]
    assert collector.send("/v1/p", {}, key="dk_live_new").status_code == 200


def test_a_known_key_costs_no_query(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    collector.send("/v1/p", {})
    asked: list[str] = []
    monkeypatch.setattr("worker.ledger.setup.sources.source_of_key", lambda *_: asked.append("key"))
    assert collector.send("/v1/p", {}).status_code == 200
    assert asked == []


def test_a_signed_event_is_taken(collector: Collector) -> None:
    response = collector.send_signed("/v1/events", {"type": "track", "event": "Signed Up"})
    assert (response.status_code, response.json) == (200, {"success": True})
    assert collector.kept()[0].source_id == SOURCE.id


def test_a_batch_may_be_signed(collector: Collector) -> None:
    response = collector.send_signed("/v1/batch", {"batch": [PAGE, PAGE]})
    assert response.json == {"success": True, "accepted": 2}
    assert [kept.received["ch"] for kept in collector.kept()] == ["s", "s"]


def stamp(offset_seconds: float) -> str:
    return str(int((NOW + offset_seconds) * 1000))


@pytest.mark.parametrize("offset_seconds", [-300, 300])
def test_a_signature_holds_for_five_minutes(collector: Collector, offset_seconds: float) -> None:
    assert collector.send_signed("/v1/events", PAGE, stamp=stamp(offset_seconds)).status_code == 200


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"stamp": stamp(-300.001)}, LATE),
        ({"stamp": stamp(300.001)}, LATE),
        # Seconds instead of milliseconds.
        ({"stamp": "1706540000"}, LATE),
        ({"stamp": "yesterday"}, "X-Timestamp must be a time in Unix milliseconds."),
        ({"stamp": "9" * 30}, "X-Timestamp must be a time in Unix milliseconds."),
        ({"stamp": ""}, "X-Timestamp is missing."),
        ({"signature": ""}, "X-Signature is missing."),
        ({"signature": "sha256=abc"}, "X-Signature must be sha256= and 64 hex digits."),
        ({"signature": "sha256=" + "0" * 64}, UNFIT),
        ({"signature": sign("another", stamp(0), b'{"type": "page"}')}, UNFIT),
        ({"signature": sign(SECRET, stamp(0), b'{"type": "group"}')}, UNFIT),
        ({"signature": sign(SECRET, stamp(1), b'{"type": "page"}')}, UNFIT),
        ({"source_id": "src_unknown"}, UNFIT),
        ({"source_id": ""}, "X-Source-Id is missing."),
        ({"source_id": "src 1"}, "X-Source-Id must be the id of a source."),
    ],
)
def test_what_is_not_signed_right_is_not_taken(
    collector: Collector, changed: dict[str, str], message: str
) -> None:
    response = collector.send_signed("/v1/events", PAGE, **changed)
    assert response.status_code == 401
    assert response.json == {"success": False, "error": {"code": "INVALID_SIGNATURE", "message": message}}
    assert collector.kept() == []


def test_a_pipeline_key_is_no_signature(collector: Collector) -> None:
    response = collector.send("/v1/events", PAGE)
    assert response.status_code == 401
    assert response.json is not None
    assert response.json["error"]["message"] == "X-Timestamp is missing."


def test_a_new_secret_takes_over_within_seconds(collector: Collector) -> None:
    assert collector.send_signed("/v1/events", PAGE).status_code == 200
    with collector.ledger.write() as connection:
        sources.set_server_secret(connection, collector.ledger.vault, SOURCE.id, "new", 2.0)
    collector.clock.at += 5
    assert collector.send_signed("/v1/events", PAGE).status_code == 401
