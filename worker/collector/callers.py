"""Identify a caller by its pipeline key or its signature."""

import base64
import binascii
import hmac
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Generic, Protocol, TypeVar

from werkzeug.datastructures import Headers

from worker import retention
from worker.collector import webhooks
from worker.collector.caller_cache import RememberedSources
from worker.collector.error_responses import RefusedError
from worker.event.received import Trust
from worker.http.signature import sign
from worker.ledger.database import Ledger, LedgerBusyError, is_ledger_unavailable
from worker.ledger.intake.inbox import SignedRequest
from worker.ledger.setup import sources
from worker.ledger.setup.sources import WRITE_KEY_PREFIX, Signer, Source, write_key

_K = TypeVar("_K")
_V = TypeVar("_V")


class Outage(Protocol):
    """Remember that the ledger is away, so that not every look-up waits for it."""

    remembered: RememberedSources

    @property
    def is_away(self) -> bool: ...
    def note(self, error: Exception) -> None:
        """Remember an error that means so."""


class TTLCache(Generic[_K, _V]):
    """Cache look-ups for ``seconds`` per key, with at most ``at_most`` keys; in an outage of the ledger for longer.

    While the ledger is away nothing is looked up there; ``remembered`` answers for a key that is not cached.

    The oldest entry is evicted first. None is not cached, so that a flood of unknown keys cannot evict
    valid ones.
    """

    def __init__(
        self,
        look_up: Callable[[_K], _V | None],
        seconds: float,
        at_most: int,
        now: Callable[[], float],
        outage: Outage | None = None,
        remembered: Callable[[_K], _V | None] = lambda _: None,
    ) -> None:
        self._look_up, self._remembered = look_up, remembered
        self._seconds = seconds
        self._at_most = at_most
        self._now = now
        self._outage = outage
        self._kept: OrderedDict[_K, tuple[float, _V]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: _K) -> _V | None:
        """Return the value of a key. Errors of the look-up are raised, unless it has succeeded before."""
        now = self._now()
        with self._lock:
            entry = self._kept.get(key)
        # A clock that was set back must not keep an entry for longer.
        if entry is not None and 0 <= now - entry[0] < self._seconds:
            return entry[1]
        try:
            if self._outage and self._outage.is_away:
                raise LedgerBusyError("the ledger is away")
            value = self._look_up(key)
        except Exception as error:
            if not is_ledger_unavailable(error):
                raise
            value = entry[1] if entry is not None else self._remembered(key)
            if value is None:
                raise
            if self._outage:
                self._outage.note(error)
            return value
        if value is None:
            self._forget(key)
        else:
            self._keep(key, now, value)
        return value

    def _keep(self, key: _K, now: float, value: _V) -> None:
        with self._lock:
            self._kept[key] = (now, value)
            self._kept.move_to_end(key)
            if len(self._kept) > self._at_most:
                self._kept.popitem(last=False)

    def _forget(self, key: _K) -> None:
        with self._lock:
            self._kept.pop(key, None)


# A revoked key, an old secret or a changed source may stay in force this long, and in an outage of the database until
# its end.
_CACHE_SECONDS = 5.0
_MAX_CACHED_KEYS = 10_000
_SIGNATURE_WINDOW_SECONDS = 300

