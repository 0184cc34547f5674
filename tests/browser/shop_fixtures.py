"""A browser, a site to look at with it, and a collector that notes what comes and fails on command."""

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, sync_playwright

from worker.collector import datafly_script

KEY = "dk_live_abc123"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
STUB = """<script>
window._df = window._df || {q: []};
["track", "page", "identify", "group", "consent", "reset"].forEach(function (name) {
  _df[name] = _df[name] || function () { _df.q.push([name].concat([].slice.call(arguments))); };
});
</script>"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser; without one the test is skipped, or fails if everything is required."""
    path = shutil.which("chromium")
    if path is None:
        if os.environ.get("REQUIRE_SERVICES") == "1":
            pytest.fail("chromium is not installed, and REQUIRE_SERVICES=1 asks for it")
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass(frozen=True)
class Answer:
    """What the collector answers; `cut` ends the connection without a word."""

    status: int = 200
    retry_after: str | None = None
    cut: bool = False
    delay_seconds: float = 0.0


@dataclass(frozen=True)
class Post:
    """One request that brought events."""

    at: float
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    events: list[dict[str, Any]]
    status: int

    @property
    def is_beacon(self) -> bool:
        return "key" in self.query


@dataclass
class Server:
    """Serve pages and Datafly.js, and take events; `answers` are used up one by one, then all is well."""

    posts: list[Post] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    pages: dict[str, str] = field(default_factory=dict)
    port: int = 0

    @property
    def site(self) -> str:
        """The site's origin; the collector's is another one."""
        return f"http://localhost:{self.port}"

    @property
    def collector(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def tag(self) -> str:
        return f'<script async src="{self.collector}/d.js" data-pipeline-key="{KEY}"></script>'

    @property
    def events(self) -> list[dict[str, Any]]:
        """Return the accepted events in the order of their receipt; a messageId that comes again is the same event."""
        accepted = [event for post in list(self.posts) if post.status == 200 for event in post.events]
        return list({event["messageId"]: event for event in reversed(accepted)}.values())[::-1]

    @property
    def names(self) -> list[str]:
        return [event.get("event") or event["type"] for event in self.events]

    def page(self, path: str, html: str) -> str:
        """Put up a page; return its address."""
        self.pages[path] = f"<!doctype html><title>{path}</title>{html}"
        return self.site + path

    def await_events(self, count: int) -> list[dict[str, Any]]:
        """Wait until ``count`` events were accepted, and return them."""
        await_true(lambda: len(self.events) >= count, lambda: f"{count} events; there are {self.names}")
        return self.events

    def await_posts(self, count: int) -> None:
        """Wait until ``count`` requests with events came in, whatever their answers."""
        await_true(
            lambda: len(self.posts) >= count, lambda: f"{count} requests; there were {len(self.posts)}"
        )

    def answer(self) -> Answer:
        return self.answers.pop(0) if self.answers else Answer()


def await_true(holds: Callable[[], bool], what: Callable[[], str], seconds: float = 20.0) -> None:
    """Wait for something that happens outside of the browser."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what()}"
        time.sleep(0.02)


@contextmanager
def serving() -> Iterator[Server]:
    """Run the site and its collector in a thread for the time of a `with`."""
    server = Server()

    class Handler(_Handler):
        state = server

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.port = http.server_port
        thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Server

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        html = self.state.pages.get(path)
        if path == "/d.js":
            self._reply(200, datafly_script._SCRIPT, "text/javascript; charset=utf-8")
        elif path == "/favicon.ico":
            self._reply(204, b"", "text/plain")
        elif html is not None:
            self._reply(200, html.encode(), "text/html; charset=utf-8")
        else:
            self._reply(404, b"", "text/plain")

    def do_OPTIONS(self) -> None:
        self._reply(204, b"", "text/plain")

    def do_POST(self) -> None:
        at = time.monotonic()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        parts, answer = urlsplit(self.path), self.state.answer()
        headers = {name.lower(): value for name, value in self.headers.items()}
        status = 0 if answer.cut else answer.status
        self.state.posts.append(Post(at, parts.path, parse_qs(parts.query), headers, body["batch"], status))
        time.sleep(answer.delay_seconds)
        if answer.cut:
            self.close_connection = True
            return
        extra = {"Retry-After": answer.retry_after} if answer.retry_after else {}
        self._reply(status, b"{}", "application/json", extra)

    def _reply(
        self, status: int, body: bytes, content_type: str, extra: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (self._cors() | (extra or {})).items():
            self.send_header(name, value)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _cors(self) -> dict[str, str]:
        origin = self.headers.get("Origin")
        if not origin:
            return {}
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Credentials": "true",
            "Access-Control-Allow-Headers": "Authorization, Content-Type",
            "Access-Control-Expose-Headers": "Retry-After",
        }

    def log_message(self, *_: object) -> None:
        """Say nothing."""
