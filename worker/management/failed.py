"""List, show, retry, discard and export failed deliveries."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from flask import Response, g, stream_with_context

from worker.ledger import audit, failures
from worker.ledger.deliveries import PAYLOAD
from worker.ledger.engine import Ledger
from worker.ledger.failures import Failure, Filter
from worker.ledger.vault import SealError
from worker.management import context, lists
from worker.management.blueprint import Blueprint
from worker.management.errors import ApiError, not_found
from worker.management.failed_shapes import (
    LARGEST_ID,
    DetailQuery,
    DiscardAnswer,
    DiscardBody,
    FailedAnswer,
    FailedDetail,
    FailedFilter,
    FailedQuery,
    RetryAnswer,
    RetryBody,
    Summary,
)
from worker.management.lists import page_of
from worker.management.queries import integration_number
from worker.stages import retrying
from worker.stages.retrying import Done, Extent

JSON_LINES = "application/x-ndjson"

_CHOICES = ("ad_account_id", "reason_class", "event_name", "event_id", "since")

blueprint = Blueprint(
    "failed", __name__, url_prefix="/v1/admin", description="What did not arrive, kept with its reason"
)


@blueprint.route("/failed")
@blueprint.arguments(FailedQuery, location="query")
@blueprint.response(200, page_of(FailedAnswer))
def page(query: dict[str, Any]) -> dict[str, Any]:
    """List failed deliveries in the order of their ids."""
    after, wanted = lists.number_after(query.get("cursor")) or 0, _filter(query)
    with context.ledger().read() as connection:
        found = failures.page(connection, wanted, query["limit"] + 1, after)
    now = context.clock()
    return lists.answer(found, query["limit"], lambda one: _show(one, now), lambda one: one.id)


@blueprint.route("/failed/summary")
@blueprint.arguments(FailedFilter, location="query")
@blueprint.response(200, Summary)
def summary(query: dict[str, Any]) -> dict[str, Any]:
    """Group failed deliveries by reason, with their number and the first and last time."""
    wanted = _filter(query)
    with context.ledger().read() as connection:
        groups = failures.by_reason(connection, wanted)
    return {"total": sum(group["n"] for group in groups), "groups": groups}


@blueprint.route("/failed/export")
@blueprint.arguments(FailedFilter, location="query")
@blueprint.response(200, FailedAnswer, content_type=JSON_LINES, description="One to a line")
def export(query: dict[str, Any]) -> Response:
    """Give all that is chosen as JSON lines, without what would be sent."""
    lines = _lines(context.ledger(), _filter(query), context.clock())
    answer = Response(stream_with_context(lines), mimetype=JSON_LINES)
    answer.headers["Content-Disposition"] = 'attachment; filename="failed-deliveries.jsonl"'
    return answer


@blueprint.route("/failed/<failed_id>")
@blueprint.arguments(DetailQuery, location="query")
@blueprint.response(200, FailedDetail)
def show(query: dict[str, Any], failed_id: str) -> dict[str, Any]:
    """Show a failed delivery with the tries of its batch."""
    with context.ledger().read() as connection:
        found = failures.page(connection, Filter(ids=(_number(failed_id),)), 1)
        if not found:
            raise not_found("failed delivery", failed_id)
        tries = failures.history(connection, found[0].batch_id)
    shown = _show(found[0], context.clock()) | {"tries": tries}
    return shown | {"payload": _payload(found[0].id)} if query["payload"] else shown


@blueprint.route("/failed/retry", methods=["POST"])
@blueprint.arguments(RetryBody)
@blueprint.response(200, RetryAnswer)
def retry(body: dict[str, Any]) -> dict[str, Any]:
    """Send failed deliveries again; each is sent once, however often this is called."""
    wanted, extent = _choice(body)
    done = retrying.retry(
        context.ledger(), wanted, context.clock(), g.actor, force=body["force"], extent=extent
    )
    told = {"retried": done.moved, "late": done.late, "offline": done.offline, "warnings": _warnings(done)}
    return told | _ended(body, done)


@blueprint.route("/failed/discard", methods=["POST"])
@blueprint.arguments(DiscardBody)
@blueprint.response(200, DiscardAnswer)
def discard(body: dict[str, Any]) -> dict[str, Any]:
    """Give failed deliveries up for good; what would have been sent is removed."""
    wanted, extent = _choice(body)
    done = retrying.discard(context.ledger(), wanted, body["reason"], context.clock(), g.actor, extent=extent)
    return {"discarded": done.moved} | _ended(body, done)


def _filter(given: Mapping[str, Any], path: str = "") -> Filter:
    number = integration_number(given.get("integration_id"), f"{path}integration_id")
    chosen: dict[str, Any] = {name: given.get(name) for name in _CHOICES}
    return Filter(integration_number=number, **chosen)


def _choice(body: Mapping[str, Any]) -> tuple[Filter, Extent]:
    after = lists.number_after(body.get("cursor")) or 0
    wanted = Filter(ids=tuple(body["ids"])) if "ids" in body else _filter(body["filter"], "filter.")
    return wanted, Extent(after, retrying.MOST_A_CALL, body["dry_run"])


def _ended(body: Mapping[str, Any], done: Done) -> dict[str, Any]:
    left_alone = done.left_alone
    missing = len(set(body.get("ids", ()))) - done.moved - left_alone.total()
    if missing > 0:
        left_alone["not failed, or not failed any more"] += missing
    return {
        "dry_run": body["dry_run"],
        "left_alone": [{"reason": reason, "count": n} for reason, n in left_alone.most_common()],
        "left": done.left,
        "next_cursor": lists.cursor_at(done.last_id) if done.left else None,
    }


def _warnings(done: Done) -> list[str]:
    late = (
        f"{done.late:,} are over an hour old: Pinterest counts them as offline and may not deduplicate them."
    )
    offline = f"{done.offline:,} are offline events: Pinterest cannot deduplicate them."
    return [words for n, words in ((done.late, late), (done.offline, offline)) if n]


def _show(one: Failure, now: float) -> dict[str, Any]:
    return asdict(one) | {"late": one.is_late(now), "stale": one.is_stale(now)}


def _lines(ledger: Ledger, wanted: Filter, now: float) -> Iterator[str]:
    shape = FailedAnswer()
    for step in retrying.steps(ledger, wanted, Extent(most=None)):
        for one in step:
            yield json.dumps(shape.dump(_show(one, now)), ensure_ascii=False) + "\n"


def _payload(failed_id: int) -> Any:
    """Open what would be sent; it holds an address and a user agent in clear, so the log tells who looked."""
    if not g.person.may_change:
        raise ApiError(403, "This token is a viewer's: it may not look at what is sent of a visitor.")
    with context.caller().changing() as change:
        audit.write(change.connection, change.now, change.actor, "failed.show_payload", str(failed_id), {})
        sealed = failures.payload(change.connection, failed_id)
    if sealed is None:
        return None
    try:
        return json.loads(context.ledger().vault.open(sealed, PAYLOAD))
    except SealError as error:
        raise ApiError(409, f"The payload cannot be opened: {error}.") from None


def _number(failed_id: str) -> int:
    is_number = failed_id.isascii() and failed_id.isdigit() and len(failed_id) <= 19
    if not is_number or int(failed_id) > LARGEST_ID:
        raise not_found("failed delivery", failed_id)
    return int(failed_id)