_KEY = re.compile(r"dk_(live|test)_[A-Za-z0-9_-]{1,128}", re.ASCII)
_SOURCE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_UNIX_MS = re.compile(r"\d{1,16}", re.ASCII)
# `writeKey` in the body is read too, where there is a body.
_KEY_MISSING = (
    "The key is missing. Send it as `Authorization: Bearer …`, as the user name of Basic authentication, "
    "or as `?key=…`."
)
_SIGNATURE = re.compile(r"sha256=[0-9a-fA-F]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Caller:
    """Identify a caller. ``name`` is the key of its rate limit, ``request`` identifies a signed request."""

    source: Source
    name: str
    signed: bool
    request: SignedRequest | None = None

    @property
    def trust(self) -> Trust:
        return Trust.SIGNED if self.signed else Trust.PUBLIC


class Callers:
    """Identify callers by key or signature, cached for `_CACHE_SECONDS`."""

    def __init__(self, ledger: Ledger, now: Callable[[], float], outage: Outage | None = None) -> None:
        self._ledger = ledger
        self._now = now
        of_key = (outage.remembered.of_key,) if outage else ()
        of_id = (outage.remembered.signer,) if outage else ()
        self._keys = TTLCache(self._source, _CACHE_SECONDS, _MAX_CACHED_KEYS, now, outage, *of_key)
        self._signers = TTLCache(self._signer, _CACHE_SECONDS, _MAX_CACHED_KEYS, now, outage, *of_id)

    def by_key(self, key: str | None) -> Caller:
        """Return the caller of a pipeline key.

        Raises:
            RefusedError: 401, the key is missing or unknown.
        """
        if key is None:
            raise RefusedError(401, "UNAUTHORIZED", _KEY_MISSING)
        source = self.find(key)
        if source is None:
            raise RefusedError(401, "UNAUTHORIZED", "The pipeline key is unknown or expired.")
        return Caller(source, key, signed=False)

    def by_write_key(self, key: str | None) -> Caller:
        """Return the caller of a secret write key, whose events count as signed, or of a pipeline key.

        Raises:
            RefusedError: 401, the key is missing or unknown.
        """
        if key is None or not key.startswith(WRITE_KEY_PREFIX):
            return self.by_key(key)
        source_id = key.removeprefix(WRITE_KEY_PREFIX).rpartition("_")[0]
        signer = self._signers.get(source_id) if _SOURCE_ID.fullmatch(source_id) else None
        if signer is None or not hmac.compare_digest(
            write_key(source_id, signer.secret).encode(), key.encode()
        ):
            raise RefusedError(401, "UNAUTHORIZED", "The write key is unknown.")
        return Caller(signer.source, f"signed:{source_id}", signed=True)

    def find(self, key: str) -> Source | None:
        """Return the source of a pipeline key, or None."""
        return self._keys.get(key) if _KEY.fullmatch(key) else None

    def by_signature(self, headers: Headers, body: bytes) -> Caller:
        """Return the source whose server secret signed a body.

        Raises:
            RefusedError: 401, naming the header that is wrong.
        """
        stamp = _header(headers, "X-Timestamp", _UNIX_MS, "a time in Unix milliseconds")
        signature = _header(headers, "X-Signature", _SIGNATURE, "sha256= and 64 hex digits")
        source_id = _header(headers, "X-Source-Id", _SOURCE_ID, "the id of a source")
        if abs(self._now() - int(stamp) / 1000) > _SIGNATURE_WINDOW_SECONDS:
            raise _unsigned("X-Timestamp must be within 5 minutes of the current time.")
        signer = self._signers.get(source_id)
        # An unknown source and a wrong signature look alike.
        if signer is None or not hmac.compare_digest(sign(signer.secret, stamp, body), signature.lower()):
            raise _unsigned("X-Signature does not match the body, X-Timestamp and the secret of X-Source-Id.")
        request = self._request(source_id, stamp, signature.lower())
        return Caller(signer.source, f"signed:{source_id}", signed=True, request=request)

    def by_webhook(self, source_id: str, system: str, headers: Headers, body: bytes) -> Caller:
        """Return the source whose secret of a system's webhooks signed a body.

        Raises:
            RefusedError: 401, the signature is missing or wrong.
        """
        signer = self._signers.get(source_id) if _SOURCE_ID.fullmatch(source_id) else None
        secret = signer.webhook_secrets.get(system) if signer else None
        if signer is None or secret is None or not webhooks.is_signed(system, headers, body, secret):
            raise _unsigned(
                "The signature does not match the body and the source's secret of this system's webhooks."
            )
        return Caller(signer.source, f"signed:{source_id}", signed=True)

    def webhook_request(self, caller: Caller, system: str, id_: str, body: bytes) -> SignedRequest:
        """Return what identifies a webhook, so that a repeated one counts once."""
        key = self._ledger.vault.keyed_hash(
            "webhook", caller.source.id, f"{system} {id_ or sha256(body).hexdigest()}"
        )
        return SignedRequest(key, self._now() + retention.WEBHOOK_SECONDS)

    def _request(self, source_id: str, stamp: str, signature: str) -> SignedRequest:
        key = self._ledger.vault.keyed_hash("signed request", source_id, signature)
        return SignedRequest(key, int(stamp) / 1000 + retention.SIGNATURE_SECONDS)

    def _source(self, key: str) -> Source | None:
        with self._ledger.read() as connection:
            return sources.source_of_key(connection, key, self._now())

    def _signer(self, source_id: str) -> Signer | None:
        with self._ledger.read() as connection:
            return sources.load_signer(connection, self._ledger.vault, source_id)


def key_of(authorization: str | None, query: Mapping[str, str]) -> str | None:
    """Return the key of a request: the bearer token, else a query parameter, else the user name of Basic.

    Basic comes last, because a proxy may have added its own.
    """
    scheme, _, credentials = (authorization or "").partition(" ")
    bearer = credentials.strip() if scheme.lower() == "bearer" else ""
    return bearer or query.get("key") or query.get("writeKey") or _basic_name(scheme, credentials) or None


def _basic_name(scheme: str, encoded: str) -> str:
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _header(headers: Headers, name: str, shape: re.Pattern[str], description: str) -> str:
    value = headers.get(name, "").strip()
    if not value:
        raise _unsigned(f"{name} is missing.")
    if not shape.fullmatch(value):
        raise _unsigned(f"{name} must be {description}.")
    return value


def _unsigned(message: str) -> RefusedError:
    return RefusedError(401, "INVALID_SIGNATURE", message)
