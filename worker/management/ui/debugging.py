"""Switch debugging on and off, and show what came in meanwhile."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import render_template, request
from werkzeug.wrappers import Response as AnyResponse

from worker.ledger import debugging, finding, sources
from worker.ledger.debugging import MOST_KEPT, Input
from worker.ledger.vault import SealError
from worker.management import context
from worker.management.errors import not_found
from worker.management.ui.blueprint import blueprint, done
from worker.management.ui.masking import masked_event
from worker.operations.sources import switch_debugging
from worker.stages.debugging import Decision, opened

MOST_DELIVERIES = 50


@dataclass(frozen=True, slots=True)
class Shown:
    """Hold what a page shows of an event that was kept: masked, with each decision about it."""

    kept: Input
    event: Any
    received: Mapping[str, Any]
    decisions: list[Decision]
    problem: str = ""

    def decided(self, integration_id: str | None) -> Decision | None:
        """Return what one integration decided."""
        return next((one for one in self.decisions if one.integration_id == integration_id), None)


@blueprint.post("/sources/<source_id>/debugging")
def debug_source(source_id: str) -> AnyResponse:
    """Keep what comes in from a source for a while, or no longer."""
    on = request.form.get("on") == "yes"
    switch_debugging(context.caller(), source_id, on=on)
    return done("ui.events", "debugging" if on else "debugging-ended", source_id=source_id)


@blueprint.get("/events/inputs/<int:number>")
def event_input(number: int) -> str:
    """Show one event as it came in, what was decided, and where its deliveries stand."""
    now = context.clock()
    with context.ledger().read() as connection:
        kept = debugging.find(connection, number, now) if number < 2**63 else None
        if kept is None:
            raise not_found("kept event", str(number))
        source = sources.find(connection, kept.source_id)
        found = finding.of_event(connection, kept.event_id, MOST_DELIVERIES)
    mine = [one for one in found if one.source_id == kept.source_id]
    return render_template("event_input.html", one=show(kept), source=source, found=mine, most=MOST_KEPT)


def of_delivery(source_id: str | None, event_id: str) -> Shown | None:
    """Return the event that a delivery was made of, where it was kept."""
    if source_id is None:
        return None
    with context.ledger().read() as connection:
        kept = debugging.of_event(connection, source_id, event_id, context.clock())
    return show(kept) if kept else None


def show(kept: Input) -> Shown:
    """Open and mask what was kept."""
    try:
        seen = opened(context.ledger().vault, kept)
    except SealError as error:
        return Shown(kept, None, {}, [], f"What came in cannot be opened: {error}.")
    received = seen.received
    how = {
        "channel": received.channel,
        "ip": received.ip,
        "userAgent": received.user_agent,
        "cookies": {
            "anonymousId": received.dfid,
            "_pin_unauth": received.pin_unauth,
            "_epik": received.epik,
        },
    }
    return Shown(kept, masked_event(seen.event), masked_event(how), seen.decisions)
