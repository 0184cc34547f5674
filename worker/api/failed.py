"""List, show, retry, discard and export failed deliveries."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from flask import Response, g, stream_with_context
from marshmallow import ValidationError, fields, validate, validates_schema

from worker.api import context, pagination
from worker.api.blueprint import Blueprint
from worker.api.errors import ApiError
from worker.api.fields import (
    Boolean,
    Integer,
    ListOf,
    Nested,
    Object,
    Shape,
    Text,
    Timestamp,
    between,
    length,
)
from worker.api.pagination import PageQuery, page_of
from worker.api.shared_fields import Since, query_flag
from worker.ledger.delivery.failure_groups import TREND_DAYS, GroupState, ReasonGroup
from worker.ledger.delivery.failures import Failure, FailureFilter
from worker.ledger.rows import LARGEST_ID
from worker.operations.deliveries import failed
from worker.operations.deliveries.failed import LONGEST_REASON, MOST_A_CALL, BulkResult, Extent
from worker.operations.deliveries.selection import integration_number
from worker.operations.errors import NotFoundError


class _FailedFilter(Shape):
    """Choose failed deliveries; what is left out chooses all."""

    ad_account_id = Text(validate=length(1, 64))
    integration_id = Text(validate=length(1, 128))
    reason_class = Text(validate=length(1, 64), metadata={"example": "refused"})
    event_name = Text(
        validate=length(0, 64), metadata={"description": "Pinterest's; empty for those without one."}
    )
    event_id = Text(validate=length(1, 256))
    since = Since(metadata={"description": "Failed since: 90m, 24h, 7d or an ISO 8601 time."})


class _FailedQuery(PageQuery, _FailedFilter):
    """Choose a page of failed deliveries."""


class _FailedAnswer(Shape):
    """Show a failed delivery, without what would be sent."""

    id = fields.Integer()
    integration_id = Text(
        allow_none=True,
        metadata={"description": "Null where it is gone, or delivers to another ad account now."},
    )
    ad_account_id = Text()
    event_name = Text(metadata={"description": "Pinterest's name; empty where it never got one."})
    source_name = Text(metadata={"description": "The name that the shop gave."})
    event_id = Text()
    event_time = Text()
    failed_at = Text()
    reason_class = Text()
    reason = Text()
    warning = Text(allow_none=True)
    test = Boolean()
    offline = Boolean(metadata={"description": "Pinterest cannot deduplicate offline events."})
    batch_id = fields.Integer(
        allow_none=True, metadata={"description": "Null where it failed before it was batched."}
    )
    late = Boolean(metadata={"description": "Over an hour old: Pinterest may not deduplicate it."})
    stale = Boolean(metadata={"description": "Over seven days old: Pinterest refuses it."})
    has_payload = Boolean(metadata={"description": "Without one it cannot be sent again."})
    may_have_arrived = Boolean(
        metadata={"description": "An attempt had no clear answer: Pinterest may have received it."}
    )


class _Try(Shape):
    """Show one try of the batch that a delivery was in."""

    number = fields.Integer()
    at = Timestamp()
    seconds = fields.Float()
    http_status = fields.Integer(allow_none=True)
    reason_class = Text()
    reason = Text()


class _FailedDetail(_FailedAnswer):
    """Show a failed delivery with its history."""

    tries = ListOf(Nested(_Try))
    payload = Object(
        allow_none=True,
        metadata={"description": "The payload; only on request, which the audit log records."},
    )


class _DetailQuery(Shape):
    """Say whether to show what would be sent, with IP address and user agent."""

    payload = query_flag(metadata={"description": "Not for the role viewer."})


class _Group(Shape):
    """Count failed deliveries of one kind."""

    ad_account_id = Text()
    event_name = Text()
    reason_class = Text()
    reason = Text(metadata={"description": "One of the group's reasons in full."})
    count = fields.Integer(attribute="n")
    first_failed_at = Timestamp(attribute="first_at")
    last_failed_at = Timestamp(attribute="last_at")
    trend = ListOf(
        fields.Integer(),
        metadata={"description": f"By day in UTC, the last {TREND_DAYS} days, today's last."},
    )
    state = Text(
        validate=validate.OneOf(list(GroupState)),
        metadata={"description": "A new failure opens a resolved group again; an ignored one stays ignored."},
    )
    decided_at = Timestamp(allow_none=True, metadata={"description": "Null where it is open."})
    decided_by = Text()


class _MarkBody(Shape):
    """Name a group of failed deliveries and its new state."""

    ad_account_id = Text(required=True, validate=length(1, 64))
    event_name = Text(required=True, validate=length(0, 64))
    reason_class = Text(required=True, validate=length(1, 64))
    state = Text(required=True, validate=validate.OneOf(list(GroupState)))


class _Summary(Shape):
    """Group failed deliveries: open groups first, then the largest."""

    total = fields.Integer()
    groups = ListOf(Nested(_Group))


class _Choice(Shape):
    ids = ListOf(
        Integer(validate=between(1, LARGEST_ID)),
        validate=validate.Length(1, MOST_A_CALL, error=f"must be 1 to {MOST_A_CALL:,} ids"),
        metadata={"description": "Either these or a filter."},
    )
    filter = Nested(_FailedFilter, metadata={"description": "An empty filter selects all."})
    dry_run = Boolean(load_default=False, metadata={"description": "Only report what would happen."})
    cursor = Text(metadata={"description": "`next_cursor` of the call before, with the same filter."})

    @validates_schema
    def _one_choice(self, data: dict[str, Any], **_: Any) -> None:
        if ("ids" in data) == ("filter" in data):
            raise ValidationError("give either ids or a filter", "ids")
        if "ids" in data and "cursor" in data:
            raise ValidationError("goes with a filter only", "cursor")


class _RetryBody(_Choice):
    """Say what to send again."""

    force = Boolean(
        load_default=False,
        metadata={"description": "Also what is over seven days old, though Pinterest refuses it."},
    )


class _DiscardBody(_Choice):
    """Say what to give up, and why."""

    reason = Text(required=True, validate=length(1, LONGEST_REASON))


class _LeftAlone(Shape):
    """Count what was not touched, and say why."""

    reason = Text()
    count = fields.Integer()


class _Done(Shape):
    dry_run = Boolean()
    left_alone = ListOf(Nested(_LeftAlone))
    left = fields.Integer(
        metadata={"description": f"Not looked at yet: one call looks at {MOST_A_CALL:,}, at most."}
    )
    next_cursor = Text(allow_none=True, metadata={"description": "The next position; null at the end."})


class _RetryAnswer(_Done):
    """Tell what was sent again, or would be."""

    retried = fields.Integer()
    late = fields.Integer()
    offline = fields.Integer()
    warnings = ListOf(Text())
    in_vain = ListOf(
        Nested(_LeftAlone),
        metadata={"description": "Those of `retried` that this alone will not deliver, by reason."},
    )


class _DiscardAnswer(_Done):
    """Tell what was given up, or would be."""

    discarded = fields.Integer()


_JSON_LINES = "application/x-ndjson"

_CHOICES = ("ad_account_id", "reason_class", "event_name", "event_id", "since")

blueprint = Blueprint(
    "failed", __name__, url_prefix="/v1/admin", description="Failed deliveries, kept with their reason"
)


@blueprint.route("/failed")
@blueprint.arguments(_FailedQuery, location="query")
@blueprint.response(200, page_of(_FailedAnswer))
def _get_failed_list(query: dict[str, Any]) -> dict[str, Any]:
    """List failed deliveries in the order of their ids."""
    after = pagination.number_after(query.get("cursor")) or 0
    failures = failed.list_failed(context.request_caller(), _filter(query), query["limit"] + 1, after)
    return pagination.page_answer(failures, query["limit"], _show, lambda failure: failure.id)


@blueprint.route("/failed/summary")
@blueprint.arguments(_FailedFilter, location="query")
@blueprint.response(200, _Summary)
def _get_failed_summary(query: dict[str, Any]) -> dict[str, Any]:
    """Group failed deliveries by reason, with their number and the first and last time."""
    groups = failed.group_failed(context.request_caller(), _filter(query))
    return {"total": sum(group.n for group in groups), "groups": groups}


@blueprint.route("/failed/mark", methods=["POST"])
@blueprint.arguments(_MarkBody)
@blueprint.response(200, _Group)
def _post_failed_mark(body: dict[str, Any]) -> ReasonGroup:
    """Resolve or ignore a group of failed deliveries, or open it again. A new failure opens a resolved one."""
    return failed.mark_group(context.request_caller(), **body)


@blueprint.route("/failed/export")
@blueprint.arguments(_FailedFilter, location="query")
@blueprint.response(200, _FailedAnswer, content_type=_JSON_LINES, description="One to a line")
def _get_failed_export(query: dict[str, Any]) -> Response:
    """Export the selected failed deliveries as JSON lines, without payloads."""
    return export_response(_filter(query))


def export_response(criteria: FailureFilter) -> Response:
    """Answer with failed deliveries as a file of JSON lines."""
    lines = failed.export_failed(context.request_caller(), criteria)
    answer = Response(stream_with_context(lines), mimetype=_JSON_LINES)
    answer.headers["Content-Disposition"] = 'attachment; filename="failed-deliveries.jsonl"'
    return answer


@blueprint.route("/failed/<failed_id>")
@blueprint.arguments(_DetailQuery, location="query")
@blueprint.response(200, _FailedDetail)
def _get_failed_detail(query: dict[str, Any], failed_id: str) -> dict[str, Any]:
    """Show a failed delivery with the tries of its batch."""
    if not (failed_id.isascii() and failed_id.isdigit() and len(failed_id) <= 19):
        raise NotFoundError("failed delivery", failed_id)
    failure, tries = failed.get_failed(context.request_caller(), int(failed_id))
    detail = _show(failure) | {"tries": tries}
    return detail | {"payload": _payload(failure.id)} if query["payload"] else detail


@blueprint.route("/failed/retry", methods=["POST"])
@blueprint.arguments(_RetryBody)
@blueprint.response(200, _RetryAnswer)
def _post_failed_retry(body: dict[str, Any]) -> dict[str, Any]:
    """Send failed deliveries again. Safe to repeat: nothing is sent twice."""
    criteria, extent = _choice(body)
    result = failed.retry_failed(context.request_caller(), criteria, force=body["force"], extent=extent)
    counts = {"retried": result.moved, "late": result.late, "offline": result.offline}
    in_vain = _count_rows(result.in_vain)
    return counts | {"warnings": result.warnings(), "in_vain": in_vain} | _ended(body, result)


@blueprint.route("/failed/discard", methods=["POST"])
@blueprint.arguments(_DiscardBody)
@blueprint.response(200, _DiscardAnswer)
def _post_failed_discard(body: dict[str, Any]) -> dict[str, Any]:
    """Discard failed deliveries and delete their payloads."""
    criteria, extent = _choice(body)
    result = failed.discard_failed(context.request_caller(), criteria, body["reason"], extent=extent)
    return {"discarded": result.moved} | _ended(body, result)


def _filter(values: Mapping[str, Any], path: str = "") -> FailureFilter:
    number = integration_number(
        context.request_caller(), values.get("integration_id"), f"{path}integration_id"
    )
    choices: dict[str, Any] = {name: values.get(name) for name in _CHOICES}
    return FailureFilter(integration_number=number, **choices)


def _choice(body: Mapping[str, Any]) -> tuple[FailureFilter, Extent]:
    after = pagination.number_after(body.get("cursor")) or 0
    criteria = FailureFilter(ids=tuple(body["ids"])) if "ids" in body else _filter(body["filter"], "filter.")
    return criteria, Extent(after, failed.MOST_A_CALL, body["dry_run"])


def _ended(body: Mapping[str, Any], result: BulkResult) -> dict[str, Any]:
    return {
        "dry_run": body["dry_run"],
        "left_alone": _count_rows(result.left_alone),
        "left": result.left,
        "next_cursor": pagination.cursor_at(result.last_id) if result.left else None,
    }


def _count_rows(reasons: Counter[str]) -> list[dict[str, Any]]:
    return [{"reason": reason, "count": n} for reason, n in reasons.most_common()]


def _show(failure: Failure) -> dict[str, Any]:
    return failed.as_json(failure, context.now())


def _payload(number: int) -> Any:
    if not g.person.may_change:
        raise ApiError(403, "This token has the role viewer: it cannot read payloads.")
    text = failed.show_payload(context.request_caller(), number)
    return None if text is None else json.loads(text)
