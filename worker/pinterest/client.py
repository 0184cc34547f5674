"""The only HTTP to Pinterest."""

import http.client
import io
import os
import re
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum
from http.cookiejar import DefaultCookiePolicy
from time import monotonic
from typing import Any, Literal, cast
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import DecodeError, HTTPError
from urllib3.util.connection import create_connection

# A thousand events with a sentence each are a quarter of this.
LONGEST_BODY_BYTES = 4 * 1024 * 1024
_READ_BYTES = 64 * 1024

# Servers and load balancers close what idles, most after a minute. A request that crosses such a close on
# its way has an unknown outcome, so a connection is given up long before: a handshake costs less.
LONGEST_IDLE_SECONDS = 10.0

# A shorter token could be a word of the answer's own.
_SHORTEST_TOKEN_TO_SCRUB = 16

_ACCOUNT = re.compile(r"[0-9]{1,18}")
_TOKEN = re.compile(r"[\x21-\x7e]+")


class Trouble(Enum):
    """Say what Pinterest may have of a request that got no whole answer."""

    # Nothing, or not all of the body: it did not get the batch.
    NOT_SENT = "not sent"
    # All of it: it may have taken the batch.
    UNKNOWN = "unknown"
    # Nothing: this token or account id cannot stand in a request, and trying again changes nothing.
    UNSENDABLE = "unsendable"


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold what came back for one request.

    With a status *and* a trouble, the status line and headers arrived, and the body did not. ``detail`` says
    in plain words what went wrong, and holds neither token nor payload. The body may echo user data,
    so it stays out of ``repr``. An answer is true whatever its status: nothing to trip over in ``if answer``.
    """

    status: int | None
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    trouble: Trouble | None
    seconds: float
    detail: str = ""


class PinterestClient:
    """Send batches to Pinterest, on one kept-alive session per thread and process.

    No request, from the first byte sent to the last byte read, outlasts ``deadline_seconds``, however slowly
    the other side drips. Only the resolver cannot be interrupted: after a slow one, nothing is sent any more.

    Nothing of the environment is trusted: a netrc file would replace the Authorization header, and a proxy
    variable meant for something else would hand the tokens to another machine. Redirects are not followed,
    cookies are not kept, and certificates are always verified, against the bundle that requests brings.
    """

    def __init__(
        self,
        base_url: str,
        *,
        connect_timeout_seconds: float = 5.0,
        read_timeout_seconds: float = 20.0,
        deadline_seconds: float = 30.0,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise ValueError("base_url must be an http or https address without a user")
        self._base_url = base_url.rstrip("/")
        self._connect_seconds = connect_timeout_seconds
        self._read_seconds = read_timeout_seconds
        self._deadline_seconds = deadline_seconds
        self._local = threading.local()

    def send(self, ad_account_id: str, access_token: str, body: bytes, test: bool) -> Answer:
        """Post one batch, once, and return what came back.

        Never raises for anything that the network or the other side does.
        """
        if not _ACCOUNT.fullmatch(ad_account_id):
            return _nothing(Trouble.UNSENDABLE, "the ad account id is not a number of at most 18 digits")
        if not _TOKEN.fullmatch(access_token):
            return _nothing(Trouble.UNSENDABLE, "the access token holds characters that no header can carry")
        flight = _Flight(self._connect_seconds, self._read_seconds, self._deadline_seconds)
        context = _FLIGHT.set(flight)
        try:
            return self._fly(flight, ad_account_id, access_token, body, test)
        finally:
            _FLIGHT.reset(context)

    def close(self) -> None:
        """Close the calling thread's session; the next request opens a new one."""
        kept: tuple[int, requests.Session] | None = self._local.__dict__.pop("kept", None)
        if kept:
            kept[1].close()

    def _fly(
        self, flight: "_Flight", ad_account_id: str, access_token: str, body: bytes, test: bool
    ) -> Answer:
        try:
            response = self._session().post(
                f"{self._base_url}/v5/ad_accounts/{ad_account_id}/events",
                params={"test": "true"} if test else None,
                data=body,
                auth=_Bearer(access_token),
                stream=True,
                allow_redirects=False,
                timeout=(self._connect_seconds, self._read_seconds),
            )
        except _BROKEN as error:
            trouble = Trouble.UNKNOWN if flight.handed_over else Trouble.NOT_SENT
            return _nothing(trouble, flight.explain(error), flight.seconds())
        with response:
            return _take(response, flight, access_token)

    def _session(self) -> requests.Session:
        # A forked child that went on with its parent's connections would mix its bytes with the parent's.
        kept: tuple[int, requests.Session] | None = getattr(self._local, "kept", None)
        if kept is None or kept[0] != os.getpid():
            kept = self._local.kept = (os.getpid(), _new_session())
        return kept[1]


