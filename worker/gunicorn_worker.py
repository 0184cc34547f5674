"""Serve HTTP as gunicorn's threads do, repeat nothing of what is no HTTP, and wait for nobody for long."""

import socket
from contextlib import suppress
from http import HTTPStatus
from time import monotonic
from typing import Any

from gunicorn import util
from gunicorn.http.errors import (
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)
from gunicorn.workers.gthread import ThreadWorker

from worker import logs

log = logs.of(__name__)

# All of a request, headers and body, from its first byte: half a megabyte over a slow telephone line.
LONGEST_REQUEST_SECONDS = 10.0

_STATUSES: dict[type[Exception], HTTPStatus] = {
    LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
}


class QuietWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types.
    """Answer a request that cannot be read by its status alone; gunicorn would quote it, and log who sent it.

    A thread that waits for a caller is one that serves nobody else, and gunicorn lets it wait for ever.
    """

    def enqueue_req(self, conn: Any) -> None:
        """Hand a connection to the threads."""
        if not isinstance(conn.sock, ImpatientSocket):
            conn.sock = ImpatientSocket(conn.sock)
        super().enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        """Give a caller so long to send a request, from when a thread has time for it."""
        conn.sock.give(LONGEST_REQUEST_SECONDS)
        return super().handle(conn)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        if not isinstance(exc, ParseException):
            super().handle_error(req, client, addr, exc)
            return
        status = _STATUSES.get(type(exc), HTTPStatus.BAD_REQUEST)
        log.warning("request_unreadable", status=status.value, error=type(exc).__name__)
        # Whoever hangs up meanwhile wants no answer.
        with suppress(OSError):
            util.write_error(client, status.value, status.phrase, "")


class ImpatientSocket:
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
