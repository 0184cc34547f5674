"""Explain what would be sent for an event, and why."""

from typing import Any, Literal

from flask import Response, make_response, render_template, request

from worker.events.envelope import EnvelopeError, decode_json
from worker.events.received import Received
from worker.ledger import sources
from worker.management import context
from worker.management.ui.blueprint import blueprint
from worker.management.ui.forms import Form, texts
from worker.pinterest.options import ConfigError
from worker.stages import explaining

MOST_EVENTS = 100

EXAMPLE = """{
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
# Stands for a visitor's where nobody visits; the address is one that documentation may use.
IP, USER_AGENT = "203.0.113.50", "Mozilla/5.0 (explained)"


@blueprint.get("/explain")
def explain() -> str:
    """Show the form with an example."""
    return _page(Form({"event": EXAMPLE, "channel": "browser"}), [])


@blueprint.post("/explain")
def explain_event() -> Response:
    """Explain what was pasted."""
    form = Form(texts(request.form, ("event", "source_id", "channel")))
    try:
        return make_response(_page(form, _explained(form.values)))
    except (EnvelopeError, LookupError, ConfigError) as error:
        form.problem = str(error)
        return make_response(_page(form, []), 422)


def _explained(given: dict[str, Any]) -> list[dict[str, Any]]:
    channel: Literal["browser", "server"] = "server" if given["channel"] == "server" else "browser"
    received = Received(channel, context.clock(), IP, USER_AGENT)
    events = explaining.written(decode_json(given["event"].encode()))
    if len(events) > MOST_EVENTS:
        raise LookupError(f"At most {MOST_EVENTS} events are explained at once.")
    source_id = given["source_id"]
    where = explaining.places(context.ledger(), source_id, channel) if source_id else [explaining.unnamed()]
    return explaining.explain(events, where, received)


def _page(form: Form, explained: list[dict[str, Any]]) -> str:
    with context.ledger().read() as connection:
        known = list(sources.every(connection))
    return render_template("explain.html", form=form, sources=known, explained=explained)
