"""Find the deliveries of an order, an event or a visitor."""

from dataclasses import asdict
from typing import Any

from marshmallow import fields

from worker.api import context
from worker.api.blueprint import Blueprint
from worker.api.fields import Boolean, ListOf, Nested, Shape, Text, Timestamp, length
from worker.api.shared_fields import TimestampOrNull
from worker.event.problem_texts import problem_text
from worker.operations.deliveries import find


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
    what_to_do = Text(metadata={"description": "Empty if there is nothing to do."})
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


blueprint = Blueprint(
    "find", __name__, url_prefix="/v1/admin", description="The deliveries of an order, an event or a visitor"
)


@blueprint.route("/deliveries")
@blueprint.arguments(_FindQuery, location="query")
@blueprint.response(200, _FoundAnswer)
def _get_deliveries(query: dict[str, Any]) -> dict[str, Any]:
    """Find the deliveries of an order, an event or a visitor, and the newest events that wait to be mapped."""
    matches = find.find_by_id(context.request_caller(), query["find"])
    return {
        "data": [
            asdict(delivery) | {"what_to_do": problem_text(delivery.reason_class).what_to_do}
            for delivery in matches.deliveries
        ],
        "has_more": matches.has_more,
        "waiting": matches.waiting,
    }
