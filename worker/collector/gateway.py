"""The routes that accept events."""

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Response, g, request
from werkzeug.exceptions import RequestEntityTooLarge

from worker import logs
from worker.collector import segment, webhooks
from worker.collector.callers import Caller, Callers, Outage, TTLCache, key_of
from worker.collector.error_responses import RefusedError, count_rejected, json_response
from worker.collector.intake import GroupCommit, PreparedBatch, batch_events, prepare_batch, store, with_type
from worker.collector.limits import AdmissionControl, CallRates
from worker.collector.request_context import ClientInfo, RequestContext
from worker.collector.spooling import SpoolingIntake
from worker.event.envelope import EnvelopeError, decode_json
from worker.event.received import Network, client_ip, client_network
from worker.ledger.database import Ledger, LedgerBusyError, is_ledger_unavailable
from worker.ledger.setup import sources
from worker.ledger.setup.sources import WRITE_KEY_PREFIX, Source
from worker.pipeline.ingest.accepting import PublishIds, TooLargeError, prepare_event
from worker.pipeline.ingest.record_orders import record_orders
from worker.settings import IntakeRates

log = logs.of(__name__)

_CACHE_SECONDS = 5.0
_PREFLIGHT_SECONDS = 7_200
_SOURCES_A_PAGE = 500


# What browsers send as the origin of a sandboxed frame.
_SANDBOXED = "null"
# A host name has at most 253 characters; scheme and port add some. A longer text would take quadratic time.
_LONGEST_ORIGIN = 300

# What RudderStack's browser library adds to its requests.
_RUDDERSTACK_HEADERS = (
    "AnonymousId, SentAt, Rsa-Recovered, Rsa-Retry-Attempt, Rsa-Since-Last-Attempt, Rsa-Since-First-Attempt, "
    "Rsa-Retry-Reason"
)


def _is_allowed_origin(origin: str, domains: Iterable[str]) -> bool:
    """Return whether an Origin header is one of these domains or a subdomain, with any port.

    The origin ``null`` of a sandboxed frame is allowed if it is listed like a domain.
    """
    if origin == _SANDBOXED:
        return _SANDBOXED in domains
    if len(origin) > _LONGEST_ORIGIN:
        return False
    try:
        parts = urlsplit(origin)
        host = parts.hostname
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not host:
        return False
    own_domains = {domain.lower() for domain in domains}
    labels = host.split(".")
    return any(".".join(labels[start:]) in own_domains for start in range(len(labels)))


