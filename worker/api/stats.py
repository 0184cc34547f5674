"""Count what happened to events and deliveries, by hour and integration."""

from typing import Any

from worker.api import context
from worker.api.blueprint import Blueprint
from worker.api.fields import ListOf, Nested, Shape, Text, Timestamp, length
from worker.api.shared_fields import Since, counts_field
from worker.operations.reports import stats
from worker.operations.reports.stats import HourlyReport
from worker.retention import QUALITY_DAYS

_SECONDS_A_DAY = 86_400


class _StatsQuery(Shape):
    """Choose a stretch of time, and an integration."""

    since = Since(
        load_default=lambda: context.now() - _SECONDS_A_DAY,
        metadata={
            "description": f"90m, 24h, 7d or an ISO 8601 time, within the last {QUALITY_DAYS} days; 24h if left out."
        },
    )
    integration_id = Text(validate=length(1, 128))


class _EventHour(Shape):
    """Count what became of accepted events in one hour."""

    hour = Timestamp()
    outcomes = counts_field("accepted, consumed, without_destination, mapped, event_erased.")


class _DeliveryHour(Shape):
    """Count what became of an integration's deliveries in one hour."""

    hour = Timestamp()
    integration_id = Text(allow_none=True, metadata={"description": "Null: it was deleted."})
    outcomes = counts_field("created, delivered, tested, failed, filtered, duplicate and so on.")


class _StatsAnswer(Shape):
    """Show what moved, hour by hour; hours in which nothing did are left out."""

    since = Timestamp()
    events = ListOf(Nested(_EventHour))
    deliveries = ListOf(Nested(_DeliveryHour))


blueprint = Blueprint(
    "stats", __name__, url_prefix="/v1/admin", description="What happened to events and deliveries, by hour"
)


@blueprint.route("/stats")
@blueprint.arguments(_StatsQuery, location="query")
@blueprint.response(200, _StatsAnswer)
def _get_stats(query: dict[str, Any]) -> HourlyReport:
    """Count what moved, by hour and integration."""
    return stats.count_by_hour(context.request_caller(), query["since"], query.get("integration_id"))
