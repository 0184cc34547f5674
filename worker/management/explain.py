"""Explain what would be sent for an event, and why."""

from collections.abc import Mapping, Sequence
from typing import Any

from flask import g

from worker.events.envelope import EnvelopeError, check_envelope
from worker.events.received import Received
from worker.ledger import audit
from worker.management import context
from worker.management.blueprint import Blueprint
from worker.management.errors import ApiError, invalid
from worker.management.explain_shapes import ExplainAnswer, ExplainBody
from worker.pinterest.options import ConfigError
from worker.stages import explaining
from worker.stages.explaining import Place

blueprint = Blueprint("explain", __name__, url_prefix="/v1/admin", description="What would be sent, and why")


@blueprint.route("/explain", methods=["POST"])
@blueprint.arguments(ExplainBody)
@blueprint.response(200, ExplainAnswer)
def explain(body: dict[str, Any]) -> dict[str, Any]:
    """Show step by step what delivery would make of events; nothing is stored and nothing is sent."""
    events = _events(body)
    where = _places(body)
    received = Received(
        channel=body["channel"],
        received_at=context.clock(),
        ip=body["ip"],
        user_agent=body["user_agent"],
        pin_unauth=body["pin_unauth"],
        epik=body["epik"],
    )
    if body["show_personal"]:
        _tell(body.get("source_id"), len(events))
    explained = explaining.explain(
        events,
        where,
        received,
        show_personal=body["show_personal"],
    )
    return {"data": explained}


def _events(body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the events, each of which is one; the first that is not is named by its place."""
    events: Sequence[Mapping[str, Any]] = body["events"] if "events" in body else [body["event"]]
    for index, event in enumerate(events):
        path = f"events.{index}" if "events" in body else "event"
        try:
            check_envelope(event)
        except EnvelopeError as error:
            raise invalid(f"{path}.{error.field}", error.message) from None
    return events


def _places(body: Mapping[str, Any]) -> list[Place]:
    source_id = body.get("source_id")
    if source_id is None:
        return [explaining.unnamed()]
    try:
        return explaining.places(context.ledger(), source_id, body["channel"])
    except LookupError:
        raise invalid("source_id", f"there is no source {source_id}") from None
    except ConfigError as error:
        raise ApiError(409, f"An integration of {source_id} cannot be read: {error}") from None


def _tell(source_id: str | None, events: int) -> None:
    told = {"events": [None, events]}
    with context.caller().changing() as change:
        audit.write(
            change.connection, change.now, g.actor, "explain.show_personal", source_id or "no source", told
        )
