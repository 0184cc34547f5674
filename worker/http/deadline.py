"""HTTP connections on which no request outlasts its deadline, and which know how far a request got.

requests' read timeout starts anew at every byte, so that a dripping answer could take for ever.
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

# Servers and load balancers close what idles, most after a minute. A request that crosses such a close on
# its way has an unknown outcome, so a connection is given up long before: a handshake costs less.
MAX_IDLE_SECONDS = 10.0


class RequestDeadline:
    """Hold one request's time, and whether all of it was handed to the network."""

    def __init__(self, connect_seconds: float, read_seconds: float, deadline_seconds: float) -> None:
        self.connect_seconds = connect_seconds
        self.read_seconds = read_seconds
        self.deadline_seconds = deadline_seconds
        self.fully_sent = False
        self._started_at = monotonic()

    def elapsed_seconds(self) -> float:
        return monotonic() - self._started_at

    def limit(self, seconds: float) -> float:
        """Return how long the next step on the socket may take: so many seconds, or what is left."""
        left = self.deadline_seconds - self.elapsed_seconds()
        if left <= 0:
            raise TimeoutError
        return min(seconds, left)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Hold the calling thread's requests to this deadline."""
        token = _DEADLINE.set(self)
        try:
            yield
        finally:
            _DEADLINE.reset(token)

    def check_address(self, host: str, address: str) -> None:
        """Raise where a host's address must not be reached; every one may be, unless a subclass says no."""

    def explain(self, error: BaseException) -> str:
        """Say in plain words what broke; the library's own words may quote the address or the header."""
        if self.elapsed_seconds() >= self.deadline_seconds:
            return f"the total deadline of {self.deadline_seconds:g} s passed"
        chain = [error]
        while len(chain) < 20 and (following := chain[-1].__cause__ or chain[-1].__context__):
            chain.append(following)
        known = _ERRORS_AFTER_SENDING if self.fully_sent else _ERRORS_BEFORE_SENDING
        for kind, words in known.items():
            if any(isinstance(link, kind) for link in chain):
                return words
        return "the connection broke"


# One request is in deadline per thread; its connection finds it here, for urllib3 passes nothing of ours on.
_DEADLINE: ContextVar[RequestDeadline] = ContextVar("deadline")

NETWORK_ERRORS = (requests.RequestException, HTTPError, http.client.HTTPException, OSError)

_ERRORS_BEFORE_SENDING: dict[type[BaseException], str] = {
    socket.gaierror: "the host name was not found",
    ConnectionRefusedError: "the connection was refused",
    ssl.SSLCertVerificationError: "the certificate of the other side is not to be trusted",
    ssl.SSLError: "TLS could not be agreed on",
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
    """Read from a socket, each read no longer than the deadline has left."""

    def __init__(self, sock: socket.socket, deadline: RequestDeadline) -> None:
        super().__init__()
        self._sock = sock
        self._deadline = deadline
        # The socket counts its files: it stays open until this one is closed, as http.client expects.
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
    """Stand in for the socket where http.client makes its file of it."""

    def __init__(self, reader: _PacedReader) -> None:
        self._reader = reader

    def makefile(self, mode: Literal["rb"]) -> io.BufferedReader:  # noqa: ARG002
        return io.BufferedReader(self._reader)


class _PacedResponse(http.client.HTTPResponse):
    """Read status, headers and body at our pace: requests' own timeout starts anew at every byte."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        self._reader = _PacedReader(sock, _DEADLINE.get())
        super().__init__(cast(socket.socket, _PacedSocket(self._reader)), *args, **kwargs)

    def begin(self) -> None:
        """Read status and headers; http.client itself takes headers that break off for whole ones."""
        super().begin()
        if self._reader.ended:
            raise http.client.IncompleteRead(b"")


class _Connection(HTTPConnection):
    """Connect, send and read within the deadline's time, and note when a whole request was handed over."""

    response_class = _PacedResponse
    _used_at = 0.0

    @property
    def is_connected(self) -> bool:
        """Say no as well when the other side may be about to close what has idled so long."""
        return monotonic() - self._used_at < MAX_IDLE_SECONDS and super().is_connected

    def _new_conn(self) -> socket.socket:
        """Try the host's addresses in turn, all within the deadline, which urllib3's own loop overruns."""
        found = socket.getaddrinfo(self.host.strip("[]"), self.port, type=socket.SOCK_STREAM)
        # An error is raised where it happened: kept for later, it would keep all of this from being freed.
        for *_, address in found[:-1]:
            with suppress(OSError):
                return self._dial(address)
        return self._dial(found[-1][-1])

    def _dial(self, address: tuple[Any, ...]) -> socket.socket:
        deadline = _DEADLINE.get()
        deadline.check_address(self.host.strip("[]"), str(address[0]))
        allowed = deadline.limit(deadline.connect_seconds)
        sock = create_connection((address[0], address[1]), allowed, socket_options=self.socket_options)
        # TLS shakes hands under this timeout.
        sock.settimeout(deadline.limit(deadline.connect_seconds))
        return sock

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send the request; an error here means that its last byte never left: nobody can act on it."""
        super().request(*args, **kwargs)
        _DEADLINE.get().fully_sent = True

    def send(self, data: Any) -> None:
        """Send a part, unless the deadline has passed: the batch then belongs to another worker."""
        if self.sock is None:
            self.connect()
        deadline = _DEADLINE.get()
        self.sock.settimeout(deadline.limit(deadline.deadline_seconds))
        self._used_at = monotonic()
        super().send(data)


class _TLSConnection(_Connection, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class _Adapter(HTTPAdapter):
    """Give requests our connections, and no retries of its own."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}


class _Session(requests.Session):
    """Take a redirect as an answer; requests itself would read all of its body even where it follows none."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        return None


def new_session() -> requests.Session:
    """Return a session on such connections, whose requests have to be made while a deadline is under way.

    Nothing of the environment has a say: a netrc file would replace the Authorization header, and a proxy
    variable meant for something else would hand what is sent to another machine. Cookies are not kept.
    """
    session = _Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter())
    return session
