"""Explain what would be sent for an event, and why."""

from typing import Any

from worker.events.received import Received
from worker.management import context
from worker.management.blueprint import Blueprint
from worker.management.explain_shapes import ExplainAnswer, ExplainBody
from worker.operations import explaining

blueprint = Blueprint("explain", __name__, url_prefix="/v1/admin", description="What would be sent, and why")


@blueprint.route("/explain", methods=["POST"])
@blueprint.arguments(ExplainBody)
@blueprint.response(200, ExplainAnswer)
def explain(body: dict[str, Any]) -> dict[str, Any]:
    """Show step by step what delivery would make of events; nothing is stored and nothing is sent."""
    received = Received(
        channel=body["channel"],
        received_at=context.clock(),
        ip=body["ip"],
        user_agent=body["user_agent"],
        pin_unauth=body["pin_unauth"],
        epik=body["epik"],
    )
    explained = explaining.explain(
        context.caller(),
        [body["event"]] if "event" in body else body["events"],
        received,
        source_id=body.get("source_id"),
        show_personal=body["show_personal"],
        path="event" if "event" in body else "events.{}",
    )
    return {"data": explained}
