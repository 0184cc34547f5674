"""Measure what the collector answers: how fast, and why it took no event."""

from time import perf_counter

from flask import Flask, Response, g, request

from worker.ledger import measures
from worker.telemetry.meter import Meter

# By the code of the answer. What is missing here is no answer to an event: a wrong address, say.
REASONS = {
    "BAD_REQUEST": "bad_request",
    "INVALID_BODY": "invalid_body",
    "INVALID_EVENT": "invalid_event",
    "INVALID_EVENTS": "invalid_event",
    "EVENT_TOO_LARGE": "event_too_large",
    "BODY_TOO_LARGE": "body_too_large",
    "TOO_MANY_EVENTS": "too_many_events",
    "UNSUPPORTED_MEDIA_TYPE": "unsupported_media_type",
    "UNAUTHORIZED": "unauthorized",
    "INVALID_SIGNATURE": "invalid_signature",
    "RATE_LIMITED": "rate_limited",
    "BACKLOG_FULL": "backlog_full",
    "DISK_FULL": "disk_full",
    "UNAVAILABLE": "ledger_away",
    "INTERNAL_ERROR": "internal_error",
}


def register(app: Flask, meter: Meter) -> None:
    """Let an app measure its answers to events; one costs a few microseconds."""

    def start() -> None:
        g.started = perf_counter()

    def measure(response: Response) -> Response:
        if request.method == "POST" and request.url_rule is not None:
            meter.observe(measures.ANSWER_SECONDS, perf_counter() - g.started)
            for code, events in g.get("rejected", {}).items():
                if code in REASONS:
                    meter.count(measures.REJECTED, REASONS[code], events)
        return response

    app.before_request(start)
    app.after_request(measure)
