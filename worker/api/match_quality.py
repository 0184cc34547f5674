"""Show the match quality: the identifiers that came with events, and Pinterest's scores of them."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from marshmallow import fields

from worker.api import context
from worker.api.blueprint import Blueprint
from worker.api.fields import ListOf, Nested, Shape, Text, Timestamp, between, length
from worker.api.shared_fields import Since, TimestampOrNull, counts_field
from worker.operations.deliveries.selection import FIRST_DAY
from worker.operations.reports import match_quality
from worker.operations.reports.match_quality import QualityRow
from worker.retention import QUALITY_DAYS

_SECONDS_A_DAY = 86_400
_HOURS_A_WEEK = 168


class _QualityQuery(Shape):
    """Choose a stretch of time, an integration, and steps of time."""

    since = Since(
        load_default=lambda: context.now() - 7 * _SECONDS_A_DAY,
        metadata={
            "description": f"90m, 24h, 7d or an ISO 8601 time, within the last {QUALITY_DAYS} days; 7d if left out."
        },
    )
    integration_id = Text(validate=length(1, 128))
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
    invalid = counts_field("Events that were not sent, by the class of the reason.")
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


blueprint = Blueprint(
    "match_quality",
    __name__,
    url_prefix="/v1/admin",
    description="The identifiers that came with events, and Pinterest's scores of them",
)


@blueprint.route("/quality")
@blueprint.arguments(_QualityQuery, location="query")
@blueprint.response(200, _QualityAnswer)
def _get_quality(query: dict[str, Any]) -> dict[str, Any]:
    """Show which identifiers came with events, and say what to improve."""
    report = match_quality.report_quality(
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
            for reading, scores in match_quality.report_scores(context.request_caller())
        ]
    }


def _by_date(by_day: Mapping[int, str]) -> dict[str, str]:
    return {(FIRST_DAY + timedelta(days=day)).isoformat(): status for day, status in by_day.items()}


def _quality(row: QualityRow) -> dict[str, Any]:
    quality = row.quality
    return {
        "integration_id": row.integration.id if row.integration else None,
        "event_name": row.event_name,
        "since": row.since,
        "events": quality.events,
        "valid": quality.valid,
        "late": quality.late,
        "computed": quality.computed,
        "invalid": quality.invalid,
        "shares": {name: round(quality.share(name), 4) for name, _ in quality.identifiers.most_common()},
        "advice": row.advice,
    }
