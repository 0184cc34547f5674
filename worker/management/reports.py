"""Show the books, what moved hour by hour, and where a single event is."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from worker.ledger import books, integrations, tallies
from worker.ledger import quality as quality_store
from worker.ledger.books import Books
from worker.ledger.quality import Key, Quality
from worker.ledger.tallies import SECONDS_AN_HOUR
from worker.management import context
from worker.management.blueprint import Blueprint
from worker.management.queries import integration_number, within
from worker.management.report_shapes import (
    BooksAnswer,
    BooksQuery,
    FindQuery,
    FoundAnswer,
    QualityAnswer,
    QualityQuery,
    StatsAnswer,
    StatsQuery,
)
from worker.stages import searching
from worker.stages.advice import advise
from worker.stages.purging import QUALITY_DAYS
from worker.stages.searching import MOST_FOUND

# In the tallies this stands for no integration: what happened to an event before it had one.
NO_INTEGRATION = 0

blueprint = Blueprint(
    "reports", __name__, url_prefix="/v1/admin", description="What became of events, and what came with them"
)


@blueprint.route("/books")
@blueprint.arguments(BooksQuery, location="query")
@blueprint.response(200, BooksAnswer)
def show_books(query: dict[str, Any]) -> Books:
    """Account for every accepted event and every delivery, at one moment."""
    with context.ledger().snapshot() as connection:
        return books.audit(connection) if query["audit"] else books.close(connection)


@blueprint.route("/deliveries")
@blueprint.arguments(FindQuery, location="query")
@blueprint.response(200, FoundAnswer)
def find(query: dict[str, Any]) -> dict[str, Any]:
    """Find the deliveries of an order, an event or a visitor, in whatever state."""
    found = searching.search(context.ledger(), query["find"], MOST_FOUND + 1)
    return {"data": [asdict(one) for one in found[:MOST_FOUND]], "has_more": len(found) > MOST_FOUND}


@blueprint.route("/stats")
@blueprint.arguments(StatsQuery, location="query")
@blueprint.response(200, StatsAnswer)
def stats(query: dict[str, Any]) -> dict[str, Any]:
    """Count what moved, by hour and integration."""
    number = integration_number(query.get("integration_id"))
    since_hour = int(within(query["since"], QUALITY_DAYS) // SECONDS_AN_HOUR)
    with context.ledger().read() as connection:
        known = integrations.public_ids(connection)
        rows = tallies.by_hour(connection, since_hour, None if number is None else [number])
    return {
        "since": since_hour * SECONDS_AN_HOUR,
        "events": _hours([row for row in rows if row[1] == NO_INTEGRATION], {}),
        "deliveries": _hours([row for row in rows if row[1] != NO_INTEGRATION], known),
    }


@blueprint.route("/quality")
@blueprint.arguments(QualityQuery, location="query")
@blueprint.response(200, QualityAnswer)
def quality(query: dict[str, Any]) -> dict[str, Any]:
    """Show which identifiers came with events, and say what to improve."""
    number, step_hours = integration_number(query.get("integration_id")), query.get("step_hours")
    since_hour = int(within(query["since"], QUALITY_DAYS) // SECONDS_AN_HOUR)
    with context.ledger().read() as connection:
        found = quality_store.read(connection, since_hour, number, step_hours)
    return {
        "since": since_hour * SECONDS_AN_HOUR,
        "data": [_quality(key, one, with_advice=step_hours is None) for key, one in found.items()],
    }


def _hours(rows: Iterable[tuple[int, int, str, int]], known: Mapping[int, str]) -> list[dict[str, Any]]:
    counted: dict[tuple[int, str | None], Counter[str]] = defaultdict(Counter)
    for hour, number, outcome, n in rows:
        counted[hour, known.get(number)][outcome] += n
    return [
        {"hour": hour * SECONDS_AN_HOUR, "integration_id": integration_id, "outcomes": outcomes}
        for (hour, integration_id), outcomes in counted.items()
    ]


def _quality(key: Key, one: Quality, *, with_advice: bool) -> dict[str, Any]:
    return {
        "integration_id": key.integration_id,
        "event_name": key.event_name,
        "since": key.from_hour * SECONDS_AN_HOUR,
        "events": one.events,
        "valid": one.valid,
        "late": one.late,
        "computed": one.computed,
        "invalid": one.invalid,
        "shares": {name: round(one.share(name), 4) for name, _ in one.identifiers.most_common()},
        "advice": advise(one) if with_advice else [],
    }
