"""Convert the ledger's measurements to Prometheus metrics. A label value that was never counted is 0."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from worker.ledger.reports import measures, tallies
from worker.ledger.reports.measures import Histogram, Measured
from worker.pinterest.client.answer_decisions import ReasonClass

_QUEUES = ("events", "delivery")
_STATUSES = ("2xx", "3xx", "4xx", "429", "5xx", "none")
# Reasons of the mapping, and reasons why a delivery was not sent.
_UNSENDABLE = (
    "no_identity",
    "missing_value",
    "missing_num_items",
    "bad_timestamp",
    "future",
    "stale",
    "contract",
    "unopened",
    "unknown_outcome",
)
CLASSES = (*ReasonClass, *_UNSENDABLE)
# Why the collector refused an event, by the error code of its response. Missing codes, such as that of an unknown
# path, do not concern events.
REJECTION_REASONS = {
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


def measured_metrics(measured: Measured) -> Iterator[Metric]:
    """Yield the counters and histograms."""
    yield _counter(
        "signal_events_rejected",
        "Events that the collector refused; a request refused before its events were read counts as one.",
        ("reason", sorted(set(REJECTION_REASONS.values())), measures.REJECTED),
        measured,
    )
    yield _messages(
        "signal_messages_published",
        "Messages that reached the broker, by queue.",
        measures.PUBLISHED,
        measured,
    )
    yield _messages(
        "signal_messages_dropped",
        "Messages that did not reach the broker, by queue; the sweeper publishes them again.",
        measures.UNPUBLISHED,
        measured,
    )
    yield _counter(
        "signal_deliveries_failed",
        "Failed deliveries, by reason class.",
        ("class", _known(CLASSES, measures.FAILED, measured), measures.FAILED),
        measured,
    )
    yield _counter(
        "signal_batches_retried",
        "Batches scheduled for another attempt, by reason class.",
        ("class", _known(ReasonClass, measures.RETRIED, measured), measures.RETRIED),
        measured,
    )
    yield _counter(
        "signal_quota_refused",
        "Rows beyond a source's quota that were not stored, by kind; no event and no delivery is lost.",
        ("what", tallies.REFUSED, measures.REFUSED_BY_QUOTA),
        measured,
    )
    yield CounterMetricFamily(
        "signal_deliveries_warned",
        "Deliveries that Pinterest answered with a warning.",
        value=measured.n(measures.WARNED),
    )
    yield from _histograms(measured)


def _histograms(measured: Measured) -> Iterator[Metric]:
    yield _histogram(
        "signal_pinterest_request_duration_seconds",
        "Duration of requests to Pinterest until the end of the response, by status.",
        measures.REQUEST_SECONDS,
        measured,
        ("status", _STATUSES),
    )
    yield _histogram(
        "signal_batch_events", "Events in a request to Pinterest.", measures.BATCH_EVENTS, measured
    )
    yield _histogram(
        "signal_collector_request_duration_seconds",
        "Duration of the collector's requests with events.",
        measures.ANSWER_SECONDS,
        measured,
    )


def _known(declared: Iterable[str], name: str, measured: Measured) -> list[str]:
    """Return the classes of this version, and those that an earlier version counted."""
    labels = {key.label for key in measured.amounts if key.name == name}
    return sorted({str(label) for label in declared} | labels)


def _counter(name: str, meaning: str, by: tuple[str, Iterable[str], str], measured: Measured) -> Metric:
    label, values, counted_as = by
    family = CounterMetricFamily(name, meaning, labels=[label])
    for value in values:
        family.add_metric([value], measured.n(counted_as, value))
    return family


def _messages(name: str, meaning: str, counted_as: str, measured: Measured) -> Metric:
    """Return the messages of each queue; those of all queues for events, like ``events-4``, together."""
    family = CounterMetricFamily(name, meaning, labels=["queue"])
    for queue in _QUEUES:
        amounts = [
            amount.n
            for key, amount in measured.amounts.items()
            if key.name == counted_as and key.label.partition("-")[0] == queue
        ]
        family.add_metric([queue], sum(amounts))
    return family


def _histogram(
    name: str,
    meaning: str,
    histogram: Histogram,
    measured: Measured,
    by: tuple[str, Iterable[str]] | None = None,
) -> Metric:
    label, values = by or ("", [""])
    family = HistogramMetricFamily(name, meaning, labels=[label] if by else [])
    for value in values:
        buckets: list[tuple[str, float]] = []
        n, total = 0, 0.0
        for bound, amount in measured.buckets(histogram, value):
            n, total = n + amount.n, total + amount.total
            buckets.append(("+Inf" if bound == float("inf") else str(bound), n))
        family.add_metric([value] if by else [], buckets, total)
    return family
