"""List the newest deliveries and show one in detail."""

from typing import Any

from flask import render_template, request
from werkzeug.wrappers import Response as AnyResponse

from worker.api import context
from worker.ledger.intake.debug_inputs import DEBUG_SECONDS, MAX_INPUTS
from worker.operations.deliveries import events as operations
from worker.operations.deliveries.events import EventFilter
from worker.operations.setup.sources import switch_debugging
from worker.pages.base import blueprint, redirect_to

_REFRESH_SECONDS = 3


@blueprint.get("/events")
def events_page() -> str:
    """List the newest deliveries. The list refreshes automatically."""
    return render_template("events.html", every=_REFRESH_SECONDS, **_newest())


@blueprint.get("/events/newest")
def events_part() -> str:
    """Render the part of the page that refreshes."""
    return render_template("_events.html", **_newest())


@blueprint.get("/events/<int:number>")
def event_page(number: int) -> str:
    """Show one delivery in its stages. The payload is shown on request, with personal data masked."""
    is_open = request.args.get("payload") == "open"
    detail = operations.get_event(context.request_caller(), number, with_payload=is_open)
    return render_template("event.html", detail=detail, one=detail.delivery, came=detail.came)


@blueprint.get("/events/inputs/<int:number>")
def event_input_page(number: int) -> str:
    """Show one event as received, its decisions and its deliveries."""
    kept, source, found = operations.get_kept_event(context.request_caller(), number)
    return render_template("event_input.html", one=kept, source=source, found=found)


@blueprint.post("/sources/<source_id>/debugging")
def post_debugging(source_id: str) -> AnyResponse:
    """Turn debugging of a source on or off."""
    on = request.form.get("on") == "yes"
    switch_debugging(context.request_caller(), source_id, on=on)
    return redirect_to("ui.events_page", "debugging" if on else "debugging-ended", source_id=source_id)


def _newest() -> dict[str, Any]:
    given = {name: request.args.get(name, "").strip()[:256] for name in EventFilter.__slots__}
    newest = operations.list_newest(context.request_caller(), EventFilter(**given))
    return {
        "given": given,
        "sources": newest.sources,
        "source_names": {source.id: source.name for source in newest.sources},
        "debugged": newest.debugged,
        "found": newest.found,
        "kept": newest.kept,
        "lasts_minutes": DEBUG_SECONDS // 60,
        "most_kept": MAX_INPUTS,
    }
