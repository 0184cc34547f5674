"""Explain what would be sent for an event, and why."""

from typing import Any

from marshmallow import ValidationError, fields, validates_schema

from worker.api import context
from worker.api.blueprint import Blueprint
from worker.api.fields import Boolean, ListOf, Nested, Object, Shape, Text, at_most, length, one_of_words
from worker.event.received import Received
from worker.operations.deliveries import explain as explaining
from worker.operations.deliveries.explain import EXAMPLE_IP, EXAMPLE_USER_AGENT, MOST_EVENTS


class _ExplainBody(Shape):
    """Hold events of one visitor, in order, and how they would come in."""

    event = Object(metadata={"description": "As the collector takes it. Either this or events."})
    events = ListOf(Object(), validate=at_most(MOST_EVENTS, "events"))
    source_id = Text(metadata={"description": "Without it, for an integration with default settings."})
    channel = Text(load_default="browser", validate=one_of_words("browser", "server"))
    ip = Text(load_default=EXAMPLE_IP, allow_none=True, validate=length(0, 64))
    user_agent = Text(load_default=EXAMPLE_USER_AGENT, allow_none=True, validate=length(0, 2048))
    pin_unauth = Text(load_default=None, validate=length(0, 512))
    epik = Text(load_default=None, validate=length(0, 512))
    show_personal = Boolean(
        load_default=False, metadata={"description": "Show values as they came, which the log tells."}
    )

    @validates_schema
    def _one_of_them(self, data: dict[str, Any], **_: Any) -> None:
        if ("event" in data) == ("events" in data):
            raise ValidationError("give either event or events", "event")


class _Decision(Shape):
    """Show one decision."""

    step = Text()
    text = Text()


class _Outcome(Shape):
    """Show what would become of an event; what does not apply is left out."""

    outcome = Text(validate=one_of_words("sent", "failed", "filtered", "dropped"))
    event_name = Text(allow_none=True)
    event_id = Text()
    event_time = fields.Integer(allow_none=True)
    action_source = Text()
    source_name = Text()
    custom_event_name = Text(allow_none=True)
    reason_class = Text()
    reason = Text()
    late = Boolean()
    offline = Boolean()
    computed = ListOf(Text())
    warnings = ListOf(Text())
    identifiers = ListOf(Text())
    payload = Object(allow_none=True, metadata={"description": "What Pinterest would get."})


class _Result(Shape):
    """Show what one integration would make of an event."""

    integration = Text()
    lines = ListOf(Nested(_Decision), metadata={"description": "Every decision, in order."})
    outcomes = ListOf(
        Nested(_Outcome), metadata={"description": "Empty if the event only describes its visitor."}
    )


class _Explained(Shape):
    """Show what all integrations would make of an event."""

    type = Text()
    name = Text(allow_none=True)
    results = ListOf(Nested(_Result))


class _ExplainAnswer(Shape):
    """Show what would become of each event."""

    data = ListOf(Nested(_Explained))


blueprint = Blueprint("explain", __name__, url_prefix="/v1/admin", description="What would be sent, and why")


@blueprint.route("/explain", methods=["POST"])
@blueprint.arguments(_ExplainBody)
@blueprint.response(200, _ExplainAnswer)
def _post_explain(body: dict[str, Any]) -> dict[str, Any]:
    """Explain step by step what would be sent for events. Nothing is stored or sent."""
    received = Received(
        channel=body["channel"],
        received_at=context.now(),
        ip=body["ip"],
        user_agent=body["user_agent"],
        pin_unauth=body["pin_unauth"],
        epik=body["epik"],
    )
    explanations = explaining.explain(
        context.request_caller(),
        [body["event"]] if "event" in body else body["events"],
        received,
        source_id=body.get("source_id"),
        show_personal=body["show_personal"],
        path="event" if "event" in body else "events.{}",
    )
    return {"data": explanations}
