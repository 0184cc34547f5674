"""HTTP is read strictly and within bounds, byte by byte on a socket."""

import re
import socket

import pytest

from tests.sandbox.samples import ACCOUNT
from worker.sandbox.client import Sandbox
from worker.sandbox.http_reading import MAX_HEAD_BYTES
from worker.sandbox.server import MAX_BODY_BYTES


def exchange(sandbox: Sandbox, *parts: bytes) -> bytes:
    """Send parts one after the other, and read until the other side ends."""
    with socket.create_connection((sandbox.host, sandbox.port), timeout=10) as connection:
        for part in parts:
            connection.sendall(part)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def get(*headers: str, version: str = "1.1", path: str = "/healthz") -> bytes:
    lines = [f"GET {path} HTTP/{version}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def test_requests_in_one_stream_are_answered_in_order(sandbox: Sandbox) -> None:
    answers = exchange(sandbox, get() + get(path="/nowhere") + get())
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"404", b"200"]


@pytest.mark.parametrize("request_", [get("Connection: close"), get(version="1.0")])
def test_a_connection_ends_where_it_is_asked_to(sandbox: Sandbox, request_: bytes) -> None:
    answers = exchange(sandbox, request_ + get())
    assert answers.count(b"HTTP/1.1 200 OK") == 1
    assert b"Connection: close" in answers


def test_a_body_may_come_in_chunks(sandbox: Sandbox) -> None:
    head = get("Transfer-Encoding: chunked").replace(b"GET /healthz", b"POST /behave")
    answer = exchange(sandbox, head + b"8\r\n", b'{"seed":\r\n3;x=y\r\n 1}', b"\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert sandbox.behaviour()["script"] == {"seed": 1, "rules": []}


def test_a_client_that_waits_is_told_to_continue(sandbox: Sandbox) -> None:
    head = get("Expect: 100-continue", "Content-Length: 2").replace(b"GET /healthz", b"POST /behave")
    assert exchange(sandbox, head, b"{}").startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /healthz HTTP/2.0\r\n\r\n", 400),
        (b"GET http://[ HTTP/1.1\r\n\r\n", 400),
        (get("no colon"), 400),
        (get("Host : x"), 400),
        (get("Content-Length: 1", "Content-Length: 1"), 400),
        (get("Content-Length: -1"), 400),
        (get("Content-Length: 1_0"), 400),
        (get("Transfer-Encoding: gzip"), 400),
        (get("Transfer-Encoding: chunked", "Content-Length: 1"), 400),
        (get("Transfer-Encoding: chunked") + b"zz\r\n", 400),
        (get("Transfer-Encoding: chunked") + b"1" * 300 + b"\r\n", 400),
        (get("Transfer-Encoding: chunked") + b"1\r\nabc\r\n", 400),
        (get("Transfer-Encoding: chunked") + b"fffffff\r\n", 413),
        (get(f"Content-Length: {MAX_BODY_BYTES + 1}"), 413),
        (get("X: " + "x" * MAX_HEAD_BYTES), 431),
        (get("X: " + "x" * 3_000_000), 431),
    ],
)
def test_a_malformed_request_is_refused_and_the_connection_ends(
    sandbox: Sandbox, request_: bytes, status: int
) -> None:
    answer = exchange(sandbox, request_)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"Connection: close" in answer


def test_a_body_over_the_limit_is_refused_although_it_is_already_on_its_way(sandbox: Sandbox) -> None:
    head = get("Content-Length: 20000000").replace(b"GET /healthz", b"POST /behave")
    assert exchange(sandbox, head, b"x" * 20_000_000).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "part",
    [b"", b"GET /heal", get("Content-Length: 5") + b"abc", get("Transfer-Encoding: chunked") + b"5\r\nab"],
)
def test_a_client_that_leaves_gets_no_answer_and_does_no_harm(sandbox: Sandbox, part: bytes) -> None:
    assert exchange(sandbox, part) == b""
    assert exchange(sandbox, get()).startswith(b"HTTP/1.1 200 OK")


def test_accounts_are_remembered_by_number_only(sandbox: Sandbox) -> None:
    for account in ("x" * 5_000, ACCOUNT):
        exchange(sandbox, get(path=f"/v5/ad_accounts/{account}/events").replace(b"GET", b"POST"))
    assert set(sandbox.rates()) == {"invalid", ACCOUNT}