def _cors_headers(origin: str) -> dict[str, str]:
    """Return the headers that let a page of this origin read the answer, with cookies unless it is in a sandbox."""
    headers = {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": "Retry-After"}
    return headers if origin == _SANDBOXED else headers | {"Access-Control-Allow-Credentials": "true"}


def _preflight_headers(origin: str) -> dict[str, str]:
    """Return the headers that let a page of this origin send events."""
    return _cors_headers(origin) | {
        "Access-Control-Allow-Methods": "POST",
        "Access-Control-Allow-Headers": f"Authorization, Content-Type, {_RUDDERSTACK_HEADERS}",
        "Access-Control-Max-Age": str(_PREFLIGHT_SECONDS),
    }


class _AllDomains:
    """Cache the domains of all sources.

    A preflight request has no Authorization header, so its source is unknown. The answer to the event itself
    is readable only for the domains of its source. Errors without a source are readable for the domains of all
    sources, so that a page can tell an invalid key from an outage.
    """

    def __init__(self, ledger: Ledger, now: Callable[[], float], outage: Outage | None = None) -> None:
        self._ledger, self._outage = ledger, outage
        self._all = TTLCache(self._load, _CACHE_SECONDS, 1, now, outage, self._remembered)
        self._latest: frozenset[str] = frozenset()

    def get(self) -> frozenset[str]:
        """Return the domains of all sources, at most `CACHE_SECONDS` old."""
        self._latest = self._all.get("") or frozenset()
        return self._latest

    def latest(self) -> frozenset[str]:
        """Return the domains, or the last known ones while the database is unreachable."""
        try:
            return self.get()
        except Exception as error:
            if not is_ledger_unavailable(error):
                raise
            return self._latest

    def _remembered(self, _: str) -> frozenset[str] | None:
        return self._outage.remembered.domains() if self._outage else None

    def _load(self, last_id: str) -> frozenset[str]:
        origins: set[str] = set()
        with self._ledger.read() as connection:
            while page := sources.sources_after(connection, _SOURCES_A_PAGE, last_id):
                origins.update(domain for source in page for domain in source.page_origins)
                last_id = page[-1].id
        return frozenset(origins)


LARGEST_BODY_BYTES = 4 * 1024 * 1024
# Of public and of signed requests.
_LARGEST_BYTES = (512 * 1024, LARGEST_BODY_BYTES)
# A larger event, or batch of few events, costs as many events of its caller's rate as its bytes hold of these.
_BYTES_OF_AN_EVENT = 4096
_NOT_GZIP = "is not gzip, as Content-Encoding says."
_TYPES = {"t": "track", "p": "page", "i": "identify", "g": "group"}

# A page may send text/plain without a preflight request; sendBeacon can send nothing else.
_MEDIA_TYPES = ("", "application/json", "text/plain")


class Gateway:
    """Accept single events, batches and signed events; one request is one transaction."""

    def __init__(
        self,
        ledger: Ledger,
        offer: PublishIds,
        trusted_proxies: Sequence[Network],
        folder: Path,
        rates: IntakeRates,
        now: Callable[[], float],
        local_client_ip: str = "",
        intake: SpoolingIntake | None = None,
    ) -> None:
        self._ledger = ledger
        self._intake = intake
        self._accept = intake.accept if intake else GroupCommit(ledger).accept
        self._offer = offer
        self._trusted_proxies = trusted_proxies
        self._local_client_ip = local_client_ip
        self._now = now
        self._rates = CallRates(rates, now)
        self._callers = Callers(ledger, now, intake)
        self._admission = AdmissionControl(ledger, folder, now, outage=intake)
        self._domains = _AllDomains(ledger, now, intake)

    def single(self, call: str) -> Response:
        """Accept one event of the type in the URL."""
        if not _has_pipeline_key():
            return self.segment(call)
        caller = self._by_key()
        return self._take_one(caller, with_type(self._read_json(caller, _body()), _TYPES[call]))

    def signed(self) -> Response:
        """Accept one signed event of a server."""
        body = _body(signed=True)
        caller = self._by_signature(body)
        return self._take_one(caller, self._read_json(caller, body))

    def batch(self) -> Response:
        """Accept the valid events of a batch, and list the invalid ones."""
        signed = "X-Signature" in request.headers
        if signed:
            body = _body(signed=True)
            caller = self._by_signature(body)
        elif not _has_pipeline_key():
            return self.segment("b")
        else:
            caller = self._by_key()
            body = _body()
        return self._take_batch(caller, batch_events(self._read_json(caller, body)))

    def segment(self, call: str) -> Response:
        """Accept a request of Segment's or RudderStack's libraries, with a write key or a pipeline key."""
        key, body = _key(), None
        if key is None:
            # The key is in the body, which is read like that of a public request.
            self._rates.spend_public_request(self._client_network())
            body = self._read_json(None, _body())
            key = segment.key_in_body(body)
        caller = self._callers.by_write_key(key)
        if not caller.signed and body is None:
            self._rates.spend_public_request(self._client_network())
        self._admit(caller)
        if body is not None:
            self._rates.spend_events(caller, None, g.spent_events)
        else:
            # RudderStack's Node library declares another media type.
            body = self._read_json(caller, _body(signed=caller.signed, is_any_type=True))
        raws = segment.to_events(body, segment.CALLS.get(call, _TYPES.get(call)))
        if isinstance(body, dict) and "batch" in body:
            return self._take_batch(caller, batch_events({"batch": raws}, segment.MAX_BATCH_EVENTS))
        return self._take_one(caller, raws[0])

    def webhook(self, source_id: str, call: str) -> Response:
        """Accept a webhook of a shop; what reports nothing to deliver is answered all the same."""
        body, system = _body(signed=True, is_any_type=True), call
        if webhooks.is_ping(system, request.headers, body):
            self._rates.spend_public_request(self._client_network())
            return json_response({"success": True})
        try:
            caller = self._callers.by_webhook(source_id, system, request.headers, body)
        except RefusedError:
            self._rates.spend_public_request(self._client_network())
            raise
        self._admit(caller)
        mapping = caller.source.options.get("webhook_mapping") or {}
        webhook = webhooks.read_webhook(system, request.headers, self._read_json(caller, body), mapping)
        if webhook.event is None:
            return json_response({"success": True})
        signed_request = self._callers.webhook_request(caller, system, webhook.once, body)
        answer = self._take_one(replace(caller, request=signed_request), webhook.event)
        if webhook.order is not None:
            self._record(caller.source, webhook.order)
        return answer

    def _record(self, source: Source, order: Mapping[str, Any]) -> None:
        """Record a shop's own order, which the deliveries are compared with; the event itself is stored already."""
        try:
            if self._intake and self._intake.is_away:
                # A shop gives up after a few seconds, and a database that vanished takes longer to fail.
                raise LedgerBusyError("the ledger is away")
            record_orders(self._ledger, source, [order], self._now(), retention_days=inf)
        except Exception as error:
            if not is_ledger_unavailable(error):
                raise
            log.warning("order_not_recorded", source_id=source.id, error=type(error).__name__)

    def source_config(self) -> Response:
        """Answer RudderStack's browser library, which asks for its source before it sends anything."""
        self._rates.spend_public_request(self._client_network())
        caller = self._callers.by_key(_key())
        g.caller = caller
        return json_response(segment.source_config(caller.source.id, caller.source.name, caller.name))

    def _take_batch(self, caller: Caller, raws: Sequence[object]) -> Response:
        if (more := len(raws) - g.spent_events) > 0:
            self._rates.spend_events(caller, self._client_network(), more, refuse=False)
        now = self._now()
        context = self._context(caller, now)
        batch = prepare_batch(raws, context, caller.source.id, self._ledger.vault)
        if not batch.events:
            message = "No event of the batch is valid; errors lists why."
            raise RefusedError(400, "INVALID_EVENTS", message, errors=batch.errors)
        store(self._accept, self._offer, batch.events, now, caller.request)
        return _answer_batch(batch, context)

    def preflight(self, call: str) -> Response:  # noqa: ARG002  # the answer is the same for all calls
        """Answer a preflight request."""
        self._rates.spend_public_request(self._client_network())
        origin = request.headers.get("Origin", "")
        key = request.args.get("key")
        source = self._callers.find(key) if key else None
        domains = source.page_origins if source is not None else () if key else self._domains.get()
        response = Response(status=204)
        if _is_allowed_origin(origin, domains):
            response.headers.update(_preflight_headers(origin))
        return response

    def add_cors_headers(self, response: Response) -> Response:
        """Let a page on the caller's domains read the answer, also that of an error.

        Without a known caller, the domains of all sources may read the error.
        """
        if "Vary" in response.headers:
            response.vary.add("Origin")
        else:
            # Without parsing and formatting a set of names.
            response.headers["Vary"] = "Origin"
        origin = request.headers.get("Origin")
        if not origin or response.status_code == 204:
            return response
        caller: Caller | None = g.get("caller")
        if caller is None:
            is_allowed = response.status_code >= 400 and _is_allowed_origin(origin, self._domains.latest())
        else:
            is_allowed = not caller.signed and _is_allowed_origin(origin, caller.source.page_origins)
        if is_allowed:
            response.headers.update(_cors_headers(origin))
        return response

    def _take_one(self, caller: Caller, raw: object) -> Response:
        now = self._now()
        context = self._context(caller, now)
        try:
            event = prepare_event(raw, context.receive, caller.source.id, self._ledger.vault, context.trust)
        except TooLargeError as error:
            raise RefusedError(413, "EVENT_TOO_LARGE", str(error)) from None
        store(self._accept, self._offer, [event], now, caller.request)
        response = json_response({"success": True})
        context.set_cookies(response)
        return response

    def _context(self, caller: Caller, now: float) -> RequestContext:
        return RequestContext(
            caller, ClientInfo.of(request, self._trusted_proxies, self._local_client_ip), now
        )

    def _by_key(self) -> Caller:
        self._rates.spend_public_request(self._client_network())
        return self._admit(self._callers.by_key(_key()))

    def _by_signature(self, body: bytes) -> Caller:
        try:
            caller = self._callers.by_signature(request.headers, body)
        except RefusedError:
            # Checking an invalid signature costs as much, and its sender is unknown: it counts as public.
            self._rates.spend_public_request(self._client_network())
            raise
        return self._admit(caller)

    def _admit(self, caller: Caller) -> Caller:
        g.caller = caller
        self._rates.spend_request(caller)
        self._admission.check(caller.source, caller.trust)
        return caller

    def _read_json(self, caller: Caller | None, body: bytes) -> object:
        """Parse a caller's body after its rate has paid for it by size; without a caller, that of its address."""
        text = _unpacked(body, signed=caller is not None and caller.signed)
        g.spent_events = 1 + len(text) // _BYTES_OF_AN_EVENT
        self._rates.spend_events(caller, self._client_network(), g.spent_events)
        return decode_json(text)

    def _client_network(self) -> str | None:
        """Return the client's key for limits, which several checks of a request need."""
        if "network" not in g:
            forwarded = request.headers.get("X-Forwarded-For", "")
            g.network = client_network(client_ip(request.remote_addr, forwarded, self._trusted_proxies))
        network: str | None = g.network
        return network


def _key() -> str | None:
    return key_of(request.headers.get("Authorization"), request.args)


def _has_pipeline_key() -> bool:
    """Return whether a request has a pipeline key where Datafly.js puts it; other libraries put theirs elsewhere."""
    scheme = request.headers.get("Authorization", "").partition(" ")[0].lower()
    return (scheme == "bearer" or "key" in request.args) and not (_key() or WRITE_KEY_PREFIX).startswith(
        WRITE_KEY_PREFIX
    )


def _body(*, signed: bool = False, is_any_type: bool = False) -> bytes:
    if request.mimetype not in _MEDIA_TYPES and not is_any_type:
        message = "Content-Type must be application/json or text/plain."
        raise RefusedError(415, "UNSUPPORTED_MEDIA_TYPE", message)
    if _encoding() not in ("identity", "gzip"):
        raise RefusedError(415, "UNSUPPORTED_MEDIA_TYPE", "Content-Encoding must be gzip, or be left out.")
    limit = _LARGEST_BYTES[signed]
    request.max_content_length = limit + 1
    body = request.get_data(cache=False)
    if len(body) > limit:
        raise RequestEntityTooLarge
    return body


def _encoding() -> str:
    return request.headers.get("Content-Encoding", "identity").strip().lower()


def _unpacked(body: bytes, *, signed: bool) -> bytes:
    """Return a body, which may be compressed; unpacked it has the same limit."""
    if _encoding() != "gzip":
        return body
    limit, unpacker = _LARGEST_BYTES[signed], zlib.decompressobj(wbits=31)
    try:
        body = unpacker.decompress(body, limit + 1)
    except zlib.error:
        raise EnvelopeError("body", _NOT_GZIP) from None
    if len(body) > limit:
        raise RequestEntityTooLarge
    # What follows would be lost without a word.
    if not unpacker.eof or unpacker.unused_data:
        raise EnvelopeError("body", _NOT_GZIP)
    return body


def _answer_batch(batch: PreparedBatch, context: RequestContext) -> Response:
    body: dict[str, object] = {"success": True, "accepted": len(batch.events)}
    if batch.errors:
        body["errors"] = batch.errors
        count_rejected("INVALID_EVENT", len(batch.errors))
    response = json_response(body)
    context.set_cookies(response)
    return response
