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

# All of a request, headers and body, from its first byte: half a megabyte over a slow telephone line.
LONGEST_REQUEST_SECONDS = 10.0

_STATUSES: dict[type[Exception], HTTPStatus] = {
    LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
}


class DeadlineThreadWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types.
    """Answer a request that cannot be read by its status alone; gunicorn would quote it, and log who sent it.

    A thread that waits for a caller is one that serves nobody else, and gunicorn lets it wait for ever.
    """

    def enqueue_req(self, conn: Any) -> None:
        """Hand a connection to the threads."""
        if not isinstance(conn.sock, DeadlineSocket):
            conn.sock = DeadlineSocket(conn.sock)
        super().enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        """Give a caller so long to send a request, from when a thread has time for it."""
        conn.sock.give(LONGEST_REQUEST_SECONDS)
        return super().handle(conn)

    wsgi: Any

    def load_wsgi(self) -> None:
        """Load the app, and let it read bodies through a guard."""
        super().load_wsgi()
        self.wsgi = BodyGuard(self.wsgi)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer a malformed request by its status; where it was answered before, only close."""
        if not isinstance(exc, ParseException):
            super().handle_error(req, client, addr, exc)
            return
        status = _STATUSES.get(type(exc), HTTPStatus.BAD_REQUEST)
        log.warning("request_unreadable", status=status.value, error=type(exc).__name__)
        if req is not None:
            # What the app left unread of the body is malformed. A second answer would be taken for that of the
            # client's next request.
            return
        # Whoever hangs up meanwhile wants no answer.
        with suppress(OSError):
            util.write_error(client, status.value, status.phrase, "")


class BodyGuard:
    """WSGI middleware: what is wrong with a body is the client's fault, so that the app answers 400.

    Gunicorn parses a body while the app reads it. Its exceptions would be the app's own, and so a 500.
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
        log.warning("request_unreadable", status=HTTPStatus.BAD_REQUEST.value, error=error)
        raise BadRequest("The body could not be read.") from None


class DeadlineSocket:
    """Take a caller for gone that has not sent all of a request in time, however steadily it drips."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._until = monotonic()

    def give(self, seconds: float) -> None:
        """Start the time anew."""
        self._until = monotonic() + seconds

    def recv(self, size: int) -> bytes:
        """Read as a socket does; once the time is over, as from one whose other end has closed."""
        left = self._until - monotonic()
        if left <= 0:
            return b""
        usual = self._sock.gettimeout()
        if usual is not None and usual <= left:
            return self._sock.recv(size)
        self._sock.settimeout(left)
        try:
            return self._sock.recv(size)
        except TimeoutError:
            return b""
        finally:
            self._sock.settimeout(usual)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)
