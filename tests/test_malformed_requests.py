"""What is not valid HTTP is answered 4xx or closed, by both web processes; it is echoed and logged nowhere."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from worker.ledger.database import Ledger
from worker.ledger.migrate import migrate
from worker.ledger.setup.sources import Source, insert_source
from worker.procfile import commands

ROOT = Path(__file__).parents[1]
KEY, PIPELINE_KEY, TOKEN = "00" * 32, "dk_live_abc123", "adm_token_of_the_test"
# In each request, where its content could be echoed.
PERSON = "jane.doe"
SERVERS = {
    "collector": ("collector", f"POST /v1/p?key={PIPELINE_KEY} HTTP/1.1", PIPELINE_KEY),
    "management": ("management", "POST /v1/admin/sources HTTP/1.1", TOKEN),
}


@dataclass(frozen=True)
class Server:
    """A web process, and the beginning of a request to it that carries a good token."""

    port: int
    head: str
    process: subprocess.Popen[str]

    def answer(self, request: bytes, *, half_close: bool = False) -> bytes:
        """Send raw bytes; return all that comes back until the server closes or rests."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as wire:
            # The server may refuse and close before all is sent.
            with suppress(OSError):
                wire.sendall(request)
                if half_close:
                    wire.shutdown(socket.SHUT_WR)
            wire.settimeout(5)
            received = b""
            try:
                while part := wire.recv(65_536):
                    received += part
            except OSError:
                pass
        return received


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"^HTTP/1\.[01] (\d{3}) ", answer, re.MULTILINE)]


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    var = tmp_path_factory.mktemp("var")
    name, line, token = SERVERS[request.param]
    ledger = Ledger(f"sqlite:///{var}/signal.db", (KEY,))
    migrate(ledger)
    ledger.vault.prepare()
    with ledger.write() as connection:
        insert_source(
            connection, ledger.vault, Source("src_shop", "Shop", (), 1.0, 1.0), PIPELINE_KEY, "secret"
        )
    ledger.dispose()
    port = free_port()
    environ = os.environ | {
        "SIGNAL_VAR": str(var),
        "COLLECTOR_BIND": f"127.0.0.1:{port}",
        "MANAGEMENT_BIND": f"127.0.0.1:{port}",
        "BROKER_URL": "redis://127.0.0.1:1/0",
        "ENCRYPTION_KEY": KEY,
        "ADMIN_TOKEN": TOKEN,
        "LOG_FORMAT": "json",
    }
    command = [sys.executable, "-m", *shlex.split(commands()[name])]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        wait_until_up(port)
        head = f"{line}\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        yield Server(port, head, process)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_up(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the server did not come up")


CHUNKED = "Transfer-Encoding: chunked\r\n"
BODY = json.dumps({"name": PERSON})

# Headers and body behind a good request line; what the whole request is.
BROKEN = {
    "chunk size no number": (CHUNKED, f"{PERSON}\r\n{BODY}\r\n0\r\n\r\n"),
    "chunk size negative": (CHUNKED, f"-5\r\n{BODY}\r\n0\r\n\r\n"),
    "chunk size with 0x": (CHUNKED, f"0x5\r\n{BODY}\r\n0\r\n\r\n"),
    "chunk size with a sign": (CHUNKED, f"+5\r\n{BODY}\r\n0\r\n\r\n"),
    "chunk size with an underscore": (CHUNKED, f"1_0\r\n{BODY}\r\n0\r\n\r\n"),
    "chunk size empty": (CHUNKED, f"\r\n{BODY}\r\n0\r\n\r\n"),
    "chunk size of many digits": (CHUNKED, f"{'f' * 30}\r\n{BODY}\r\n0\r\n\r\n"),
    "chunk size of far too many digits": (CHUNKED, f"{'f' * 9_000}\r\n{BODY}\r\n0\r\n\r\n"),
    "chunk extension huge": (CHUNKED, f"5;{PERSON}={'x' * 40_000}\r\nhello\r\n0\r\n\r\n"),
    "chunk extension without an end": (CHUNKED, f"5;{'x' * 100_000}"),
    "chunk extension with control characters": (CHUNKED, f"5;{PERSON}=\x01\x02\r\nhello\r\n0\r\n\r\n"),
    "chunk longer than said": (CHUNKED, f"2\r\n{BODY}\r\n0\r\n\r\n"),
    "chunk without its end": (CHUNKED, f"{len(BODY):x}\r\n{BODY}0\r\n\r\n"),
    "bare line feeds between chunks": (CHUNKED, f"{len(BODY):x}\n{BODY}\n0\n\n"),
    "trailer that is no header": (CHUNKED, f"{len(BODY):x}\r\n{BODY}\r\n0\r\n{PERSON}\r\n\r\n"),
    "trailers without an end": (CHUNKED, f"{len(BODY):x}\r\n{BODY}\r\n0\r\nX-A: {'x' * 700_000}"),
    "content length negative": ("Content-Length: -1\r\n", BODY),
    "content length with a sign": (f"Content-Length: +{len(BODY)}\r\n", BODY),
    "content length no number": (f"Content-Length: {PERSON}\r\n", BODY),
    "content length of far too many digits": (f"Content-Length: {'9' * 6_000}\r\n", BODY),
    "content length twice and different": ("Content-Length: 5\r\nContent-Length: 6\r\n", BODY),
    "content length listed": ("Content-Length: 5, 6\r\n", BODY),
    "content length and chunks": (f"Content-Length: {len(BODY)}\r\n{CHUNKED}", f"0\r\n\r\n{BODY}"),
    "chunks and content length": (f"{CHUNKED}Content-Length: {len(BODY)}\r\n", f"0\r\n\r\n{BODY}"),
    "transfer coding unknown": (f"Transfer-Encoding: {PERSON}\r\n", BODY),
    "transfer coding twice": ("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"),
    "transfer coding hidden": ("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n"),
    "header without a name": (f": {PERSON}\r\n", ""),
    "header name with a space": (f"X {PERSON}: a\r\n", ""),
    "header name with a space at its end": ("Content-Length : 5\r\n", BODY),
    "header name with a control character": (f"X-\x00{PERSON}: a\r\n", ""),
    "header without a colon": (f"{PERSON}\r\n", ""),
    "header value with a zero": (f"X-A: {PERSON}\x00\r\n", ""),
    "header folded": (f"X-A: a\r\n {PERSON}\r\n", ""),
    "header folded with a tab": (f"X-A: a\r\n\t{PERSON}\r\n", ""),
    "headers too many": ("".join(f"X-{n}: {PERSON}\r\n" for n in range(150)), ""),
    "headers too long": (f"X-A: {PERSON}{'x' * 70_000}\r\n", ""),
    "expectation unknown": (f"Expect: {PERSON}\r\nContent-Length: 2\r\n", "{}"),
}
LINES = {
    "version of two digits": f"POST /{PERSON} HTTP/1.10\r\nHost: x\r\n\r\n",
    "version 9.9": f"POST /{PERSON} HTTP/9.9\r\nHost: x\r\n\r\n",
    "version 0.9": f"GET /{PERSON}\r\n\r\n",
    "version no number": f"POST /{PERSON} HTTP/{PERSON}\r\nHost: x\r\n\r\n",
    "method with odd characters": f"{PERSON}\x01 / HTTP/1.1\r\nHost: x\r\n\r\n",
    "no method": f" /{PERSON} HTTP/1.1\r\nHost: x\r\n\r\n",
    "line with a space": f"POST /{PERSON} and more HTTP/1.1\r\nHost: x\r\n\r\n",
    "line too long": f"GET /{PERSON}{'x' * 10_000} HTTP/1.1\r\nHost: x\r\n\r\n",
    "text": f"hello {PERSON}\r\n\r\n",
    "another protocol": f"\x16\x03\x01\x02\x00\x01\x00{PERSON}\r\n\r\n",
    "HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "proxy protocol": f"PROXY TCP4 192.0.2.1 192.0.2.2 {PERSON} 80\r\nGET / HTTP/1.1\r\n\r\n",
}


