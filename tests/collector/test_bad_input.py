import gzip
from typing import Any

import pytest

from tests.collector.conftest import KEY, Collector

OBJECT = "must be an object."
ID = "must be a text of at most 256 characters or a whole number."
TIME = "must be a time in ISO 8601, like 2024-01-29T14:53:20.000Z."
HALF = b'"\\ud800"'


def check_refused(response: Any, status: int, code: str, message: str) -> None:
    assert response.json == {"success": False, "error": {"code": code, "message": message}}
    assert response.status_code == status


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ([], "event must be an object."),
        (None, "event must be an object."),
        ({}, "event must be a text of 1 to 256 characters in a track call."),
        ({"event": " "}, "event must be a text of 1 to 256 characters in a track call."),
        ({"type": "page", "event": "x"}, "type must be track at this address, or be left out."),
        ({"type": "purchase", "event": "x"}, "type must be track at this address, or be left out."),
        ({"event": "x", "properties": []}, f"properties {OBJECT}"),
        ({"event": "x", "context": "web"}, f"context {OBJECT}"),
        ({"event": "x", "userId": {}}, f"userId {ID}"),
        ({"event": "x", "messageId": "m" * 257}, f"messageId {ID}"),
        ({"event": "x", "timestamp": "soon"}, f"timestamp {TIME}"),
        ({"event": "x", "sentAt": True}, f"sentAt {TIME}"),
    ],
)
def test_a_bad_event_is_refused_with_a_sentence_naming_the_field(
    collector: Collector, event: Any, message: str
) -> None:
    check_refused(collector.send("/v1/t", event), 400, "INVALID_EVENT", message)
    assert collector.kept() == []


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        (b'{"a": 1e999}', "properties.a must be a finite number."),
        (
            b'{"a": ' + b"9" * 30 + b"}",
            "properties.a is a whole number of more than 18 digits: send it as text.",
        ),
        (b'{"a": ["\\u0000"]}', "properties.a[0] has a null byte or half a surrogate pair in it."),
        (b'{"a": ' + HALF + b"}", "properties.a has a null byte or half a surrogate pair in it."),
        (b"{" + HALF + b": 1}", "properties has a key with a null byte or half a surrogate pair in it."),
        (b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}", "properties is nested more than 32 levels deep."),
        # Keys are the caller's: a person's, or as long as a body.
        (b'{"jane@example.com": 1e999}', "properties.(key) must be a finite number."),
        (b'{"Jane Doe": {"a": 1e999}}', "properties.(key).a must be a finite number."),
        (b'{"' + b"x" * 60_000 + b'": 1e999}', "properties.(key) must be a finite number."),
        (
            b'{"'
            + b"abcdefghij" * 2
            + b'": '
            + (b'{"' + b"abcdefghij" * 2 + b'": ') * 20
            + b"1e999"
            + b"}" * 21,
            "properties" + ".abcdefghijabcdefghij" * 9 + "… must be a finite number.",
        ),
    ],
)
def test_what_cannot_be_stored_is_refused(collector: Collector, properties: bytes, message: str) -> None:
    body = b'{"event": "x", "properties": ' + properties + b"}"
    check_refused(collector.send("/v1/t", body), 400, "INVALID_EVENT", message)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "body is not JSON: expecting value at line 1, column 1."),
        (b"event=x", "body is not JSON: expecting value at line 1, column 1."),
        (b'{"event": "x"', "body is not JSON: expecting ',' delimiter at line 1, column 14."),
        (b'{"event": "\xff"}', "body must be JSON in UTF-8."),
        (b'{"event": NaN}', "body is not JSON: NaN is not a number."),
        (b'{"event": -Infinity}', "body is not JSON: -Infinity is not a number."),
        (b"[" * 200_000, "body is nested too deeply."),
        (b'{"a": ' + b"1" * 5_000 + b"}", "body has a number with too many digits."),
        (b'{"a": "\x00"}', "body is not JSON: invalid control character at at line 1, column 8."),
    ],
)
@pytest.mark.parametrize("path", ["/v1/t", "/v1/batch"])
def test_a_body_that_is_not_json_is_refused(
    collector: Collector, path: str, body: bytes, message: str
) -> None:
    check_refused(collector.send(path, body), 400, "INVALID_BODY", message)


@pytest.mark.parametrize("body", [{}, [], {"batch": {}}, {"batch": []}, {"batch": None}, 7])
def test_a_batch_must_be_a_list_of_events(collector: Collector, body: Any) -> None:
    message = 'batch must be a list of events: {"batch": [event, …]}.'
    check_refused(collector.send("/v1/batch", body), 400, "INVALID_EVENT", message)


def test_a_signed_event_must_name_its_type(collector: Collector) -> None:
    message = "type must be one of track, page, identify, group."
    check_refused(collector.send_signed("/v1/events", {"event": "x"}), 400, "INVALID_EVENT", message)


