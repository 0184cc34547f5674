"""Run the sandbox: in this process, in a thread of it, or in one of its own."""

import asyncio
import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlencode

from worker.dev.sandbox.http_server import Server
from worker.dev.sandbox.routes import App

_TIMEOUT_SECONDS = 30.0


class _SandboxError(Exception):
    """The sandbox refused; the message is its own."""


class Sandbox:
    """A running sandbox, reached over HTTP."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.url = f"http://{host}:{port}"

    def events_url(self, account: str, *, test: bool = False) -> str:
        """Name the address to which an ad account's events are posted."""
        return f"{self.url}/v5/ad_accounts/{account}/events" + ("?test=true" if test else "")

    def received(self, **filters: object) -> Any:
        """Get the counts and the last accepted events; filters: account, event_id, event_name, limit."""
        return self._json("GET", "/received", query=filters)

    def requests(self, account: str | None = None, limit: int = 1_000) -> list[dict[str, Any]]:
        """List the newest requests with their times and statuses, oldest of them first."""
        query: dict[str, object] = {"limit": limit} | ({"account": account} if account else {})
        requests: list[dict[str, Any]] = self._json("GET", "/received/requests", query=query)["requests"]
        return requests

    def rates(self) -> dict[str, dict[str, int]]:
        """Give the most requests in any second and any minute, by ad account."""
        accounts: dict[str, dict[str, int]] = self._json("GET", "/received/rate")["accounts"]
        return accounts

    def ids(self, account: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield every accepted event id with its event name and copies."""
        query = f"?account={account}" if account else ""
        with closing(self._connect()) as connection:
            connection.request("GET", f"/received/ids{query}")
            for line in connection.getresponse():
                yield json.loads(line)

    def behave(self, script: Mapping[str, Any]) -> Any:
        """Follow a script from now on, in place of the one before."""
        return self._json("POST", "/behave", body=script)

    def behaviour(self) -> Any:
        """Get the script and how often each rule applied."""
        return self._json("GET", "/behave")

    def behave_well(self) -> None:
        """Follow no script."""
        self._json("DELETE", "/behave")

    def forget(self) -> None:
        """Forget what was received."""
        self._json("DELETE", "/received")

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=_TIMEOUT_SECONDS)

    def _json(
        self, method: str, path: str, *, query: Mapping[str, object] | None = None, body: object = None
    ) -> Any:
        target = path + ("?" + urlencode(query) if query else "")
        with closing(self._connect()) as connection:
            connection.request(method, target, None if body is None else json.dumps(body))
            response = connection.getresponse()
            answer = json.loads(response.read())
        if response.status != 200:
            raise _SandboxError(answer["message"])
        return answer


_STOP_SECONDS = 5.0


async def serve(app: App, *, host: str, port: int, ready: Callable[[int], None], stop: asyncio.Event) -> None:
    """Serve until `stop` is set; `ready` gets the port, which the system chooses for 0. Raises OSError."""
    server = Server(app)
    ready(server.listen(host, port))
    await stop.wait()
    await server.close()


@contextmanager
def sandbox_in_thread(app: App | None = None, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[Sandbox]:
    """Run a sandbox in a thread of this process for the time of a `with`."""
    started: threading.Event = threading.Event()
    ports: list[int] = []
    handles: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    failures: list[OSError] = []

    def is_ready(port: int) -> None:
        ports.append(port)
        started.set()

    async def main() -> None:
        stop = asyncio.Event()
        handles.append((asyncio.get_running_loop(), stop))
        try:
            await serve(app or App(), host=host, port=port, ready=is_ready, stop=stop)
        except OSError as error:
            failures.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=lambda: asyncio.run(main()), name="sandbox", daemon=True)
    thread.start()
    started.wait()
    if failures:
        raise failures[0]
    try:
        yield Sandbox(host, ports[0])
    finally:
        loop, stop = handles[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(_STOP_SECONDS)


@contextmanager
def sandbox_process(*arguments: str, port: int = 0) -> Iterator[Sandbox]:
    """Run a sandbox in a process of its own for the time of a `with`."""
    command = [sys.executable, "-m", "worker.dev.sandbox", "--port", str(port), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own module
        try:
            line = process.stdout.readline() if process.stdout else ""
            host, _, own_port = line.strip().rpartition("http://")[2].rpartition(":")
            if not own_port:
                raise RuntimeError(f"the sandbox did not start: {line!r}")
            yield Sandbox(host, int(own_port))
        finally:
            process.terminate()