def is_refused(answer: bytes) -> bool:
    """Tell whether the server closed without a word, or refused once, with a status of the caller's fault."""
    found = statuses(answer)
    return not found or (len(found) == 1 and (400 <= found[0] < 500 or found[0] == 501))


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_request_is_refused_once_and_not_echoed(server: Server, name: str) -> None:
    headers, body = BROKEN[name]
    answer = server.answer(f"{server.head}{headers}\r\n{body}".encode("latin-1"), half_close=True)
    assert is_refused(answer), answer[:200]
    assert PERSON.encode() not in answer


@pytest.mark.parametrize("name", LINES)
def test_a_broken_request_line_is_refused_once_and_not_echoed(server: Server, name: str) -> None:
    answer = server.answer(LINES[name].encode("latin-1"), half_close=True)
    assert is_refused(answer), answer[:200]
    assert PERSON.encode() not in answer


@pytest.mark.parametrize(
    "request_",
    [
        f"Content-Length: 500\r\n\r\n{BODY}",
        f"{CHUNKED}\r\n{len(BODY):x}\r\n{BODY[:4]}",
        f"{CHUNKED}\r\n{len(BODY):x}\r\n{BODY}\r\n",
        f"{CHUNKED}\r\n5",
        "Content-Le",
        "",
    ],
    ids=["length", "in a chunk", "between chunks", "in a size", "in a header", "at a line's end"],
)
def test_a_request_that_ends_early_is_refused_or_closed(server: Server, request_: str) -> None:
    answer = server.answer(f"{server.head}{request_}".encode(), half_close=True)
    assert is_refused(answer), answer[:200]


def test_garbage_behind_a_good_request_costs_no_second_answer_of_it(server: Server) -> None:
    good = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = server.answer(f"{good}\x00\x01{PERSON}\r\n\r\n".encode())
    found = statuses(answer)
    assert found[0] == 200
    assert found[1:] in ([], [400])
    assert PERSON.encode() not in answer


def test_a_request_hidden_behind_a_broken_body_is_not_answered(server: Server) -> None:
    hidden = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = server.answer(f"{server.head}{CHUNKED}\r\nzz\r\n{hidden}".encode())
    assert statuses(answer) == [400]


def test_a_refused_request_with_a_broken_body_is_answered_once(server: Server) -> None:
    """Only the collector has read the body when the answer goes out: the key may be in it."""
    head = server.head.replace("Authorization: Bearer", "X-Nothing:").replace(f"?key={PIPELINE_KEY}", "")
    answer = server.answer(f"{head}{CHUNKED}\r\n{PERSON}\r\n\r\n".encode())
    assert statuses(answer) == [400 if head.startswith("POST /v1/p ") else 401]


def test_nothing_of_it_is_logged(server: Server) -> None:
    """The last test of a server: it reads what all others made it say."""
    assert statuses(server.answer(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")) == [200]
    server.process.send_signal(signal.SIGTERM)
    output, _ = server.process.communicate(timeout=30)
    assert server.process.returncode == 0
    lines = [json.loads(line) for line in output.splitlines()]
    assert [line for line in lines if line["level"] not in ("warning", "info")] == []
    assert [word for word in (PERSON, "Traceback", "127.0.0.1", PIPELINE_KEY, TOKEN) if word in output] == []
