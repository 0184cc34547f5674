"""What is answered when something is wrong."""

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from tests.api.conftest import Api
from tests.logged import logged
from worker.ledger.database import LedgerBusyError
from worker.ledger.setup import sources

JSON = {"content_type": "application/json"}
SOURCES = "/v1/admin/sources"


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "message"),
    [
        (
            "GET",
            "/nothing",
            404,
            "NOT_FOUND",
            "There is nothing at this address. /v1/admin/docs lists all addresses.",
        ),
        ("GET", f"{SOURCES}/src_no", 404, "NOT_FOUND", "There is no source src_no."),
        ("GET", f"{SOURCES}/src%00", 404, "NOT_FOUND", "There is no source src\0."),
        ("GET", "/v1/admin/integrations/int_no", 404, "NOT_FOUND", "There is no integration int_no."),
        ("PUT", SOURCES, 405, "METHOD_NOT_ALLOWED", "Method not allowed."),
        ("GET", f"{SOURCES}?limit=0", 422, "VALIDATION_FAILED", "limit: must be between 1 and 100"),
        ("GET", f"{SOURCES}?limit=101", 422, "VALIDATION_FAILED", "limit: must be between 1 and 100"),
        ("GET", f"{SOURCES}?limit=all", 422, "VALIDATION_FAILED", "limit: must be a whole number"),
        ("GET", f"{SOURCES}?limt=5", 422, "VALIDATION_FAILED", "limt: is not a known field"),
        (
            "GET",
            f"{SOURCES}?cursor=!",
            422,
            "VALIDATION_FAILED",
            "cursor: must be a next_cursor from this list",
        ),
        (
            "GET",
            "/v1/admin/audit?cursor=eA",
            422,
            "VALIDATION_FAILED",
            "cursor: must be a next_cursor from this list",
        ),
        (
            "GET",
            "/v1/admin/audit?cursor=OTk5OTk5OTk5OTk5OTk5OTk5OTk5",
            422,
            "VALIDATION_FAILED",
            "cursor: must be a next_cursor from this list",
        ),
    ],
)
def test_addresses_and_queries_that_are_wrong(
    api: Api, method: str, path: str, status: int, code: str, message: str
) -> None:
    answer = api.call(method, path)

    assert status == answer.status_code
    assert {"error": {"code": code, "message": message}} == answer.json


def test_a_method_that_is_not_served_is_told_which_are(api: Api) -> None:
    allowed = api.call("PUT", SOURCES).headers["Allow"].split(", ")

    assert sorted(allowed) == ["GET", "HEAD", "OPTIONS", "POST"]


UNSTORABLE = "must not hold null bytes or lone surrogates"
NO_KEY = "Expecting property name enclosed in double quotes at line 1, column 2."
NO_UTF_8 = "'utf-8' codec can't decode byte 0xff in position 10: invalid start byte."


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ("{", 400, f"The body is not JSON: {NO_KEY}"),
        ("", 415, "The body must be JSON, with Content-Type: application/json."),
        ('{"name": NaN}', 400, "The body is not JSON: NaN is not a number."),
        ('{"backlog_limit": -Infinity}', 400, "The body is not JSON: -Infinity is not a number."),
        ('{"backlog_limit": 1e999}', 400, "The body is not JSON: 1e999 is too large a number."),
        (b'{"name": "\xff"}', 400, f"The body is not JSON: {NO_UTF_8}"),
        ("[" * 100_000, 400, "The body is nested too deeply."),
        ("[]", 422, "body: must be an object"),
        ("null", 422, "body: must be an object"),
        ('{"name": "a\\u0000b"}', 422, f"name: {UNSTORABLE}"),
        ('{"cookies": {"domain": "\\ud800"}}', 422, f"cookies.domain: {UNSTORABLE}"),
        ('{"a": ["", "\\ud800"]}', 422, f"a.1: {UNSTORABLE}"),
        ('{"a": {"\\u0000": 1}}', 422, f"a: {UNSTORABLE}"),
        ('{"\\ud800": 1}', 422, f"body: {UNSTORABLE}"),
    ],
)
def test_bodies_that_cannot_be_read(api: Api, body: str | bytes, status: int, message: str) -> None:
    options = JSON if body else {}

    assert (status, message) == api.error("POST", SOURCES, data=body, **options)


def test_a_body_that_is_not_declared_as_json_is_refused(api: Api) -> None:
    expected = (415, "The body must be JSON, with Content-Type: application/json.")

    assert expected == api.error(
        "POST", SOURCES, data="name=Shop", content_type="application/x-www-form-urlencoded"
    )


def test_a_body_that_is_too_large_is_refused(api: Api) -> None:
    body = '{"name": "' + "a" * 256 * 1024 + '"}'

    assert api.error("POST", SOURCES, data=body, **JSON) == (413, "The body is too large.")


def test_a_ledger_that_is_busy_asks_the_caller_to_come_back(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    for trouble in (LedgerBusyError("busy"), OperationalError("select", {}, Exception("away"))):
        monkeypatch.setattr(sources, "sources_after", _raise(trouble))
        answer = api.call("GET", SOURCES)

        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert answer.json["error"]["code"] == "LEDGER_UNAVAILABLE"
        assert (
            answer.json["error"]["message"] == "The database does not respond, or takes no writes. Try again."
        )


def test_a_lost_race_is_a_conflict(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "insert_source", _raise(IntegrityError("insert", {}, Exception("unique"))))

    expected = (409, "Another request changed this at the same time. Try again.")
    assert expected == api.error("POST", SOURCES, {"name": "Shop"})


def test_a_mistake_of_ours_tells_nothing_of_what_is_inside(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sources, "sources_after", _raise(RuntimeError("a secret")))
    answer = api.call("GET", SOURCES)

    error = {
        "code": "INTERNAL_SERVER_ERROR",
        "message": "Internal error. The log of the process has the details.",
    }
    assert (500, {"error": error}) == (answer.status_code, answer.json)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    [told] = logged(caplog)
    assert told["event"] == "request_failed"
    assert told["error"].startswith("RuntimeError at test_errors.py:")
    assert "a secret" not in caplog.text


def _raise(error: Exception) -> object:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_keys_that_no_schema_knows_are_not_repeated_at_length(api: Api) -> None:
    body = {"name": "Shop", "jane@example.com": 1, "x" * 5_000: 2}
    status, message = api.error("POST", "/v1/admin/sources", body)
    assert (status, message) == (422, "(key): is not a known field; (key): is not a known field")
    many = {"name": "Shop"} | {f"k{number}": 1 for number in range(500)}
    _, message = api.error("POST", "/v1/admin/sources", many)
    assert message.count("is not a known field") == 50
    assert message.endswith("; and more")


def test_a_name_that_does_not_exist_is_not_repeated_at_length(api: Api) -> None:
    status, message = api.error("GET", f"/v1/admin/sources/{'x' * 2_000}")
    assert (status, len(message) < 200) == (404, True)
