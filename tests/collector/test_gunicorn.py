"""The collector as it is really served."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.collector.conftest import KEY
from worker.ledger.database import Ledger
from worker.ledger.intake import inbox
from worker.web.gunicorn_worker import _LONGEST_REQUEST_SECONDS

ROOT = Path(__file__).parents[2]
PAGE = json.dumps({"type": "page", "context": {"consent": {"advertising": True}}})
HEADERS = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}


def start(var: Path, port: int, **more: str) -> subprocess.Popen[str]:
    environ = os.environ | {
        "SIGNAL_VAR": str(var),
        "COLLECTOR_BIND": f"127.0.0.1:{port}",
        # Nobody listens there: the broker is down, and nothing may come of it.
        "BROKER_URL": "redis://127.0.0.1:1/0",
        "ENCRYPTION_KEY": "00" * 32,
        **more,
    }
    command = [sys.executable, "-m", "gunicorn", "-c", "worker/web/collector_conf.py"]
    return subprocess.Popen(
        [*command, "worker.collector.wsgi:application()"],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def post(connection: HTTPConnection, body: Any, headers: dict[str, str]) -> tuple[int, Any]:
    is_chunked = "Transfer-Encoding" in headers
    connection.request("POST", "/v1/p", body, headers, encode_chunked=is_chunked)
    response = connection.getresponse()
    return response.status, json.load(response)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_up(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise AssertionError("the collector did not come up")


@pytest.fixture
def served(tmp_path: Path, ledger: Ledger) -> Iterator[tuple[Ledger, int, subprocess.Popen[str]]]:
    port = free_port()
    process = start(tmp_path, port, DATABASE_URL=str(ledger.url))
    try:
        wait_until_up(port)
        yield ledger, port, process
    finally:
        process.kill()
        process.communicate()


def test_a_kept_alive_connection_brings_many_events_and_a_stop_is_clean(
    served: tuple[Ledger, int, subprocess.Popen[str]],
) -> None:
    ledger, port, process = served

    def visit(_: int) -> list[int]:
        with closing(HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            return [post(connection, PAGE, HEADERS)[0] for _ in range(5)]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(visit, range(4))) == [[200] * 5] * 4
    with ledger.read() as connection:
        assert inbox.count_waiting(connection) == 20

    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert [text for text in (KEY, "127.0.0.1 ", "_dfid", "Traceback") if text in output] == []


def test_a_body_that_is_too_large_is_answered_also_on_the_wire(
    served: tuple[Ledger, int, subprocess.Popen[str]],
) -> None:
    _, port, _ = served
    for headers in (HEADERS, HEADERS | {"Transfer-Encoding": "chunked"}):
        with closing(HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            status, answer = post(connection, b" " * 600_000, headers)
        assert (status, answer["error"]["code"]) == (413, "BODY_TOO_LARGE")


def test_what_is_no_http_is_answered_by_its_status_and_quoted_nowhere(
    served: tuple[Ledger, int, subprocess.Popen[str]],
) -> None:
    _, port, process = served
    person = "jane@example.org"
    broken = {
        f"GET /v1/t?email={person} HTTP/9.9\r\n\r\n": 400,
        f"{person}\r\n\r\n": 400,
        f"POST /v1/t HTTP/1.1\r\nHost: x\r\n{person}\r\n\r\n": 400,
        f"POST /v1/t HTTP/1.1\r\nHost: x\r\nContent-Length: {person}\r\n\r\n": 400,
        f"GET /v1/t?email={person}{'x' * 5_000} HTTP/1.1\r\n\r\n": 414,
        f"POST /v1/t HTTP/1.1\r\nHost: x\r\nCookie: {person}{'x' * 20_000}\r\n\r\n": 431,
    }
    for text, status in broken.items():
        with socket.create_connection(("127.0.0.1", port), timeout=20) as wire:
            wire.sendall(text.encode())
            answer = wire.recv(65_536).decode()
        assert answer.startswith(f"HTTP/1.1 {status} "), (text[:60], answer)
        assert person not in answer

    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    lines = [json.loads(line) for line in output.splitlines()]
    statuses = [line["status"] for line in lines if line["event"] == "request_unreadable"]
    assert [*dict.fromkeys(statuses)] == [400, 414, 431]
    assert [word for word in (person, "127.0.0.1") if word in output] == []


@pytest.mark.slow
def test_callers_that_stall_in_the_middle_of_a_request_hold_up_the_others_for_seconds(
    served: tuple[Ledger, int, subprocess.Popen[str]],
) -> None:
    _, port, process = served
    head = b"POST /v1/p HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + KEY.encode() + b"\r\n"
    with ExitStack() as stack:
        # One more than there are threads, half of them in the headers and half in the body.
        for number in range(9):
            wire = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            wire.sendall(head if number % 2 else head + b"Content-Length: 100\r\n\r\n{")
        time.sleep(0.5)
        began = time.monotonic()
        with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            assert post(connection, PAGE, HEADERS)[0] == 200
        assert 1 < time.monotonic() - began < 3 * _LONGEST_REQUEST_SECONDS
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("more", "status", "sentence"),
    [
        ({}, 3, "The ledger has no tables yet, this code needs"),
        ({"DATABASE_URL": "sqlite:////dev/null/x.db"}, 3, "The ledger cannot be opened"),
        ({"ENCRYPTION_KEY": "short"}, 3, "ENCRYPTION_KEY must be 64 hex digits (openssl rand -hex 32)."),
        (
            {"COLLECTOR_THREADS": "many"},
            1,
            "COLLECTOR_THREADS must be a whole number from 1 to 64, not 'many'.",
        ),
    ],
)
def test_what_is_wrong_stops_the_process_with_a_sentence(
    tmp_path: Path, more: dict[str, str], status: int, sentence: str
) -> None:
    process = start(tmp_path, free_port(), **more)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == status
    assert sentence in output
    assert "Traceback" not in output
