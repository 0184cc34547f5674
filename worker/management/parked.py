"""Show accepted events that were set aside, and let them go on."""

from dataclasses import asdict
from typing import Any

from flask import g

from worker.ledger import inbox
from worker.management import context
from worker.management.blueprint import Blueprint
from worker.management.failed_shapes import ParkedAnswer, UnparkedAnswer
from worker.stages import parking

blueprint = Blueprint(
    "parked", __name__, url_prefix="/v1/admin", description="Accepted events that could not be worked on"
)


@blueprint.route("/parked")
@blueprint.response(200, ParkedAnswer)
def show() -> dict[str, Any]:
    """Count what was set aside, by reason."""
    with context.ledger().read() as connection:
        groups = inbox.parked(connection)
    return {"events": sum(group.events for group in groups), "reasons": [asdict(group) for group in groups]}


@blueprint.route("/parked/retry", methods=["POST"])
@blueprint.response(200, UnparkedAnswer)
def retry() -> dict[str, Any]:
    """Let what was set aside be worked on again, once what was wrong is mended."""
    return asdict(parking.unpark(context.ledger(), context.clock(), g.actor))
