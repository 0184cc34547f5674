"""Serve an app over HTTP with Tornado, with network faults on command."""

import asyncio
import socket
import struct
from collections.abc import Callable, Iterable
from http.client import responses

from tornado.http1connection import HTTP1Connection
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.iostream import IOStream, StreamClosedError

from worker.dev.sandbox.http import Fault, Request, Response
from worker.dev.sandbox.replies import error

_MAX_BODY_BYTES = 8 << 20
# Longer bodies are read up to this size before the response: a client that still sends would miss it.
_MAX_READ_BYTES = 4 * _MAX_BODY_BYTES
_MAX_HEAD_BYTES = 32 << 10
_READ_TIMEOUT_SECONDS = 75.0
# A request of 1,000 events is read at once. In pieces of 64 KB, Tornado's default, reading it takes twice as long.
_READ_CHUNK_BYTES = 4 << 20
_BACKLOG = 1_024

Handler = Callable[[Request], Response]


class Server:
    """An HTTP server in the running event loop. Tornado answers malformed requests with 400."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._answers: set[asyncio.Task[None]] = set()
        self._http = HTTPServer(
            self._on_request,
            chunk_size=_READ_CHUNK_BYTES,
            max_header_size=_MAX_HEAD_BYTES,
            max_body_size=_MAX_READ_BYTES,
            idle_connection_timeout=_READ_TIMEOUT_SECONDS,
            body_timeout=_READ_TIMEOUT_SECONDS,
        )

    def listen(self, host: str, port: int) -> int:
        """Listen, and return the port, which the system chooses for 0; raises OSError."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # Tornado's own way to bind leaves the socket open where the port is in use.
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        listening.setblocking(False)
        self._http.add_socket(listening)
        chosen: int = listening.getsockname()[1]
        return chosen

    async def close(self) -> None:
        """Stop listening and close every connection, also one that waits for its answer."""
        self._http.stop()
        for answer in self._answers:
            answer.cancel()
        await self._http.close_all_connections()

    def _on_request(self, received: HTTPServerRequest) -> None:
        request = _read(received)
        response = error(413) if len(request.body) > _MAX_BODY_BYTES else self._handler(request)
        answer = asyncio.create_task(_answer(received, response))
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)


def _read(received: HTTPServerRequest) -> Request:
    query = {name: values[-1].decode(errors="replace") for name, values in received.arguments.items()}
    return Request(received.method or "", received.path, query, received.headers, received.body)


async def _answer(received: HTTPServerRequest, response: Response) -> None:
    """Send an answer after its delay, with its fault."""
    connection = received.connection
    if not isinstance(connection, HTTP1Connection):
        raise TypeError("Tornado's server made another connection than HTTP/1")
    if response.delay_seconds:
        await asyncio.sleep(response.delay_seconds)
    try:
        if response.fault:
            await _send_broken(response, response.fault, connection.stream)
            connection.close()
        elif isinstance(response.body, bytes):
            body = b"" if received.method == "HEAD" else response.body
            await connection.write_headers(
                _start_line(response), _headers(response, len(response.body)), body
            )
            connection.finish()
        else:
            await connection.write_headers(_start_line(response), _headers(response))
            await _send_pieces(response.body, connection)
            connection.finish()
    except StreamClosedError:
        # The client closed the connection.
        return


def _start_line(response: Response) -> ResponseStartLine:
    return ResponseStartLine("HTTP/1.1", response.status, responses.get(response.status, "Unknown"))


def _headers(response: Response, length: int | None = None) -> HTTPHeaders:
    headers = HTTPHeaders({"Content-Type": response.content_type, **response.headers})
    if length is not None:
        headers["Content-Length"] = str(length)
    return headers


async def _send_pieces(pieces: Iterable[bytes], connection: HTTP1Connection) -> None:
    for piece in pieces:
        await connection.write(piece)
        # A write into a buffer with free space does not wait. Let other requests run.
        await asyncio.sleep(0)


async def _send_broken(response: Response, fault: Fault, stream: IOStream) -> None:
    """Send the part that the fault allows; the caller closes the connection."""
    if not isinstance(response.body, bytes):
        raise TypeError("only a body of known length can be broken")
    if fault.kind == "reset":
        # With linger switched on and a time of zero the kernel sends a reset instead of an orderly end.
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif fault.kind == "truncate":
        missing = max(1, len(response.body) - int(fault.amount))
        await stream.write(_whole(response, response.body)[:-missing])
    elif fault.kind == "drip":
        await _drip(_whole(response, response.body), fault.amount, stream)


def _whole(response: Response, body: bytes) -> bytes:
    start = _start_line(response)
    headers = _headers(response, len(body))
    headers["Connection"] = "close"
    lines = [f"{start.version} {start.code} {start.reason}"]
    lines += [f"{name}: {value}" for name, value in headers.get_all()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace") + body


async def _drip(whole: bytes, bytes_per_second: float, stream: IOStream) -> None:
    """Send byte by byte, or as many bytes at once as keep it at 20 sends a second."""
    step = max(1, int(bytes_per_second / 20))
    for start in range(0, len(whole), step):
        await stream.write(whole[start : start + step])
        await asyncio.sleep(step / bytes_per_second)
