"""Show accepted events that were set aside, and process them again."""

from dataclasses import asdict
from typing import Any

from marshmallow import fields

from worker.api import context
from worker.api.blueprint import Blueprint
from worker.api.fields import ListOf, Nested, Shape, Text, Timestamp
from worker.operations.deliveries import failed


class _ParkedReason(Shape):
    """Count accepted events that were set aside for one reason."""

    reason = Text()
    events = fields.Integer()
    oldest_at = Timestamp()


class _ParkedAnswer(Shape):
    """Tell which accepted events could not be worked on; they are kept whole."""

    events = fields.Integer()
    reasons = ListOf(Nested(_ParkedReason))


class _UnparkedAnswer(Shape):
    """Tell how many events are worked on again."""

    unparked = fields.Integer()
    left = fields.Integer(metadata={"description": "Still set aside: call again."})


blueprint = Blueprint(
    "parked", __name__, url_prefix="/v1/admin", description="Accepted events that could not be worked on"
)


@blueprint.route("/parked")
@blueprint.response(200, _ParkedAnswer)
def _get_parked() -> dict[str, Any]:
    """Count the events that were set aside, by reason."""
    groups = failed.list_parked(context.request_caller())
    return {"events": sum(group.events for group in groups), "reasons": [asdict(group) for group in groups]}


@blueprint.route("/parked/retry", methods=["POST"])
@blueprint.response(200, _UnparkedAnswer)
def _post_parked_retry() -> dict[str, Any]:
    """Process events again that were set aside, once the cause is fixed."""
    return asdict(failed.unpark(context.request_caller()))
