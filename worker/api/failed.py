"""List, show, retry, discard and export failed deliveries."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from flask import Response, g, stream_with_context

from worker.api import context, lists
from worker.api.blueprint import Blueprint
from worker.api.errors import ApiError, not_found_error
from worker.api.lists import page_of
from worker.api.schemas.failed import (
    DetailQuery,
    DiscardAnswer,
    DiscardBody,
    FailedAnswer,
    FailedDetail,
    FailedFilter,
    FailedQuery,
    Group,
    MarkBody,
    RetryAnswer,
    RetryBody,
    Summary,
)
from worker.ledger.delivery.failure_groups import ReasonGroup
from worker.ledger.delivery.failures import Failure, FailureFilter
from worker.operations.deliveries import failed
from worker.operations.deliveries.failed import BulkResult, Extent
from worker.operations.deliveries.selection import integration_number

_JSON_LINES = "application/x-ndjson"

_CHOICES = ("ad_account_id", "reason_class", "event_name", "event_id", "since")

blueprint = Blueprint(
    "failed", __name__, url_prefix="/v1/admin", description="Failed deliveries, kept with their reason"
)


@blueprint.route("/failed")
@blueprint.arguments(FailedQuery, location="query")
@blueprint.response(200, page_of(FailedAnswer))
def get_failed_list(query: dict[str, Any]) -> dict[str, Any]:
    """List failed deliveries in the order of their ids."""
    after = lists.number_after(query.get("cursor")) or 0
    found = failed.list_failed(context.request_caller(), _filter(query), query["limit"] + 1, after)
    return lists.page_answer(found, query["limit"], _show, lambda failure: failure.id)


@blueprint.route("/failed/summary")
@blueprint.arguments(FailedFilter, location="query")
@blueprint.response(200, Summary)
def get_failed_summary(query: dict[str, Any]) -> dict[str, Any]:
    """Group failed deliveries by reason, with their number and the first and last time."""
    groups = failed.group_failed(context.request_caller(), _filter(query))
    return {"total": sum(group.n for group in groups), "groups": groups}


@blueprint.route("/failed/mark", methods=["POST"])
@blueprint.arguments(MarkBody)
@blueprint.response(200, Group)
def post_failed_mark(body: dict[str, Any]) -> ReasonGroup:
    """Resolve or ignore a group of failed deliveries, or open it again. A new failure opens a resolved one."""
    return failed.mark_group(context.request_caller(), **body)


@blueprint.route("/failed/export")
@blueprint.arguments(FailedFilter, location="query")
@blueprint.response(200, FailedAnswer, content_type=_JSON_LINES, description="One to a line")
def get_failed_export(query: dict[str, Any]) -> Response:
    """Export the selected failed deliveries as JSON lines, without payloads."""
    return export_response(_filter(query))


def export_response(chosen: FailureFilter) -> Response:
    """Answer with failed deliveries as a file of JSON lines."""
    lines = failed.export_failed(context.request_caller(), chosen)
    answer = Response(stream_with_context(lines), mimetype=_JSON_LINES)
    answer.headers["Content-Disposition"] = 'attachment; filename="failed-deliveries.jsonl"'
    return answer


@blueprint.route("/failed/<failed_id>")
@blueprint.arguments(DetailQuery, location="query")
@blueprint.response(200, FailedDetail)
def get_failed_detail(query: dict[str, Any], failed_id: str) -> dict[str, Any]:
    """Show a failed delivery with the tries of its batch."""
    if not (failed_id.isascii() and failed_id.isdigit() and len(failed_id) <= 19):
        raise not_found_error("failed delivery", failed_id)
    failure, tries = failed.get_failed(context.request_caller(), int(failed_id))
    shown = _show(failure) | {"tries": tries}
    return shown | {"payload": _payload(failure.id)} if query["payload"] else shown


@blueprint.route("/failed/retry", methods=["POST"])
@blueprint.arguments(RetryBody)
@blueprint.response(200, RetryAnswer)
def post_failed_retry(body: dict[str, Any]) -> dict[str, Any]:
    """Send failed deliveries again. Safe to repeat: nothing is sent twice."""
    chosen, extent = _choice(body)
    result = failed.retry_failed(context.request_caller(), chosen, force=body["force"], extent=extent)
    counts = {"retried": result.moved, "late": result.late, "offline": result.offline}
    in_vain = _counted(result.in_vain)
    return counts | {"warnings": result.warnings(), "in_vain": in_vain} | _ended(body, result)


@blueprint.route("/failed/discard", methods=["POST"])
@blueprint.arguments(DiscardBody)
@blueprint.response(200, DiscardAnswer)
def post_failed_discard(body: dict[str, Any]) -> dict[str, Any]:
    """Discard failed deliveries and delete their payloads."""
    chosen, extent = _choice(body)
    result = failed.discard_failed(context.request_caller(), chosen, body["reason"], extent=extent)
    return {"discarded": result.moved} | _ended(body, result)


def _filter(given: Mapping[str, Any], path: str = "") -> FailureFilter:
    number = integration_number(
        context.request_caller(), given.get("integration_id"), f"{path}integration_id"
    )
    chosen: dict[str, Any] = {name: given.get(name) for name in _CHOICES}
    return FailureFilter(integration_number=number, **chosen)


def _choice(body: Mapping[str, Any]) -> tuple[FailureFilter, Extent]:
    after = lists.number_after(body.get("cursor")) or 0
    chosen = FailureFilter(ids=tuple(body["ids"])) if "ids" in body else _filter(body["filter"], "filter.")
    return chosen, Extent(after, failed.MOST_A_CALL, body["dry_run"])


def _ended(body: Mapping[str, Any], result: BulkResult) -> dict[str, Any]:
    return {
        "dry_run": body["dry_run"],
        "left_alone": _counted(result.left_alone),
        "left": result.left,
        "next_cursor": lists.cursor_at(result.last_id) if result.left else None,
    }


def _counted(reasons: Counter[str]) -> list[dict[str, Any]]:
    return [{"reason": reason, "count": n} for reason, n in reasons.most_common()]


def _show(failure: Failure) -> dict[str, Any]:
    return failed.as_json(failure, context.now())


def _payload(number: int) -> Any:
    if not g.person.may_change:
        raise ApiError(403, "This token has the role viewer: it cannot read payloads.")
    text = failed.show_payload(context.request_caller(), number)
    return None if text is None else json.loads(text)
