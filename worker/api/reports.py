"""Show the books, what moved hour by hour, and where a single event is."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from marshmallow import fields

from worker.api import context
from worker.api.blueprint import Blueprint
from worker.api.fields import Boolean, ListOf, Nested, Shape, Text, Timestamp, between, length
from worker.api.shared_fields import Since, TimestampOrNull, query_flag
from worker.ledger.reports.books import Books
from worker.operations.deliveries import find
from worker.operations.deliveries.selection import FIRST_DAY
from worker.operations.reports import reports
from worker.operations.reports.reports import HourlyReport, QualityRow
from worker.retention import QUALITY_DAYS

_SECONDS_A_DAY = 86_400

_HOURS_A_WEEK = 168
_HOW = f"90m, 24h, 7d or an ISO 8601 time, within the last {QUALITY_DAYS} days;"


def _counts(description: str) -> fields.Dict:
    """Make a field that holds a number under each of some words."""
    return fields.Dict(keys=fields.String(), values=fields.Integer(), metadata={"description": description})


class _BookLine(Shape):
    """Compare what was counted when it happened with what is there now."""

    what = Text()
    counted = fields.Integer()
    found = fields.Integer()
    balances = Boolean()


class _BooksQuery(Shape):
    """Say whether to count every row, which takes seconds for each million of them."""

    audit = query_flag(metadata={"description": "Count every row as well, and compare."})


class _BooksAnswer(Shape):
    """Prove that every accepted event is accounted for."""

    balance = Boolean()
    events = _counts("Where the accepted events are.")
    deliveries = _counts("Where the deliveries stand, those left out that retention has removed.")
    accounts = fields.Dict(
        keys=fields.String(),
        values=_counts("Where they stand."),
        attribute="by_account",
        metadata={"description": "The same for each ad account."},
    )
    removed = fields.Integer(metadata={"description": "Deliveries that retention has removed."})
    lines = ListOf(Nested(_BookLine))


class _FindQuery(Shape):
    """Say what to find."""

    find = Text(
        required=True,
        validate=length(1, 256),
        metadata={"description": "An order id, an event id or an anonymous id, exactly as it came."},
    )


class _DeliveryAnswer(Shape):
    """Show one delivery and its state."""

    id = fields.Integer()
    state = Text(metadata={"description": "As the books call it.", "example": "pending"})
    ad_account_id = Text()
    integration_id = Text(allow_none=True)
    source_id = Text(allow_none=True)
    event_name = Text()
    source_name = Text()
    event_id = Text()
    event_time = Timestamp()
    accepted_at = Timestamp()
    ended_at = TimestampOrNull()
    reason_class = Text(allow_none=True)
    reason = Text(allow_none=True)
    warning = Text(allow_none=True)
    consent = Text(
        allow_none=True,
        metadata={"description": "The decision about consent. Null: the integration required none."},
    )
    signed = Boolean(
        metadata={"description": "Whether the sender signed it; else it came with the pipeline key."}
    )


class _WaitingAnswer(Shape):
    """Show one accepted event that waits to be mapped."""

    received_at = Timestamp()
    name = Text()
    event_id = Text()
    parked_reason = Text(allow_none=True, metadata={"description": "Why it was set aside, where it was."})


class _FoundAnswer(Shape):
    """Show what was found."""

    data = ListOf(Nested(_DeliveryAnswer))
    has_more = Boolean(metadata={"description": "There are more deliveries than these."})
    waiting = ListOf(Nested(_WaitingAnswer))


class _StatsQuery(Shape):
    """Choose a stretch of time, and an integration."""

    since = Since(
        load_default=lambda: context.now() - _SECONDS_A_DAY,
        metadata={"description": f"{_HOW} 24h if left out."},
    )
    integration_id = Text(validate=length(1, 128))


class _EventHour(Shape):
    """Count what became of accepted events in one hour."""

    hour = Timestamp()
    outcomes = _counts("accepted, consumed, without_destination, mapped, event_erased.")


class _DeliveryHour(Shape):
    """Count what became of an integration's deliveries in one hour."""

    hour = Timestamp()
    integration_id = Text(allow_none=True, metadata={"description": "Null: it was deleted."})
    outcomes = _counts("created, delivered, tested, failed, filtered, duplicate and so on.")


