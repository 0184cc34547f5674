"""A wire that breaks on demand: a TCP proxy between a client and a server."""

import asyncio
import ssl
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Fault:
    """The faults of a wire; none by default."""

    # Before every chunk, each way.
    latency_seconds: float = 0.0
    # Nothing passes and nothing is closed: a connection that meets this is half-open for ever.
    silent: bool = False
    # A connection ends with a reset at its next byte from either side.
    reset: bool = False
    # This many bytes of the next response pass, and then the connection is closed.
    answer_bytes: int | None = None
    answer_bytes_per_second: float | None = None


WHOLE = Fault()


class _Link:
    """Two ends of one connection; ``dead`` once it met silence."""

    def __init__(self, *ends: asyncio.StreamWriter) -> None:
        self.ends = ends
        self.dead = False

    def reset(self) -> None:
        for end in self.ends:
            # abort() sends what TCP calls a reset where bytes are still unread, and closes at once otherwise.
            end.transport.abort()


class Wire:
    """A proxy on a port of its own; ``fault`` may be set at any time, from any thread.

    The target is (host, port) or the path of a Unix socket, and may be set after the start.
    """

    def __init__(
        self, target: tuple[str, int] | Path | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.target, self.fault, self._tls = target, WHOLE, tls
        self.port = 0
        self.connections = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire", daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def start(self) -> None:
        self._thread.start()
        self._call(self._listen())

    def stop(self) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(5)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        try:
            far_reader, far_writer = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, far_writer)
        ways = (
            self._pump(link, reader, far_writer, is_answer=False),
            self._pump(link, far_reader, writer, is_answer=True),
        )
        try:
            await asyncio.gather(*ways)
        finally:
            link.reset()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.target, Path):
            return await asyncio.open_unix_connection(self.target)
        assert self.target is not None
        return await asyncio.open_connection(*self.target)

    async def _pump(
        self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool
    ) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(_CHUNK_BYTES):
                await self._pass_on(link, chunk, writer, is_answer=is_answer)
        # Behind a dead link a side does not see either that the other side has closed the connection.
        if not link.dead and not writer.transport.is_closing():
            writer.close()

    async def _pass_on(
        self, link: _Link, chunk: bytes, writer: asyncio.StreamWriter, *, is_answer: bool
    ) -> None:
        fault = self.fault
        link.dead = link.dead or fault.silent
        if link.dead:
            return
        if fault.reset:
            link.reset()
            raise ConnectionResetError
        if fault.latency_seconds:
            await asyncio.sleep(fault.latency_seconds)
        if is_answer and fault.answer_bytes is not None:
            writer.write(chunk[: fault.answer_bytes])
            await writer.drain()
            writer.close()
            raise ConnectionResetError
        if is_answer and fault.answer_bytes_per_second is not None:
            await _drip(writer, chunk, fault.answer_bytes_per_second)
        else:
            writer.write(chunk)
            await writer.drain()


async def _drip(writer: asyncio.StreamWriter, chunk: bytes, bytes_per_second: float) -> None:
    for place in range(len(chunk)):
        writer.write(chunk[place : place + 1])
        await writer.drain()
        await asyncio.sleep(1.0 / bytes_per_second)


@contextmanager
def wired(target: tuple[str, int] | Path | None = None, tls: ssl.SSLContext | None = None) -> Iterator[Wire]:
    """Run a wire for the time of a `with`; with ``tls`` its clients speak TLS."""
    wire = Wire(target, tls)
    wire.start()
    try:
        yield wire
    finally:
        wire.stop()


@contextmanager
def broken(wire: Wire, fault: Fault) -> Iterator[None]:
    """Break a wire for the time of a `with`; links that died of silence stay dead."""
    wire.fault = fault
    try:
        yield
    finally:
        wire.fault = WHOLE
