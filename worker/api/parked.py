"""Show accepted events that were set aside, and let them go on."""

from dataclasses import asdict
from typing import Any

from worker.api import context
from worker.api.blueprint import Blueprint
from worker.api.failed import ParkedAnswer, UnparkedAnswer
from worker.operations.deliveries import failed

blueprint = Blueprint(
    "parked", __name__, url_prefix="/v1/admin", description="Accepted events that could not be worked on"
)


@blueprint.route("/parked")
@blueprint.response(200, ParkedAnswer)
def get_parked() -> dict[str, Any]:
    """Count the events that were set aside, by reason."""
    groups = failed.list_parked(context.request_caller())
    return {"events": sum(group.events for group in groups), "reasons": [asdict(group) for group in groups]}


@blueprint.route("/parked/retry", methods=["POST"])
@blueprint.response(200, UnparkedAnswer)
def post_parked_retry() -> dict[str, Any]:
    """Process events again that were set aside, once the cause is fixed."""
    return asdict(failed.unpark(context.request_caller()))
