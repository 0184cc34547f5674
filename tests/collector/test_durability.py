import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError

from tests.collector.conftest import CONSENT, KEY, SECRET, Clock, Collector
from tests.logged import logged
from worker.collector.wsgi import create_app
from worker.ledger.database import Ledger, LedgerBusyError
from worker.ledger.intake import inbox
from worker.settings import parse

PRIVATE = "john.doe@example.com"
AWAY = {
    "success": False,
    "error": {
        "code": "UNAVAILABLE",
        "message": "The event could not be stored. Send it again later.",
    },
}
BROKEN = {
    "success": False,
    "error": {"code": "INTERNAL_ERROR", "message": "Internal error. Nothing of the request was accepted."},
}


def offering(ledger: Ledger, tmp_path: Path, offer: Any) -> Collector:
    app = create_app(ledger, parse({"SIGNAL_VAR": str(tmp_path)}), offer, Clock())
    return Collector(app, ledger, Clock(), offer)


def test_hints_are_offered_after_the_commit(ledger: Ledger, tmp_path: Path) -> None:
    seen: list[list[int]] = []

    def offer(ids: Sequence[int]) -> int:
        with ledger.read() as connection:
            seen.append([row.id for row in inbox.load_events(connection, ids)])
        return len(ids)

    offering(ledger, tmp_path, offer).send("/v1/batch", {"batch": [{"type": "page"}] * 3})
    assert seen == [[1, 2, 3]]


def test_a_dropped_hint_is_no_one_s_loss(ledger: Ledger, tmp_path: Path) -> None:
    collector = offering(ledger, tmp_path, lambda ids: 0)
    assert collector.send("/v1/p", {}).status_code == 200
    assert len(collector.kept()) == 1


def test_a_publisher_that_fails_is_a_matter_for_the_log(
    ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def offer(ids: Sequence[int]) -> NoReturn:
        raise RuntimeError(PRIVATE)

    collector = offering(ledger, tmp_path, offer)
    assert collector.send("/v1/p", {}).status_code == 200
    assert len(collector.kept()) == 1
    [told] = logged(caplog)
    assert (told["event"], told["events"]) == ("hint_failed", 1)
    assert told["error"].startswith("RuntimeError at test_durability.py:")
    assert PRIVATE not in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("INSERT", {"body": PRIVATE}, Exception("database is locked")),
        InterfaceError("INSERT", {"body": PRIVATE}, Exception("connection already closed")),
        LedgerBusyError("the ledger's write lock was not free in time"),
    ],
)
def test_a_ledger_that_is_away_leaves_the_event_with_the_caller(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    _let_accept_raise(monkeypatch, error)
    response = collector.send("/v1/p", {"userId": PRIVATE})
    assert (response.status_code, response.json) == (503, AWAY)
    assert response.headers["Retry-After"] == "5"
    assert response.headers.getlist("Set-Cookie") == []
    assert collector.hints.offered == []
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert PRIVATE not in caplog.text


@pytest.mark.parametrize(
    "error", [IntegrityError("x", {"a": PRIVATE}, Exception(PRIVATE)), ValueError(PRIVATE)]
)
def test_what_nobody_expected_is_no_success_and_tells_nothing(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    _let_accept_raise(monkeypatch, error)
    response = collector.send("/v1/p", {"userId": PRIVATE})
    assert (response.status_code, response.json) == (500, BROKEN)
    [told] = logged(caplog)
    assert told["event"] == "request_failed"
    assert told["error"].startswith(f"{type(error).__name__} at test_durability.py:")
    assert PRIVATE not in caplog.text


def _let_accept_raise(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def accept(*_: Any) -> NoReturn:
        raise error

    monkeypatch.setattr(inbox, "accept_events", accept)


def test_a_database_that_went_away_is_told_as_such(collector: Collector, tmp_path: Path) -> None:
    assert collector.send("/v1/p", {}).status_code == 200
    collector.ledger.dispose()
    for file in tmp_path.glob("l.db*"):
        file.unlink()
    (tmp_path / "l.db").mkdir()
    response = collector.send("/v1/p", {})
    assert (response.status_code, response.json) == (503, AWAY)


def test_a_request_is_taken_whole_or_not_at_all(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = inbox.accept_events

    def accept_and_fail(*arguments: Any) -> NoReturn:
        accept(*arguments)
        raise OperationalError("COMMIT", {}, Exception("disk I/O error"))

    monkeypatch.setattr(inbox, "accept_events", accept_and_fail)
    assert collector.send("/v1/batch", {"batch": [{"type": "page"}] * 3}).status_code == 503
    assert collector.kept() == []


def test_nothing_personal_stands_in_the_files_in_clear(collector: Collector, tmp_path: Path) -> None:
    private = {
        "userId": "user-4711",
        "anonymousId": "anon-4711",
        "traits": {"email": PRIVATE, "phone": "+4915112345678"},
        "context": {"page": {"url": "https://example.com/p?epik=dj0yJnU9"}, **CONSENT},
    }
    headers = {"User-Agent": "Mozilla/5.0 (private)", "X-Forwarded-For": "203.0.113.50"}
    cookies = {"_dfid": "0b0f2a8e-5a3c-4c7e-9d1f-1c2d3e4f5a6b", "_pin_unauth": "pin-4711"}
    options: dict[str, Any] = {"cookies": cookies, "environ_base": {"REMOTE_ADDR": "10.0.0.1"}}
    assert collector.send("/v1/i", private, headers=headers, **options).status_code == 200

    kept = collector.kept()[0]
    texts = [PRIVATE, "4915112345678", "203.0.113.50", "dj0yJnU9", "(private)", *cookies.values()]
    texts += ["user-4711", "anon-4711", SECRET]
    opened = json.dumps([kept.event, kept.received]) + SECRET
    assert [text for text in texts if text not in opened] == []
    files = b"".join(file.read_bytes() for file in tmp_path.glob("l.db*"))
    assert b"src_abc123" in files
    assert [text for text in texts if text.encode() in files] == []


def test_no_line_of_the_log_names_a_key_or_a_visitor(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    collector.send("/v1/i", {"userId": PRIVATE}, cookies={"_epik": "dj0yJnU9"})
    collector.send(f"/v1/t?key={KEY}", {"userId": PRIVATE})
    collector.send("/v1/t", {"userId": PRIVATE}, key="dk_live_unknown")
    assert [text for text in (PRIVATE, KEY, "dj0yJnU9", "127.0.0.1") if text in caplog.text] == []