def _nothing(trouble: Trouble, detail: str, seconds: float = 0.0) -> Answer:
    return Answer(None, CaseInsensitiveDict(), b"", trouble, seconds, detail)


def _take(response: requests.Response, flight: "_Flight", access_token: str) -> Answer:
    """Read the body within its bounds; one that cannot be read is left empty, with the reason in words."""
    trouble, detail, body = None, "", b""
    try:
        body = _read(response)
    except DecodeError:
        detail = "the answer cannot be decompressed"
    except _BROKEN as error:
        trouble, detail = Trouble.UNKNOWN, flight.explain(error)
    if len(body) > LONGEST_BODY_BYTES:
        detail, body = f"the answer is larger than {LONGEST_BODY_BYTES} bytes", b""
    if len(access_token) >= _SHORTEST_TOKEN_TO_SCRUB:
        # Whatever echoes the token, it ends here: what follows stores and shows Pinterest's words.
        body = body.replace(access_token.encode(), b"[token]")
    return Answer(response.status_code, response.headers, body, trouble, flight.seconds(), detail)


def _read(response: requests.Response) -> bytes:
    body = bytearray()
    while len(body) <= LONGEST_BODY_BYTES:
        # An answer that is compressed although we asked for none is read all the same.
        part = response.raw.read(_READ_BYTES, decode_content=True)
        if not part:
            break
        body += part
    return bytes(body)


class _Bearer(requests.auth.AuthBase):
    """Set the Authorization header last, so that nothing else can."""

    def __init__(self, access_token: str) -> None:
        self._access_token = access_token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._access_token}"
        return request


class _Session(requests.Session):
    """Take a redirect as an answer; requests itself would read all of its body even where it follows none."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        return None


def _new_session() -> requests.Session:
    session = _Session()
    session.trust_env = False
    # A cookie set in answer to one account must not travel with another's token.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers = CaseInsensitiveDict(
        {
            "User-Agent": "signal-worker",
            "Content-Type": "application/json",
            "Accept": "application/json",
            # Answers are small, and an uncompressed one has a length that proves it whole.
            "Accept-Encoding": "identity",
        }
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter())
    return session


class _Flight:
    """Hold one request's time, and whether all of it was handed to the network."""

    def __init__(self, connect_seconds: float, read_seconds: float, deadline_seconds: float) -> None:
        self.connect_seconds = connect_seconds
        self.read_seconds = read_seconds
        self.deadline_seconds = deadline_seconds
        self.handed_over = False
        self._started_at = monotonic()

    def seconds(self) -> float:
        return monotonic() - self._started_at

    def at_most(self, seconds: float) -> float:
        """Return how long the next step on the socket may take: so many seconds, or what is left."""
        left = self.deadline_seconds - self.seconds()
        if left <= 0:
            raise TimeoutError
        return min(seconds, left)

    def explain(self, error: BaseException) -> str:
        """Say in plain words what broke; the library's own words may quote the address or the header."""
        if self.seconds() >= self.deadline_seconds:
            return f"the total deadline of {self.deadline_seconds:g} s passed"
        chain = [error]
        while len(chain) < 20 and (following := chain[-1].__cause__ or chain[-1].__context__):
            chain.append(following)
        known = _AFTERWARDS if self.handed_over else _BEFORE
        for kind, words in known.items():
            if any(isinstance(link, kind) for link in chain):
                return words
        return "the connection broke"


