"""Run the sandbox: in this process, in a thread of it, or in one of its own."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from worker.dev.sandbox.control import Sandbox
from worker.dev.sandbox.http_server import Server
from worker.dev.sandbox.routes import App

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
    chosen: list[int] = []
    handles: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    failures: list[OSError] = []

    def is_ready(port: int) -> None:
        chosen.append(port)
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
        yield Sandbox(host, chosen[0])
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
            host, _, chosen = line.strip().rpartition("http://")[2].rpartition(":")
            if not chosen:
                raise RuntimeError(f"the sandbox did not start: {line!r}")
            yield Sandbox(host, int(chosen))
        finally:
            process.terminate()
