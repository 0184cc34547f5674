"""HTTP connections with a total deadline per request, which also report whether a request was fully sent.

The read timeout of requests starts again at every byte, so a server that sends byte by byte could hold a request
forever.
"""

import http.client
import io
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from http.cookiejar import DefaultCookiePolicy
from time import monotonic
from typing import Any, Literal, cast

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.util.connection import create_connection

# Servers and load balancers close idle connections, most after a minute. A request sent at that moment has an
# unknown outcome, so connections are replaced much earlier: a new handshake costs less.
_MAX_IDLE_SECONDS = 10.0


class RequestDeadline:
    """The time limits of one request, and whether it was fully sent."""

    def __init__(self, connect_seconds: float, read_seconds: float, deadline_seconds: float) -> None:
        self.connect_seconds = connect_seconds
        self.read_seconds = read_seconds
        self.deadline_seconds = deadline_seconds
        self.fully_sent = False
        self._started_at = monotonic()

    def elapsed_seconds(self) -> float:
        return monotonic() - self._started_at

    def limit(self, seconds: float) -> float:
        """Return the timeout for the next socket operation: ``seconds``, or the time left if that is less."""
        seconds_left = self.deadline_seconds - self.elapsed_seconds()
        if seconds_left <= 0:
            raise TimeoutError
        return min(seconds, seconds_left)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Apply this deadline to the calling thread's requests."""
        token = _DEADLINE.set(self)
        try:
            yield
        finally:
            _DEADLINE.reset(token)

    def check_address(self, host: str, address: str) -> None:
        """Raise if the host's address must not be connected to. The base class allows all addresses."""

    def explain(self, error: BaseException) -> str:
        """Describe an error for a person; the library's own message may quote the URL or a header."""
        if self.elapsed_seconds() >= self.deadline_seconds:
            return f"the total deadline of {self.deadline_seconds:g} s passed"
        chain = [error]
        while len(chain) < 20 and (following := chain[-1].__cause__ or chain[-1].__context__):
            chain.append(following)
        descriptions = _ERRORS_AFTER_SENDING if self.fully_sent else _ERRORS_BEFORE_SENDING
        for kind, description in descriptions.items():
            if any(isinstance(link, kind) for link in chain):
                return description
        return "the connection broke"


# The deadline of the calling thread's request. Connections read it here, because urllib3 passes on no arguments.
_DEADLINE: ContextVar[RequestDeadline] = ContextVar("deadline")

NETWORK_ERRORS = (requests.RequestException, HTTPError, http.client.HTTPException, OSError)

_ERRORS_BEFORE_SENDING: dict[type[BaseException], str] = {
    socket.gaierror: "the host name was not found",
    ConnectionRefusedError: "the connection was refused",
    ssl.SSLCertVerificationError: "the server's certificate is not trusted",
    ssl.SSLError: "the TLS handshake failed",
    TimeoutError: "connecting or sending took too long",
    ConnectionError: "the connection was closed before the request was sent",
}
_ERRORS_AFTER_SENDING: dict[type[BaseException], str] = {
    TimeoutError: "no answer came in time",
    http.client.RemoteDisconnected: "the connection was closed without an answer",
    ConnectionError: "the connection was reset",
    ssl.SSLError: "the TLS connection broke",
    http.client.IncompleteRead: "the answer was cut off",
    http.client.HTTPException: "the answer is not HTTP",
}


class _PacedReader(io.RawIOBase):
    """Read from a socket; no read takes longer than the deadline allows."""

    def __init__(self, sock: socket.socket, deadline: RequestDeadline) -> None:
        super().__init__()
        self._sock = sock
        self._deadline = deadline
        # The socket counts its files and remains open until this file is closed, as http.client expects.
        self._file = sock.makefile("rb", buffering=0)
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._deadline.limit(self._deadline.read_seconds))
        count = self._file.readinto(buffer)
        self.ended = count == 0
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class _PacedSocket:
    """Replace the socket where http.client calls ``makefile``."""

    def __init__(self, reader: _PacedReader) -> None:
        self._reader = reader

    def makefile(self, mode: Literal["rb"]) -> io.BufferedReader:  # noqa: ARG002
        return io.BufferedReader(self._reader)


class _PacedResponse(http.client.HTTPResponse):
    """Read status, headers and body within the deadline."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        self._reader = _PacedReader(sock, _DEADLINE.get())
        super().__init__(cast(socket.socket, _PacedSocket(self._reader)), *args, **kwargs)

    def begin(self) -> None:
        """Read status and headers; http.client itself accepts headers that are cut off."""
        super().begin()
        if self._reader.ended:
            raise http.client.IncompleteRead(b"")


class _Connection(HTTPConnection):
    """Connect, send and read within the deadline, and record when the whole request was sent."""

    response_class = _PacedResponse
    _used_at = 0.0

    @property
    def is_connected(self) -> bool:
        """Return False also for a connection that was idle for too long, which the server may be about to close."""
        return monotonic() - self._used_at < _MAX_IDLE_SECONDS and super().is_connected

    def _new_conn(self) -> socket.socket:
        """Try the host's addresses in turn, all within the deadline, which urllib3's own loop exceeds."""
        addresses = socket.getaddrinfo(self.host.strip("[]"), self.port, type=socket.SOCK_STREAM)
        # Storing an error to raise it later would keep its frames alive, so the last attempt raises its own error.
        for *_, address in addresses[:-1]:
            with suppress(OSError):
                return self._connect(address)
        return self._connect(addresses[-1][-1])

    def _connect(self, address: tuple[Any, ...]) -> socket.socket:
        deadline = _DEADLINE.get()
        deadline.check_address(self.host.strip("[]"), str(address[0]))
        timeout = deadline.limit(deadline.connect_seconds)
        sock = create_connection((address[0], address[1]), timeout, socket_options=self.socket_options)
        # This timeout applies to the TLS handshake.
        sock.settimeout(deadline.limit(deadline.connect_seconds))
        return sock

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send the request; an error here means that the last byte was not sent, so the server cannot process it."""
        super().request(*args, **kwargs)
        _DEADLINE.get().fully_sent = True

    def send(self, data: Any) -> None:
        """Send a part of the request, unless the deadline has passed: then another worker may have the batch."""
        if self.sock is None:
            self.connect()
        deadline = _DEADLINE.get()
        self.sock.settimeout(deadline.limit(deadline.deadline_seconds))
        self._used_at = monotonic()
        super().send(data)


class _TLSConnection(_Connection, HTTPSConnection):
    """``_Connection`` over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class _Adapter(HTTPAdapter):
    """Make requests use these connections."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}


class _Session(requests.Session):
    """Return redirects as they are; requests would read the whole body even if it does not follow them."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        return None


def new_session() -> requests.Session:
    """Return a session on these connections. Each request needs an active ``RequestDeadline``.

    The session ignores the environment: a netrc file would replace the Authorization header, and a proxy variable
    that is meant for another program would send the request to another machine. The session stores no cookies.
    """
    session = _Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter())
    return session
