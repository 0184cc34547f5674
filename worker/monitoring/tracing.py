"""Trace events from the collector to Pinterest with OpenTelemetry, if an operator enables it.

Processes pass no trace context to each other. Each process knows when an event was accepted and from which source, and
computes the ids of its trace from that alone. So messages contain only ids, the ledger needs no column, and no context
can contain personal data. One request to the collector is one trace.

Tracing is off by default, and then costs one cached lookup for each request, bulk or batch.
"""

import os
import time
from collections import Counter
from collections.abc import Iterable
from functools import cache
from hashlib import blake2s
from typing import TYPE_CHECKING, Any, NamedTuple

from worker.settings import SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


class Request(NamedTuple):
    """A request that the collector accepted, identified by what every process knows about it."""

    source_id: str
    accepted_at: float


class _Tracer:
    """Record spans in the traces of requests."""

    def __init__(self, provider: "TracerProvider") -> None:
        self._tracer = provider.get_tracer("signal")

    def record(self, name: str, requests: Iterable[Request], start: float, **attributes: Any) -> None:
        """Record a span from ``start`` (Unix seconds) until now for each of the requests."""
        end = time.time()
        for request, events in Counter(requests).items():
            span = self._tracer.start_span(
                name,
                context=_context_of(request),
                attributes={"events": events, **attributes},
                start_time=_nanoseconds(start),
            )
            span.end(_nanoseconds(max(start, end)))


@cache
def tracer() -> _Tracer | None:
    """Return the tracer of this process, or None if tracing is off.

    Raises:
        SettingsError: tracing is on, and the libraries are not installed.
    """
    if not os.environ.get(_ENDPOINT, "").strip():
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise SettingsError(_ENDPOINT, "is set, and needs `pip install 'signal-worker[otel]'`.") from None
    provider = _provider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return _Tracer(provider)


def _provider() -> "TracerProvider":
    """Return a provider that samples the share of traces in OTEL_TRACES_SAMPLER_ARG, all by default.

    Sampling depends on trace ids only, so every process keeps the same traces.
    """
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

    share = os.environ.get("OTEL_TRACES_SAMPLER_ARG", "").strip() or "1"
    try:
        sampler = TraceIdRatioBased(float(share))
    except ValueError:
        raise SettingsError(
            "OTEL_TRACES_SAMPLER_ARG", f"must be a share from 0 to 1, not {share!r}."
        ) from None
    attributes = {"service.name": os.environ.get("OTEL_SERVICE_NAME", "").strip() or "signal"}
    return TracerProvider(sampler=sampler, resource=Resource.create(attributes))


def _context_of(request: Request) -> Any:
    """Return a context with the trace id and the parent span id that belong to a request."""
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    digest = blake2s(f"{request.source_id} {request.accepted_at!r}".encode(), digest_size=24).digest()
    parent = SpanContext(
        trace_id=int.from_bytes(digest[:16]),
        span_id=int.from_bytes(digest[16:]),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
    return set_span_in_context(NonRecordingSpan(parent))


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
