"""Tornado parses HTTP strictly and within the sandbox's limits, tested byte by byte on a socket."""

import re
import socket

import pytest

from tests.dev.sandbox.samples import ACCOUNT
from worker.dev.sandbox.http_server import _MAX_BODY_BYTES, _MAX_HEAD_BYTES, _MAX_READ_BYTES
from worker.dev.sandbox.server import Sandbox


def exchange(sandbox: Sandbox, *parts: bytes, leave: bool = False) -> bytes:
    """Send parts one after the other, stop sending if the client is to leave, and read until the other side ends."""
    with socket.create_connection((sandbox.host, sandbox.port), timeout=10) as connection:
        for part in parts:
            connection.sendall(part)
        if leave:
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def get(*headers: str, version: str = "1.1", path: str = "/healthz") -> bytes:
    lines = [f"GET {path} HTTP/{version}", "Host: sandbox", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def post(*headers: str, path: str = "/behave") -> bytes:
    return get("Connection: close", *headers, path=path).replace(b"GET", b"POST")


LAST = get("Connection: close")


def test_requests_in_one_stream_are_answered_in_order(sandbox: Sandbox) -> None:
    answers = exchange(sandbox, get() + get(path="/nowhere") + LAST)
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"404", b"200"]


@pytest.mark.parametrize("request_", [LAST, get(version="1.0")])
def test_a_connection_ends_where_it_is_asked_to(sandbox: Sandbox, request_: bytes) -> None:
    answers = exchange(sandbox, request_ + get())
    assert answers.count(b"HTTP/1.1 200 OK") == 1


def test_a_body_may_come_in_chunks(sandbox: Sandbox) -> None:
    head = post("Transfer-Encoding: chunked")
    answer = exchange(sandbox, head + b"8\r\n", b'{"seed":\r\n3\r\n 1}', b"\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert sandbox.behaviour()["script"] == {"seed": 1, "rules": []}


def test_a_client_that_waits_is_told_to_continue(sandbox: Sandbox) -> None:
    head = post("Expect: 100-continue", "Content-Length: 2")
    assert exchange(sandbox, head, b"{}").startswith(b"HTTP/1.1 100 (Continue)\r\n\r\nHTTP/1.1 200 OK")


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/2.0\r\nHost: sandbox\r\n\r\n",
        get("no colon"),
        get("Host : x"),
        get("Host: another"),
        get("Content-Length: 1", "Content-Length: 2"),
        get("Content-Length: -1"),
        get("Content-Length: 1_0"),
        get("Transfer-Encoding: gzip"),
        get("Transfer-Encoding: chunked", "Content-Length: 1"),
        get("Transfer-Encoding: chunked") + b"zz\r\n",
        get("Transfer-Encoding: chunked") + b"1\r\nabc\r\n",
        get("Transfer-Encoding: chunked") + b"fffffff\r\n",
        get(f"Content-Length: {_MAX_READ_BYTES + 1}"),
    ],
)
def test_a_malformed_request_is_refused_and_the_connection_ends(sandbox: Sandbox, request_: bytes) -> None:
    assert exchange(sandbox, request_).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "request_",
    [
        get("X: " + "x" * _MAX_HEAD_BYTES),
        get("X: " + "x" * 3_000_000),
        get("Transfer-Encoding: chunked") + b"1" * 300 + b"\r\n",
    ],
    ids=["long head", "longer head", "long size of a chunk"],
)
def test_what_is_too_long_to_read_ends_the_connection_without_an_answer(
    sandbox: Sandbox, request_: bytes
) -> None:
    try:
        answer = exchange(sandbox, request_)
    except ConnectionError:
        answer = b""
    assert answer == b""
    assert exchange(sandbox, LAST).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("size_bytes", [_MAX_BODY_BYTES + 1, 20_000_000])
def test_a_body_over_the_limit_is_read_and_refused(sandbox: Sandbox, size_bytes: int) -> None:
    head = get(f"Content-Length: {size_bytes}").replace(b"GET", b"POST")
    answers = exchange(sandbox, head, b"x" * size_bytes + LAST)
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"413", b"200"]


def test_a_head_is_answered_without_a_body(sandbox: Sandbox) -> None:
    answers = exchange(sandbox, get().replace(b"GET", b"HEAD") + LAST)
    first, _, rest = answers.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 405 ")
    assert rest.startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    "part",
    [b"", b"GET /heal", get("Content-Length: 5") + b"abc", get("Transfer-Encoding: chunked") + b"5\r\nab"],
)
def test_a_client_that_leaves_gets_no_answer_and_does_no_harm(sandbox: Sandbox, part: bytes) -> None:
    assert exchange(sandbox, part, leave=True) == b""
    assert exchange(sandbox, LAST).startswith(b"HTTP/1.1 200 OK")


def test_accounts_are_remembered_by_number_only(sandbox: Sandbox) -> None:
    for account in ("x" * 5_000, ACCOUNT):
        exchange(sandbox, post(path=f"/v5/ad_accounts/{account}/events"))
    assert set(sandbox.rates()) == {"invalid", ACCOUNT}
