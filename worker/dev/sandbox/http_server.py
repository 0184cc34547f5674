"""Serve an app over HTTP with Tornado, with network faults on command."""

import asyncio
import json
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.client import responses
from typing import Any

from tornado.http1connection import HTTP1Connection
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.iostream import IOStream, StreamClosedError

HTML = "text/html; charset=utf-8"
_JSON = "application/json"


@dataclass(frozen=True)
class Request:
    """A complete request; header names are case-insensitive."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Fault:
    """A fault on the network.

    `close` and `reset` send nothing, and end the connection in order or with a TCP reset. `truncate`
    announces the whole body and closes after `amount` bytes of it, always short of the end. `drip` sends
    `amount` bytes a second.
    """

    kind: str
    amount: float = 0.0


@dataclass(frozen=True)
class Response:
    """An answer; an iterator of bytes is sent in chunks, with a turn for other requests between them."""

    status: int
    body: bytes | Iterator[bytes]
    content_type: str = _JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    fault: Fault | None = None


# The codes and messages that Pinterest publishes; it publishes none for 404, 405, 413 and 422.
_ERRORS: dict[int, tuple[int, str]] = {
    400: (4196, "The request was invalid."),
    401: (2, "Authentication failed."),
    403: (29, "You are not permitted to access that resource."),
    404: (29, "The resource was not found."),
    405: (4196, "The method is not allowed."),
    413: (4196, "The request is too large."),
    422: (4196, "Not all events were successfully processed."),
    429: (8, "This request exceeded a rate limit."),
    500: (1, "An unexpected error occurred."),
    503: (4197, "The endpoint has been ramped down and is currently not accepting any traffic."),
}

_PROCESSED = json.dumps({"status": "processed", "error_message": "", "warning_message": ""})


def ok(value: object, status: int = 200) -> Response:
    """Answer with a value as JSON."""
    return Response(status, json.dumps(value).encode())


def error(
    status: int,
    message: str | None = None,
    *,
    code: int | None = None,
    details: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer with Pinterest's error body; the defaults are what Pinterest sends with that status."""
    usual_code, usual_message = _ERRORS.get(status, _ERRORS[500])
    body: dict[str, Any] = {"code": usual_code if code is None else code, "message": message or usual_message}
    if details is not None or status == 422:
        body["details"] = details or {}
    return Response(status, json.dumps(body).encode(), headers=headers or {})


def event_list(
    *,
    received: int,
    looked_at: int,
    failures: Mapping[int, str],
    warnings: Mapping[int, str],
    listing: str = "full",
) -> dict[str, Any]:
    """Build the answer on every event, in request order.

    `listing` is `full`, or breaks the list: `none` leaves it out, `short` drops its last entry, `long` adds
    one.
    """
    answer: dict[str, Any] = {
        "num_events_received": received,
        "num_events_processed": looked_at - len(failures),
    }
    if listing != "none":
        entries = [_entry(failures.get(n), warnings.get(n)) for n in range(looked_at)]
        answer["events"] = {"short": entries[:-1], "long": [*entries, _entry(None, None)]}.get(
            listing, entries
        )
    return answer


def _entry(failure: str | None, warning: str | None) -> dict[str, str]:
    return {
        "status": "processed" if failure is None else "failed",
        "error_message": failure or "",
        "warning_message": warning or "",
    }


def all_processed(count: int) -> Response:
    """Answer that every event was processed: the same response as from `event_list`, but faster."""
    entries = ", ".join([_PROCESSED] * count)
    body = f'{{"num_events_received": {count}, "num_events_processed": {count}, "events": [{entries}]}}'
    return Response(200, body.encode())


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
        own_port: int = listening.getsockname()[1]
        return own_port

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
