"""List deliveries, the newest first unless asked otherwise, and show one in detail."""

from collections.abc import Mapping
from typing import Any

from flask import render_template, request
from werkzeug.wrappers import Response as AnyResponse

from worker.api import context
from worker.event.times import iso
from worker.ledger.intake.debug_inputs import DEBUG_SECONDS, MAX_INPUTS
from worker.operations.deliveries import live_debugger as operations
from worker.operations.deliveries.live_debugger import DeliveryFilter
from worker.operations.errors import InvalidError
from worker.operations.setup.sources import switch_debugging
from worker.pages.base import blueprint, redirect_to
from worker.pages.forms import source_choices
from worker.pages.words import STATES, as_sentence

_REFRESH_SECONDS = 3
_DAY_SECONDS = 86_400


@blueprint.get("/events")
def _events_page() -> str:
    """List the chosen deliveries. The newest ones refresh automatically."""
    return render_template("live_debugger.html", every=_REFRESH_SECONDS, **_page_values())


@blueprint.get("/events/newest")
def _events_part() -> str:
    """Render the part of the page that refreshes."""
    return render_template("live_debugger.html", is_part=True, **_page_values())


@blueprint.get("/events/<int:number>")
def _event_page(number: int) -> str:
    """Show one delivery in its stages. The payload is shown on request, with personal data masked."""
    is_open = request.args.get("payload") == "open"
    detail = operations.get_delivery(context.request_caller(), number, with_payload=is_open)
    return render_template(
        "live_debugger_delivery.html", detail=detail, one=detail.delivery, came=detail.came
    )


@blueprint.get("/events/inputs/<int:number>")
def _event_input_page(number: int) -> str:
    """Show one event as received, its decisions and its deliveries."""
    row, source, deliveries = operations.get_debug_input(context.request_caller(), number)
    return render_template("live_debugger_input.html", one=row, source=source, found=deliveries)


@blueprint.post("/sources/<source_id>/debugging")
def _post_debugging(source_id: str) -> AnyResponse:
    """Turn debugging of a source on or off."""
    on = request.form.get("on") == "yes"
    switch_debugging(context.request_caller(), source_id, on=on)
    return redirect_to("ui.events_page", "debugging" if on else "debugging-ended", source_id=source_id)


def _page_values() -> dict[str, Any]:
    parameters = {
        name: request.args.get(name, "").strip()[:256] for name in map(_parameter, DeliveryFilter.__slots__)
    }
    try:
        result, problem = operations.list_deliveries(context.request_caller(), _filter(parameters)), ""
    except InvalidError as error:
        parameters |= dict.fromkeys(error.errors, "")
        result, problem = (
            operations.list_deliveries(context.request_caller(), _filter(parameters)),
            as_sentence(error.message),
        )
    return {
        "given": parameters,
        "problem": problem,
        "is_live": _filter(parameters).is_live,
        "views": _views(context.now()),
        "filters": {name: value for name, value in parameters.items() if value and name != "cursor"},
        "sources": result.sources,
        "source_choices": source_choices(result.sources),
        "states": [(key, name) for key, (name, _) in STATES.items()],
        "debugged": result.debugged,
        "found": result.found,
        "order_ids": result.order_ids,
        "with_values": True,
        "cursor": result.cursor,
        "looked_until": result.looked_until,
        "kept": result.kept,
        "lasts_minutes": DEBUG_SECONDS // 60,
        "most_kept": MAX_INPUTS,
    }


def _parameter(field: str) -> str:
    """Return the name that a field of the filter has in the page's address."""
    return "stands" if field == "state" else field


def _filter(parameters: Mapping[str, str]) -> DeliveryFilter:
    return DeliveryFilter(**{field: parameters[_parameter(field)] for field in DeliveryFilter.__slots__})


def _views(now: float) -> list[tuple[str, int, dict[str, str]]]:
    """Return often used filters: name, days before today, and filter. Its address can be kept as a bookmark.

    Days are in UTC; `ui.js` takes those of the viewer's zone.
    """
    today, yesterday = (iso(now - days * _DAY_SECONDS)[:10] for days in (0, 1))
    return [
        ("Orders today", 0, {"name": "checkout", "since": f"{today}T00:00"}),
        ("Failed today", 0, {"stands": "failed", "since": f"{today}T00:00"}),
        ("Without consent today", 0, {"stands": "filtered", "since": f"{today}T00:00"}),
        (
            "Orders yesterday",
            1,
            {"name": "checkout", "since": f"{yesterday}T00:00", "until": f"{today}T00:00"},
        ),
    ]
