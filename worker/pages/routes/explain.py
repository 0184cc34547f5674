"""Explain what would be sent for an event, and why."""

from typing import Any, Literal

from flask import Response, make_response, render_template, request

from worker.api import context
from worker.event.received import Received
from worker.operations.deliveries import explain as explaining
from worker.operations.deliveries.explain import EXAMPLE_IP, EXAMPLE_USER_AGENT, MOST_EVENTS
from worker.operations.deliveries.selection import all_sources
from worker.operations.errors import InvalidError, OperationError
from worker.pages.base import blueprint
from worker.pages.forms import Form, form_texts, source_choices
from worker.pages.words import as_sentence

_EXAMPLE = """{
  "type": "track",
  "event": "Order Completed",
  "properties": {
    "order_id": "ORD-001",
    "total": 129.99,
    "currency": "USD",
    "products": [
      {"product_id": "SKU-A", "name": "Widget", "price": 49.99, "quantity": 2},
      {"product_id": "SKU-B", "name": "Gadget", "price": 30.01, "quantity": 1}
    ]
  },
  "context": {"consent": {"advertising": true}, "page": {"url": "https://example.com/checkout?epik=epik_abc123"}}
}"""


@blueprint.get("/explain")
def _explain_page() -> str:
    """Show the form with an example."""
    return _page(Form({"event": _EXAMPLE, "channel": "browser"}), [])


@blueprint.post("/explain")
def _post_explain_form() -> Response:
    """Explain the pasted event."""
    form = Form(form_texts(request.form, ("event", "source_id", "channel")))
    try:
        return make_response(_page(form, _explain_events(form.values)))
    except OperationError as error:
        form.problem = as_sentence(error.message)
        return make_response(_page(form, []), 422)


def _explain_events(values: dict[str, Any]) -> list[dict[str, Any]]:
    channel: Literal["browser", "server"] = "server" if values["channel"] == "server" else "browser"
    received = Received(channel, context.now(), EXAMPLE_IP, EXAMPLE_USER_AGENT)
    events = explaining.parse_events(values["event"].encode())
    if len(events) > MOST_EVENTS:
        raise InvalidError("event", f"must be at most {MOST_EVENTS} events")
    return explaining.explain(
        context.request_caller(), events, received, source_id=values["source_id"] or None
    )


def _page(form: Form, explanations: list[dict[str, Any]]) -> str:
    choices = source_choices(all_sources(context.request_caller()))
    return render_template("explain.html", form=form, sources=choices, explained=explanations)
