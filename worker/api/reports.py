"""Show the books, what moved hour by hour, and where a single event is."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from worker.api import context
from worker.api.blueprint import Blueprint
from worker.api.schemas.reports import (
    BooksAnswer,
    BooksQuery,
    FindQuery,
    FoundAnswer,
    QualityAnswer,
    QualityQuery,
    ScoresAnswer,
    StatsAnswer,
    StatsQuery,
)
from worker.ledger.reports.books import Books
from worker.operations.deliveries import search
from worker.operations.deliveries.selection import FIRST_DAY
from worker.operations.reports import reports
from worker.operations.reports.reports import HourlyReport, QualityRow

blueprint = Blueprint(
    "reports", __name__, url_prefix="/v1/admin", description="What became of events, and what came with them"
)


@blueprint.route("/books")
@blueprint.arguments(BooksQuery, location="query")
@blueprint.response(200, BooksAnswer)
def get_books(query: dict[str, Any]) -> Books:
    """Account for every accepted event and every delivery, at one moment."""
    return reports.close_books(context.request_caller(), audit=query["audit"])


@blueprint.route("/deliveries")
@blueprint.arguments(FindQuery, location="query")
@blueprint.response(200, FoundAnswer)
def get_deliveries(query: dict[str, Any]) -> dict[str, Any]:
    """Find the deliveries of an order, an event or a visitor, and the newest events that wait to be mapped."""
    found = search.search(context.request_caller(), query["find"])
    return {
        "data": [asdict(delivery) for delivery in found.deliveries],
        "has_more": found.has_more,
        "waiting": found.waiting,
    }


@blueprint.route("/stats")
@blueprint.arguments(StatsQuery, location="query")
@blueprint.response(200, StatsAnswer)
def get_stats(query: dict[str, Any]) -> HourlyReport:
    """Count what moved, by hour and integration."""
    return reports.count_by_hour(context.request_caller(), query["since"], query.get("integration_id"))


@blueprint.route("/quality")
@blueprint.arguments(QualityQuery, location="query")
@blueprint.response(200, QualityAnswer)
def get_quality(query: dict[str, Any]) -> dict[str, Any]:
    """Show which identifiers came with events, and say what to improve."""
    report = reports.report_quality(
        context.request_caller(), query["since"], query.get("integration_id"), query.get("step_hours")
    )
    return {"since": report.since, "data": [_quality(row) for row in report.rows]}


@blueprint.route("/quality/scores")
@blueprint.response(200, ScoresAnswer)
def get_scores() -> dict[str, Any]:
    """Show Pinterest's Event Quality Scores of the connected ad accounts, next to our own shares."""
    return {
        "data": [
            {
                "ad_account_id": reading.ad_account_id,
                "name": reading.name,
                "read_at": reading.read_at,
                "problem": reading.login_problem or reading.problem,
                "scores": [asdict(one) | {"by_day": _by_date(one.by_day)} for one in scores],
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
