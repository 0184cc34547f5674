import re

import pytest

from tests.collector.conftest import KEY, NOW, SECRET, SOURCE, Collector
from worker.collector.callers import key_of
from worker.http.signature import sign
from worker.ledger.setup import sources

PAGE = {"type": "page"}
UNFIT = "X-Signature does not match the body, X-Timestamp and the secret of X-Source-Id."
LATE = "X-Timestamp must be within 5 minutes of the current time."


@pytest.mark.parametrize(
    ("authorization", "query_key", "expected"),
    [
        ("Bearer dk_live_1", None, "dk_live_1"),
        ("bearer  dk_live_1 ", None, "dk_live_1"),
        (None, "dk_live_2", "dk_live_2"),
        ("Bearer dk_live_1", "dk_live_2", "dk_live_1"),
        # A proxy's own credentials are not ours.
        ("Basic eDp5", "dk_live_2", "dk_live_2"),
        ("Bearer ", None, None),
        (None, "", None),
        (None, None, None),
    ],
)
def test_the_key_is_the_bearer_s_or_the_address_s(
    authorization: str | None, query_key: str | None, expected: str | None
) -> None:
    assert key_of(authorization, query_key) == expected


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
        (None, "The pipeline key is missing. Send it as `Authorization: Bearer …` or as `?key=…`."),
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
