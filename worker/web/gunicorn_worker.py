"""Gunicorn's gthread worker with a total read timeout; malformed requests are neither echoed nor logged."""

import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from http import HTTPStatus
from time import monotonic
from typing import Any, NoReturn

from gunicorn import util
from gunicorn.http.errors import (
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)
from gunicorn.workers.gthread import ThreadWorker
from werkzeug.exceptions import BadRequest

from worker import logs

log = logs.of(__name__)

# For a whole request, headers and body: half a megabyte over a slow mobile connection.
_LONGEST_REQUEST_SECONDS = 10.0

_LOG_SECONDS = 1.0
# By status, when a malformed request was logged last, and how many were not since then.
_unreadable: dict[HTTPStatus, tuple[float, int]] = {}

_STATUSES: dict[type[Exception], HTTPStatus] = {
    LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
}


class DeadlineThreadWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types.
    """Limit the time for reading a request; answer malformed requests with a status only.

    gunicorn would quote a malformed request and log its sender. It would also let a thread wait for a slow client
    without limit.
    """

    def enqueue_req(self, conn: Any) -> None:
        """Pass a connection to the threads."""
        if not isinstance(conn.sock, _DeadlineSocket):
            conn.sock = _DeadlineSocket(conn.sock)
        super().enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        """Start the deadline for a request when a thread begins to read it."""
        conn.sock.deadline = monotonic() + _LONGEST_REQUEST_SECONDS
        return super().handle(conn)

    wsgi: Any
    cfg: Any
    log: Any

    def load_wsgi(self) -> None:
        """Load the app, wrapped in `_BodyGuard`."""
        super().load_wsgi()
        self.wsgi = _BodyGuard(self.wsgi)
        if not self.cfg.accesslog:
            # With our log configuration gunicorn would collect the fields of a line that nothing writes.
            self.log.access = _log_no_access

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer a malformed request with its status; if it was already answered, only close."""
        if not isinstance(exc, ParseException):
            super().handle_error(req, client, addr, exc)
            return
        status = _STATUSES.get(type(exc), HTTPStatus.BAD_REQUEST)
        _log_unreadable(status, type(exc).__name__)
        if req is not None:
            # The unread rest of the body is malformed. The client would take a second answer for that of its next
            # request.
            return
        # The client may have hung up.
        with suppress(OSError):
            util.write_error(client, status.value, status.phrase, "")


def _log_unreadable(status: HTTPStatus, error: str) -> None:
    """Log a malformed request: of each status one a second, so that strangers do not fill the disk."""
    logged_at, unlogged = _unreadable.get(status, (-_LOG_SECONDS, 0))
    now = monotonic()
    if now - logged_at < _LOG_SECONDS:
        _unreadable[status] = logged_at, unlogged + 1
        return
    _unreadable[status] = now, 0
    log.warning("request_unreadable", status=status.value, error=error, unlogged=unlogged)


def _log_no_access(*_: Any) -> None:
    pass


class _BodyGuard:
    """WSGI middleware that turns errors in a request's body into `BadRequest`, status 400.

    gunicorn parses a body while the app reads it. Its exceptions would become a 500.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        length = environ.get("CONTENT_LENGTH", "")
        environ["wsgi.input"] = _GuardedBody(environ["wsgi.input"], int(length) if length else None)
        answer: Iterable[bytes] = self._app(environ, start_response)
        return answer


class _GuardedBody:
    """Read a request's body; raise `BadRequest` where it is malformed or ends before its declared length."""

    def __init__(self, body: Any, length: int | None) -> None:
        self._body = body
        self._left = length

    def read(self, size: int | None = None) -> bytes:
        data = self._guarded(self._body.read, size)
        if self._left is not None:
            self._left -= len(data)
            if self._left > 0 and (size is None or size < 0 or len(data) < size):
                self._refuse("EndedEarly")
        return data

    def readline(self, size: int | None = None) -> bytes:
        line = self._guarded(self._body.readline, size)
        if self._left is not None:
            self._left -= len(line)
            if self._left > 0 and not line and size != 0:
                self._refuse("EndedEarly")
        return line

    def readlines(self, _hint: int | None = None) -> list[bytes]:
        return list(self)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    def _guarded(self, read: Any, size: int | None) -> bytes:
        try:
            data: bytes = read(size)
        except (ParseException, OSError) as error:
            self._refuse(type(error).__name__)
        return data

    def _refuse(self, error: str) -> NoReturn:
        _log_unreadable(HTTPStatus.BAD_REQUEST, error)
        raise BadRequest("The body could not be read.") from None


class _DeadlineSocket:
    """Socket that ends like a closed one if a request is not complete by its deadline."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.deadline = monotonic()
        # Used for every request; `__getattr__` takes ten times as long.
        self.fileno, self.sendall, self.setblocking = sock.fileno, sock.sendall, sock.setblocking

    def recv(self, size: int) -> bytes:
        """Read like a socket; after the deadline return nothing, as if the other end had closed."""
        seconds_left = self.deadline - monotonic()
        if seconds_left <= 0:
            return b""
        timeout = self._sock.gettimeout()
        if timeout is not None and timeout <= seconds_left:
            return self._sock.recv(size)
        self._sock.settimeout(seconds_left)
        try:
            return self._sock.recv(size)
        except TimeoutError:
            return b""
        finally:
            self._sock.settimeout(timeout)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)