class _StatsAnswer(Shape):
    """Show what moved, hour by hour; hours in which nothing did are left out."""

    since = Timestamp()
    events = ListOf(Nested(_EventHour))
    deliveries = ListOf(Nested(_DeliveryHour))


class _QualityQuery(_StatsQuery):
    """Choose a stretch of time, an integration, and steps of time."""

    since = Since(
        load_default=lambda: context.now() - 7 * _SECONDS_A_DAY,
        metadata={"description": f"{_HOW} 7d if left out."},
    )
    step_hours = fields.Integer(
        validate=between(1, _HOURS_A_WEEK),
        error_messages={"invalid": "must be a whole number"},
        metadata={"description": "Also by steps of this many hours; without it one row per name."},
    )


class _QualityRow(Shape):
    """Show what came with the events of one name."""

    integration_id = Text(allow_none=True, metadata={"description": "Null: it was deleted."})
    event_name = Text(metadata={"description": "Pinterest's name; empty where there never was one."})
    since = Timestamp(metadata={"description": "Where the step of time begins."})
    events = fields.Integer(metadata={"description": "Valid and invalid ones, duplicates left out."})
    valid = fields.Integer()
    late = fields.Integer(metadata={"description": "Accepted over an hour after they happened."})
    computed = fields.Integer(metadata={"description": "With a value that was computed from the items."})
    invalid = _counts("Events that were not sent, by the class of the reason.")
    shares = fields.Dict(
        keys=fields.String(),
        values=fields.Float(),
        metadata={
            "description": "Identifier → its share of the valid events, 0 to 1; `ip_ua` is the pair.",
            "example": {"em": 0.62, "ip_ua": 1.0},
        },
    )
    advice = ListOf(Text(), metadata={"description": "What to improve, the most useful first; not by steps."})


class _QualityAnswer(Shape):
    """Show the match quality by integration and event name."""

    since = Timestamp()
    data = ListOf(Nested(_QualityRow))


class _ScoreDetail(Shape):
    """Show a component of Pinterest's score for one event, next to our own share."""

    component = Text(metadata={"example": "hashed_email"})
    event_name = Text()
    coverage = fields.Float(allow_none=True, metadata={"description": "Percent of all senders' events."})
    overlap = fields.Float(allow_none=True, metadata={"description": "Percent shared with the tag."})
    issues = ListOf(ListOf(Text()), metadata={"description": "In Pinterest's words."})
    own = fields.Float(allow_none=True, metadata={"description": "Our share of the valid events, 0 to 1."})
    advice = Text(metadata={"description": "What to change here."})


class _PlatformScore(Shape):
    """Show the newest score of a platform and ingestion source."""

    platform = Text(metadata={"example": "WEB"})
    source = Text(metadata={"example": "CONVERSIONS_API"})
    statuses = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        metadata={"description": "By look-back.", "example": {"1d": "FAIR", "14d": "GOOD"}},
    )
    by_day = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        metadata={"description": "The status of 14 days, by the date of the last 30 days."},
    )
    read_at = Timestamp()
    details = ListOf(Nested(_ScoreDetail))


class _AccountScores(Shape):
    """Show the scores of an ad account. ``problem`` says why they could not be read last."""

    ad_account_id = Text()
    name = Text()
    read_at = TimestampOrNull()
    problem = Text(allow_none=True)
    scores = ListOf(Nested(_PlatformScore))


class _ScoresAnswer(Shape):
    """Show Pinterest's Event Quality Scores of the ad accounts that are read."""

    data = ListOf(Nested(_AccountScores))


class _ShareAnswer(Shape):
    """Count events with a problem among all events."""

    n = fields.Integer()
    events = fields.Integer()
    share = fields.Float(metadata={"description": "0 to 1."})


class _NamedShareAnswer(_ShareAnswer):
    """Count events of one of Pinterest's names."""

    event_name = Text()


