"""Measure what the collector answers: how fast, and why it took no event."""

from time import perf_counter

from flask import Flask, Response, g, request

from worker.ledger import measures
from worker.telemetry.measured import REJECTION_REASONS
from worker.telemetry.meter import Meter


def register(app: Flask, meter: Meter) -> None:
    """Let an app measure its answers to events; one costs a few microseconds."""

    def start() -> None:
        g.started = perf_counter()

    def measure(response: Response) -> Response:
        if request.method == "POST" and request.url_rule is not None:
            meter.observe(measures.ANSWER_SECONDS, perf_counter() - g.started)
            for code, events in g.get("rejected", {}).items():
                if code in REJECTION_REASONS:
                    meter.count(measures.REJECTED, REJECTION_REASONS[code], events)
        return response

    app.before_request(start)
    app.after_request(measure)
