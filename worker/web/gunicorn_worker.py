"""Gunicorn's gthread worker with a total read timeout; malformed requests are neither echoed nor logged."""

import select
import selectors
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from http import HTTPStatus
from math import inf
from threading import Thread
from time import monotonic, sleep
from typing import Any, NoReturn

from gunicorn import util
from gunicorn.http.errors import (
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker
from werkzeug.exceptions import BadRequest

from worker import logs

log = logs.of(__name__)

# For a whole request, headers and body: half a megabyte over a slow mobile connection.
_LONGEST_REQUEST_SECONDS = 10.0

# How often a stopping worker looks for its last connections.
_STOP_LOOK_SECONDS = 0.05

_STATUSES: dict[type[Exception], HTTPStatus] = {
    LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
}


class DeadlineThreadWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types.
    """Limit the time for reading a request; answer malformed requests with a status only.

    gunicorn would quote a malformed request and log its sender. It would also let a thread wait for a slow client
    without limit.

    Each thread waits for requests itself, and a connection without one occupies no thread. gunicorn's main thread would
    pass each request to a thread and each connection back, with twice as many switches between threads.
    """

    def run(self) -> None:
        """Accept connections until a signal; then answer for a while what still comes in."""
        self._requests = select.epoll()
        self._open: set[Any] = set()
        # Connections that wait for a request, by descriptor; those that wait longest come first.
        self.keepalived_conns: dict[int, Any] = {}
        for _ in range(self.cfg.threads):
            Thread(target=self._serve, name="requests", daemon=True).start()
        self.poller.register(
            self.method_queue.fileno(), selectors.EVENT_READ, self.method_queue.run_callbacks
        )
        while self.alive and self.is_parent_alive():
            self.notify()
            self.set_accept_enabled(len(self._open) < self.worker_connections)
            self.wait_for_and_dispatch_events(1.0)
            self._close_idle()
        self.set_accept_enabled(False)
        for listener in self.sockets:
            listener.close()
        stopped_at = monotonic()
        while self._open and monotonic() < stopped_at + self.cfg.graceful_timeout:
            self.notify()
            # A request may be on its way already.
            self._close_idle(stopped_at + STOP_KEEPALIVE_LINGER)
            sleep(_STOP_LOOK_SECONDS)

    def enqueue_req(self, conn: Any) -> None:
        """Wait for the first request of a new connection."""
        self._open.add(conn)
        conn.sock = _DeadlineSocket(conn.sock)
        conn.data_ready = True
        self._await_request(conn, self._requests.register)

    def _await_request(self, conn: Any, arm: Callable[[int, int], None]) -> None:
        conn.set_timeout()
        descriptor = conn.sock.fileno()
        self.keepalived_conns[descriptor] = conn
        arm(descriptor, select.EPOLLIN | select.EPOLLONESHOT)

    def _serve(self) -> None:
        while True:
            for descriptor, _ in self._requests.poll(maxevents=1):
                # It may have been closed as idle meanwhile.
                if (conn := self.keepalived_conns.pop(descriptor, None)) is not None:
                    self._answer(conn)

    def _answer(self, conn: Any) -> None:
        stays = False
        try:
            conn.sock.deadline = monotonic() + _LONGEST_REQUEST_SECONDS
            stays = self.handle(conn)
            while stays and conn.parser.unreader.buf.getvalue():
                # The next request was read with the last one, so the descriptor does not report it.
                conn.sock.deadline = monotonic() + _LONGEST_REQUEST_SECONDS
                stays = self.handle(conn)
        finally:
            if stays:
                self._await_request(conn, self._requests.modify)
            else:
                self._close(conn, graceful=True)

    def _close_idle(self, latest: float = inf) -> None:
        now = monotonic()
        for descriptor, conn in list(self.keepalived_conns.items()):
            if min(conn.timeout, latest) > now:
                break
            if self.keepalived_conns.pop(descriptor, None) is not None:
                self._close(conn)

    def _close(self, conn: Any, *, graceful: bool = False) -> None:
        conn.close(graceful)
        self._open.discard(conn)
        if not self._accepting:
            # The main thread may accept again, or end.
            self.method_queue.defer(_do_nothing)

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
        log.warning("request_unreadable", status=status.value, error=type(exc).__name__)
        if req is not None:
            # The unread rest of the body is malformed. The client would take a second answer for that of its next
            # request.
            return
        # The client may have hung up.
        with suppress(OSError):
            util.write_error(client, status.value, status.phrase, "")


def _log_no_access(*_: Any) -> None:
    pass


def _do_nothing() -> None:
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
        log.warning("request_unreadable", status=HTTPStatus.BAD_REQUEST.value, error=error)
        raise BadRequest("The body could not be read.") from None


class _DeadlineSocket:
    """Socket that ends like a closed one if a request is not complete by its deadline.

    The socket below always blocks. gunicorn changes its mode and timeout several times per request, and each change
    would be a system call after which other threads run.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(True)
        self._sock = sock
        self._timeout: float | None = None
        self.deadline = monotonic()
        # Used for every request; `__getattr__` takes ten times as long.
        self.fileno, self.sendall = sock.fileno, sock.sendall
        self.gettimeout, self.settimeout, self.setblocking = self._get, self._set, self._set_blocking

    def _get(self) -> float | None:
        return self._timeout

    def _set(self, seconds: float | None) -> None:
        self._timeout = seconds

    def _set_blocking(self, blocks: bool) -> None:
        self._timeout = None if blocks else 0.0

    def recv(self, size: int) -> bytes:
        """Read like a socket; after the deadline return nothing, as if the other end had closed."""
        left = self.deadline - monotonic()
        if left <= 0:
            return b""
        with suppress(BlockingIOError):
            return self._sock.recv(size, socket.MSG_DONTWAIT)
        return self._wait_and_recv(size, left)

    def _wait_and_recv(self, size: int, left: float) -> bytes:
        is_own = self._timeout is not None and self._timeout <= left
        self._sock.settimeout(self._timeout if is_own else left)
        try:
            return self._sock.recv(size)
        except TimeoutError:
            if is_own:
                raise
            return b""
        finally:
            self._sock.setblocking(True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)
