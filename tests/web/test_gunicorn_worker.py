"""A caller that is slow to send holds nobody up for long."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from werkzeug.exceptions import BadRequest

from tests.logged import logged
from worker.web import gunicorn_worker
from worker.web.gunicorn_worker import DeadlineThreadWorker, _BodyGuard, _DeadlineSocket, _GuardedBody


@pytest.fixture
def pair() -> Iterator[tuple[_DeadlineSocket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ExitStack() as stack:
        stack.enter_context(ours)
        yield _DeadlineSocket(ours), stack.enter_context(theirs)


def test_what_comes_in_time_is_read(pair: tuple[_DeadlineSocket, socket.socket]) -> None:
    ours, theirs = pair
    ours.deadline = time.monotonic() + 5
    theirs.sendall(b"GET")
    assert ours.recv(100) == b"GET"
    assert ours.gettimeout() is None


def test_a_caller_that_says_nothing_is_taken_for_gone(pair: tuple[_DeadlineSocket, socket.socket]) -> None:
    ours, _ = pair
    ours.deadline = time.monotonic() + 0.05
    assert ours.recv(100) == b""


def test_a_caller_that_drips_is_taken_for_gone_all_the_same(
    pair: tuple[_DeadlineSocket, socket.socket],
) -> None:
    ours, theirs = pair
    ours.deadline = time.monotonic() + 0.2
    seen = b""
    for _ in range(100):
        theirs.sendall(b"x")
        part = ours.recv(1)
        if not part:
            break
        seen += part
        time.sleep(0.02)
    assert 0 < len(seen) < 100


def test_each_request_has_its_own_time(pair: tuple[_DeadlineSocket, socket.socket]) -> None:
    ours, theirs = pair
    ours.deadline = time.monotonic() + 0
    theirs.sendall(b"GET")
    assert ours.recv(100) == b""
    ours.deadline = time.monotonic() + 5
    assert ours.recv(100) == b"GET"


def test_a_shorter_timeout_of_gunicorn_s_own_stays(pair: tuple[_DeadlineSocket, socket.socket]) -> None:
    ours, _ = pair
    ours.deadline = time.monotonic() + 60
    ours.settimeout(0.01)
    with pytest.raises(TimeoutError):
        ours.recv(100)
    assert ours.gettimeout() == 0.01


class Broken:
    """A body whose connection breaks while it is read."""

    def read(self, _size: int | None = None) -> bytes:
        raise ConnectionResetError

    readline = read


@pytest.mark.parametrize(
    ("sent", "length", "expected"),
    [
        (b"hello", "5", b"hello"),
        (b"", "0", b""),
        (b"hello", "", b"hello"),
        # Gunicorn stops at the declared length.
        (b"hello", "3", b"hello"),
        # What arrived may be whole JSON all the same.
        (b"{}", "5", None),
        (b"", "5", None),
        (None, "5", None),
    ],
)
@pytest.mark.parametrize("way", ["whole", "parts", "lines"])
def test_a_body_that_ends_early_is_the_clients_fault(
    sent: bytes | None, length: str, expected: bytes | None, way: str
) -> None:
    read = {
        "whole": lambda body: body.read(),
        "parts": lambda body: b"".join(iter(lambda: body.read(2), b"")),
        "lines": b"".join,
    }[way]
    seen: list[bytes] = []

    def app(environ: dict[str, Any], _start: Any) -> list[bytes]:
        seen.append(read(environ["wsgi.input"]))
        return []

    environ = {"CONTENT_LENGTH": length, "wsgi.input": Broken() if sent is None else BytesIO(sent)}
    if expected is None:
        with pytest.raises(BadRequest):
            _BodyGuard(app)(environ, None)
    else:
        _BodyGuard(app)(environ, None)
        assert seen == [expected]


def test_a_flood_of_malformed_requests_is_logged_once_a_second(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gunicorn_worker, "_unreadable", {})
    for second in (100.0, 100.9, 101.0):
        monkeypatch.setattr(gunicorn_worker, "monotonic", lambda second=second: second)
        for _ in range(500):
            with pytest.raises(BadRequest):
                _GuardedBody(BytesIO(), 7).read()
    assert [(line["status"], line["unlogged"]) for line in logged(caplog)] == [(400, 0), (400, 999)]


@pytest.mark.parametrize(("accesslog", "lines"), [(None, []), ("-", ["line"])])
def test_fields_of_an_access_log_are_collected_only_if_there_is_one(
    monkeypatch: pytest.MonkeyPatch, accesslog: str | None, lines: list[str]
) -> None:
    written: list[str] = []
    monkeypatch.setattr("gunicorn.workers.gthread.ThreadWorker.load_wsgi", lambda worker: None)
    worker = DeadlineThreadWorker.__new__(DeadlineThreadWorker)
    worker.wsgi, worker.cfg = None, SimpleNamespace(accesslog=accesslog)
    worker.log = SimpleNamespace(access=lambda *_: written.append("line"))
    worker.load_wsgi()
    worker.log.access("response", "request", {}, 1.0)
    assert written == lines