# One request is in flight per thread; its connection finds it here, for urllib3 passes nothing of ours on.
_FLIGHT: ContextVar[_Flight] = ContextVar("flight")

_BROKEN = (requests.RequestException, HTTPError, http.client.HTTPException, OSError)

_BEFORE: dict[type[BaseException], str] = {
    socket.gaierror: "the host name was not found",
    ConnectionRefusedError: "the connection was refused",
    ssl.SSLCertVerificationError: "the certificate of the other side is not to be trusted",
    ssl.SSLError: "TLS could not be agreed on",
    TimeoutError: "connecting or sending took too long",
    ConnectionError: "the connection was closed before the request was sent",
}
_AFTERWARDS: dict[type[BaseException], str] = {
    TimeoutError: "no answer came in time",
    http.client.RemoteDisconnected: "the connection was closed without an answer",
    ConnectionError: "the connection was reset",
    ssl.SSLError: "the TLS connection broke",
    http.client.IncompleteRead: "the answer was cut off",
    http.client.HTTPException: "the answer is not HTTP",
}


class _PacedReader(io.RawIOBase):
    """Read from a socket, each read no longer than the flight has left."""

    def __init__(self, sock: socket.socket, flight: _Flight) -> None:
        super().__init__()
        self._sock = sock
        self._flight = flight
        # The socket counts its files: it stays open until this one is closed, as http.client expects.
        self._file = sock.makefile("rb", buffering=0)
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._flight.at_most(self._flight.read_seconds))
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
        self._reader = _PacedReader(sock, _FLIGHT.get())
        super().__init__(cast(socket.socket, _PacedSocket(self._reader)), *args, **kwargs)

    def begin(self) -> None:
        """Read status and headers; http.client itself takes headers that break off for whole ones."""
        super().begin()
        if self._reader.ended:
            raise http.client.IncompleteRead(b"")


class _Connection(HTTPConnection):
    """Connect, send and read within the flight's time, and note when a whole request was handed over."""

    response_class = _PacedResponse
    _used_at = 0.0

    @property
    def is_connected(self) -> bool:
        """Say no as well when the other side may be about to close what has idled so long."""
        return monotonic() - self._used_at < LONGEST_IDLE_SECONDS and super().is_connected

    def _new_conn(self) -> socket.socket:
        """Try the host's addresses in turn, all within the deadline, which urllib3's own loop overruns."""
        found = socket.getaddrinfo(self.host.strip("[]"), self.port, type=socket.SOCK_STREAM)
        # An error is raised where it happened: kept for later, it would keep all of this from being freed.
        for *_, address in found[:-1]:
            with suppress(OSError):
                return self._dial(address)
        return self._dial(found[-1][-1])

    def _dial(self, address: tuple[Any, ...]) -> socket.socket:
        flight = _FLIGHT.get()
        allowed = flight.at_most(flight.connect_seconds)
        sock = create_connection((address[0], address[1]), allowed, socket_options=self.socket_options)
        # TLS shakes hands under this timeout.
        sock.settimeout(flight.at_most(flight.connect_seconds))
        return sock

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send the request; an error here means that its last byte never left: nobody can act on it."""
        super().request(*args, **kwargs)
        _FLIGHT.get().handed_over = True

    def send(self, data: Any) -> None:
        """Send a part, unless the deadline has passed: the batch then belongs to another worker."""
        if self.sock is None:
            self.connect()
        flight = _FLIGHT.get()
        self.sock.settimeout(flight.at_most(flight.deadline_seconds))
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