def test_too_many_events_are_refused_together(collector: Collector) -> None:
    response = collector.send("/v1/batch", {"batch": [{"type": "page"}] * 501})
    check_refused(response, 413, "TOO_MANY_EVENTS", "batch must hold at most 500 events, not 501.")
    assert collector.kept() == []


def padded(bytes_of_json: int, field: str = "x") -> dict[str, Any]:
    if field == "context":
        frame = len('{"messageId":"m","context":{"page":""},"type":"page"}')
        return {"messageId": "m", "context": {"page": "x" * (bytes_of_json - frame)}}
    frame = len('{"messageId":"m","x":"","type":"page"}')
    return {"messageId": "m", "x": "x" * (bytes_of_json - frame)}


def test_an_event_may_have_64_kb_and_no_byte_more(collector: Collector) -> None:
    assert collector.send("/v1/p", padded(65_536)).status_code == 200
    message = "event must be at most 64 KB (65536 bytes) of JSON, not 65537 bytes."
    check_refused(collector.send("/v1/p", padded(65_537, "context")), 413, "EVENT_TOO_LARGE", message)


def test_a_larger_event_is_kept_without_what_is_not_sent(collector: Collector) -> None:
    assert collector.send("/v1/p", padded(65_537)).status_code == 200
    (kept,) = collector.kept()
    assert kept.event == {"messageId": "m", "type": "page"}


def test_a_body_may_have_512_kb_and_no_byte_more(collector: Collector) -> None:
    start, end = b'{"batch": [{"type": "page"}]', b"}"
    room = 524_288 - len(start) - len(end)
    assert collector.send("/v1/batch", start + b" " * room + end).status_code == 200
    response = collector.send("/v1/batch", start + b" " * (room + 1) + end)
    message = "body must be at most 512 KB (524288 bytes), or 4 MB if it is signed."
    check_refused(response, 413, "BODY_TOO_LARGE", message)


def test_a_signed_body_may_have_4_mb_and_no_byte_more(collector: Collector) -> None:
    start, end = b'{"batch": [{"type": "page"}]', b"}"
    room = 4 * 1024 * 1024 - len(start) - len(end)
    assert collector.send_signed("/v1/batch", start + b" " * room + end).status_code == 200
    assert collector.send_signed("/v1/batch", start + b" " * (room + 1) + end).status_code == 413


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "multipart/form-data", "text/csv"]
)
def test_other_types_of_content_are_refused(collector: Collector, content_type: str) -> None:
    response = collector.send("/v1/p", {}, headers={"Content-Type": content_type})
    message = "Content-Type must be application/json or text/plain."
    check_refused(response, 415, "UNSUPPORTED_MEDIA_TYPE", message)


GZIP = {"Content-Encoding": "gzip"}


def test_a_body_may_be_compressed(collector: Collector) -> None:
    response = collector.send("/v1/p", gzip.compress(b'{"messageId": "m"}'), headers=GZIP)
    assert response.status_code == 200
    assert collector.kept()[0].event == {"messageId": "m", "type": "page"}


def test_other_encodings_are_refused(collector: Collector) -> None:
    response = collector.send("/v1/p", {}, headers={"Content-Encoding": "br"})
    message = "Content-Encoding must be gzip, or be left out."
    check_refused(response, 415, "UNSUPPORTED_MEDIA_TYPE", message)


@pytest.mark.parametrize(
    "body",
    [b"{}", b"", gzip.compress(b"{}", mtime=0)[:-3], gzip.compress(b"{}", mtime=0) * 2],
    ids=["plain", "empty", "cut", "twice"],
)
def test_a_body_that_only_claims_to_be_compressed_is_refused(collector: Collector, body: bytes) -> None:
    response = collector.send("/v1/p", body, headers=GZIP)
    check_refused(response, 400, "INVALID_BODY", "body is not gzip, as Content-Encoding says.")


def test_a_body_that_unpacks_to_too_much_is_refused(collector: Collector) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < 100_000
    assert collector.send("/v1/p", bomb, headers=GZIP).status_code == 413


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/x", "/v1/t/", f"/v1/tt?key={KEY}"])
def test_an_unknown_address_is_refused_in_the_same_form(collector: Collector, path: str) -> None:
    check_refused(collector.send(path, {}), 404, "NOT_FOUND", "Not found.")


@pytest.mark.parametrize("path", ["/v1/t", "/v1/batch", "/v1/events"])
def test_another_method_is_refused_in_the_same_form(collector: Collector, path: str) -> None:
    response = collector.client.get(path)
    message = "Method not allowed. Send events with POST."
    check_refused(response, 405, "METHOD_NOT_ALLOWED", message)
    assert "POST" in response.headers["Allow"]
