"""The shapes of failed deliveries."""

from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

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
from worker.api.lists import PageQuery
from worker.api.queries import Since, query_flag
from worker.ledger.delivery.failure_groups import TREND_DAYS, GroupState
from worker.ledger.rows import LARGEST_ID
from worker.operations.deliveries.failed import LONGEST_REASON, MOST_A_CALL


class FailedFilter(Shape):
    """Choose failed deliveries; what is left out chooses all."""

    ad_account_id = Text(validate=length(1, 64))
    integration_id = Text(validate=length(1, 128))
    reason_class = Text(validate=length(1, 64), metadata={"example": "refused"})
    event_name = Text(
        validate=length(0, 64), metadata={"description": "Pinterest's; empty for those without one."}
    )
    event_id = Text(validate=length(1, 256))
    since = Since(metadata={"description": "Failed since: 90m, 24h, 7d or an ISO 8601 time."})


class FailedQuery(PageQuery, FailedFilter):
    """Choose a page of failed deliveries."""


class FailedAnswer(Shape):
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


class Try(Shape):
    """Show one try of the batch that a delivery was in."""

    number = fields.Integer()
    at = Timestamp()
    seconds = fields.Float()
    http_status = fields.Integer(allow_none=True)
    reason_class = Text()
    reason = Text()


class FailedDetail(FailedAnswer):
    """Show a failed delivery with its history."""

    tries = ListOf(Nested(Try))
    payload = Object(
        allow_none=True,
        metadata={"description": "The payload; only on request, which the audit log records."},
    )


class DetailQuery(Shape):
    """Say whether to show what would be sent, with IP address and user agent."""

    payload = query_flag(metadata={"description": "Not for the role viewer."})


class Group(Shape):
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


class MarkBody(Shape):
    """Name a group of failed deliveries and its new state."""

    ad_account_id = Text(required=True, validate=length(1, 64))
    event_name = Text(required=True, validate=length(0, 64))
    reason_class = Text(required=True, validate=length(1, 64))
    state = Text(required=True, validate=validate.OneOf(list(GroupState)))


class Summary(Shape):
    """Group failed deliveries: open groups first, then the largest."""

    total = fields.Integer()
    groups = ListOf(Nested(Group))


class _Choice(Shape):
    ids = ListOf(
        Integer(validate=between(1, LARGEST_ID)),
        validate=validate.Length(1, MOST_A_CALL, error=f"must be 1 to {MOST_A_CALL:,} ids"),
        metadata={"description": "Either these or a filter."},
    )
    filter = Nested(FailedFilter, metadata={"description": "An empty one chooses all."})
    dry_run = Boolean(load_default=False, metadata={"description": "Only report what would happen."})
    cursor = Text(metadata={"description": "`next_cursor` of the call before, with the same filter."})

    @validates_schema
    def _one_choice(self, data: dict[str, Any], **_: Any) -> None:
        if ("ids" in data) == ("filter" in data):
            raise ValidationError("give either ids or a filter", "ids")
        if "ids" in data and "cursor" in data:
            raise ValidationError("goes with a filter only", "cursor")


class RetryBody(_Choice):
    """Say what to send again."""

    force = Boolean(
        load_default=False,
        metadata={"description": "Also what is over seven days old, though Pinterest refuses it."},
    )


class DiscardBody(_Choice):
    """Say what to give up, and why."""

    reason = Text(required=True, validate=length(1, LONGEST_REASON))


class LeftAlone(Shape):
    """Count what was not touched, and say why."""

    reason = Text()
    count = fields.Integer()


class _Done(Shape):
    dry_run = Boolean()
    left_alone = ListOf(Nested(LeftAlone))
    left = fields.Integer(
        metadata={"description": f"Not looked at yet: one call looks at {MOST_A_CALL:,}, at most."}
    )
    next_cursor = Text(allow_none=True, metadata={"description": "Where to go on; null when all is done."})


class RetryAnswer(_Done):
    """Tell what was sent again, or would be."""

    retried = fields.Integer()
    late = fields.Integer()
    offline = fields.Integer()
    warnings = ListOf(Text())
    in_vain = ListOf(
        Nested(LeftAlone),
        metadata={"description": "Those of `retried` that this alone will not deliver, by reason."},
    )


class DiscardAnswer(_Done):
    """Tell what was given up, or would be."""

    discarded = fields.Integer()


class ParkedReason(Shape):
    """Count accepted events that were set aside for one reason."""

    reason = Text()
    events = fields.Integer()
    oldest_at = Timestamp()


class ParkedAnswer(Shape):
    """Tell which accepted events could not be worked on; they are kept whole."""

    events = fields.Integer()
    reasons = ListOf(Nested(ParkedReason))


class UnparkedAnswer(Shape):
    """Tell how many events are worked on again."""

    unparked = fields.Integer()
    left = fields.Integer(metadata={"description": "Still set aside: call again."})