class _ExampleAnswer(Shape):
    """Show the newest event of one of the shop's names with a problem."""

    event_name = Text()
    delivery_id = fields.Integer(allow_none=True)
    at = Timestamp()
    sentence = Text()
    address = Text(allow_none=True, metadata={"description": "The address it came from, only if private."})


class _DataProblemAnswer(Shape):
    """Show one kind of problem."""

    problem = Text(metadata={"example": "currency_unreadable"})
    title = Text()
    meaning = Text()
    what_to_do = Text()
    spans = fields.Dict(
        keys=fields.String(),
        values=Nested(_ShareAnswer),
        metadata={"description": "24h, 7d and 30d → the share of all events."},
    )
    most_affected = fields.Dict(
        keys=fields.String(),
        values=Nested(_NamedShareAnswer),
        metadata={"description": "By span: the event name with the largest share."},
    )
    examples = ListOf(Nested(_ExampleAnswer), metadata={"description": "The newest first."})


class DataQualityAnswer(Shape):
    """Show the problems in a source's data, the most frequent first."""

    source_id = Text()
    events = _counts("Mapped events by span.")
    data = ListOf(Nested(_DataProblemAnswer))


blueprint = Blueprint(
    "reports", __name__, url_prefix="/v1/admin", description="What became of events, and what came with them"
)


@blueprint.route("/books")
@blueprint.arguments(_BooksQuery, location="query")
@blueprint.response(200, _BooksAnswer)
def _get_books(query: dict[str, Any]) -> Books:
    """Account for every accepted event and every delivery, at one moment."""
    return reports.close_books(context.request_caller(), audit=query["audit"])


@blueprint.route("/deliveries")
@blueprint.arguments(_FindQuery, location="query")
@blueprint.response(200, _FoundAnswer)
def _get_deliveries(query: dict[str, Any]) -> dict[str, Any]:
    """Find the deliveries of an order, an event or a visitor, and the newest events that wait to be mapped."""
    matches = find.find_by_id(context.request_caller(), query["find"])
    return {
        "data": [asdict(delivery) for delivery in matches.deliveries],
        "has_more": matches.has_more,
        "waiting": matches.waiting,
    }


@blueprint.route("/stats")
@blueprint.arguments(_StatsQuery, location="query")
@blueprint.response(200, _StatsAnswer)
def _get_stats(query: dict[str, Any]) -> HourlyReport:
    """Count what moved, by hour and integration."""
    return reports.count_by_hour(context.request_caller(), query["since"], query.get("integration_id"))


@blueprint.route("/quality")
@blueprint.arguments(_QualityQuery, location="query")
@blueprint.response(200, _QualityAnswer)
def _get_quality(query: dict[str, Any]) -> dict[str, Any]:
    """Show which identifiers came with events, and say what to improve."""
    report = reports.report_quality(
        context.request_caller(), query["since"], query.get("integration_id"), query.get("step_hours")
    )
    return {"since": report.since, "data": [_quality(row) for row in report.rows]}


@blueprint.route("/quality/scores")
@blueprint.response(200, _ScoresAnswer)
def _get_scores() -> dict[str, Any]:
    """Show Pinterest's Event Quality Scores of the connected ad accounts, next to our own shares."""
    return {
        "data": [
            {
                "ad_account_id": reading.ad_account_id,
                "name": reading.name,
                "read_at": reading.read_at,
                "problem": reading.login_problem or reading.problem,
                "scores": [asdict(score) | {"by_day": _by_date(score.by_day)} for score in scores],
            }
            for reading, scores in reports.report_scores(context.request_caller())
        ]
    }


def _by_date(by_day: Mapping[int, str]) -> dict[str, str]:
    return {(FIRST_DAY + timedelta(days=day)).isoformat(): status for day, status in by_day.items()}


def _quality(row: QualityRow) -> dict[str, Any]:
    match = row.quality
    return {
        "integration_id": row.integration.id if row.integration else None,
        "event_name": row.event_name,
        "since": row.since,
        "events": match.events,
        "valid": match.valid,
        "late": match.late,
        "computed": match.computed,
        "invalid": match.invalid,
        "shares": {name: round(match.share(name), 4) for name, _ in match.identifiers.most_common()},
        "advice": row.advice,
    }
