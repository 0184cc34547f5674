"""Watch deliveries as they come, and look at one of them closely."""

import json
from dataclasses import dataclass
from typing import Any

from flask import render_template, request
from sqlalchemy import Connection

from worker.ledger import debugging, failures, finding, integrations, sources
from worker.ledger.debugging import Input
from worker.ledger.deliveries import PAYLOAD
from worker.ledger.failures import Failure, Filter
from worker.ledger.finding import Found
from worker.ledger.vault import SealError
from worker.management import context
from worker.management.errors import not_found
from worker.management.ui.blueprint import blueprint
from worker.management.ui.debugging import of_delivery
from worker.management.ui.masking import masked

REFRESH_SECONDS = 3
MOST_SHOWN = 50
# Ids are handed out in order, so that the newest are the ones just below the highest; a filter looks deeper.
MOST_LOOKED_AT = 1_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Choose which of the newest deliveries are shown; what is empty chooses all."""

    stands: str = ""
    name: str = ""
    text: str = ""
    source_id: str = ""

    def fits(self, found: Found) -> bool:
        """Tell whether a delivery is one of them."""
        names = (found.event_name, found.source_name)
        return (
            self.stands in ("", found.stands)
            and self.source_id in ("", found.source_id)
            and (not self.name or self.name.casefold() in [name.casefold() for name in names])
            and self.text in found.event_id
        )

    def takes(self, kept: Input) -> bool:
        """Tell whether an event that was kept as it came in is one of them; it has no state of its own."""
        named = not self.name or self.name.casefold() == kept.name.casefold()
        return named and not self.stands and self.text in kept.event_id


@blueprint.get("/events")
def events() -> str:
    """Show the newest deliveries; the list refreshes by itself."""
    return render_template("events.html", every=REFRESH_SECONDS, **_newest())


@blueprint.get("/events/newest")
def newest_events() -> str:
    """Give the part of the page that changes."""
    return render_template("_events.html", **_newest())


@blueprint.get("/events/<int:number>")
def event(number: int) -> str:
    """Show one delivery in its stages; what is sent is opened on request, personal data masked."""
    with context.ledger().read() as connection:
        found = finding.by_ids(connection, [number]) if number < 2**63 else []
        if not found:
            raise not_found("delivery", str(number))
        failure = _failure(connection, number)
        tries = failures.history(connection, failure.batch_id) if failure and failure.batch_id else []
        its = integrations.find(connection, found[0].integration_id) if found[0].integration_id else None
    came = of_delivery(found[0].source_id, found[0].event_id)
    # Whoever debugs wants to see all of it.
    is_open = came is not None or request.args.get("payload") == "open"
    return render_template(
        "event.html",
        one=found[0],
        integration_name=its.name if its else "",
        failure=failure,
        tries=tries,
        came=came,
        payload=_payload(number) if is_open else None,
        is_open=is_open,
    )


def _newest() -> dict[str, Any]:
    given = {name: request.args.get(name, "").strip()[:256] for name in Wanted.__slots__}
    wanted, now = Wanted(**given), context.clock()
    with context.ledger().read() as connection:
        known = list(sources.every(connection))
        newest = finding.newest_id(connection)
        found = finding.after(connection, newest - MOST_LOOKED_AT, MOST_LOOKED_AT)
        kept = debugging.newest(connection, now, debugging.MOST_KEPT, wanted.source_id)
    return {
        "given": given,
        "sources": known,
        "source_names": {one.id: one.name for one in known},
        "debugged": [one for one in known if one.debug_until > now],
        "found": [one for one in reversed(found) if wanted.fits(one)][:MOST_SHOWN],
        "kept": [one for one in kept if wanted.takes(one)][:MOST_SHOWN],
        "lasts_minutes": debugging.LASTS_SECONDS // 60,
        "most_kept": debugging.MOST_KEPT,
    }


def _failure(connection: Connection, number: int) -> Failure | None:
    return next(iter(failures.page(connection, Filter(ids=(number,)), 1)), None)


def _payload(number: int) -> str:
    with context.ledger().read() as connection:
        sealed = failures.payload(connection, number)
    if sealed is None:
        return ""
    try:
        opened = context.ledger().vault.open(sealed, PAYLOAD)
    except SealError as error:
        return f"The payload cannot be opened: {error}."
    return json.dumps(masked(json.loads(opened)), indent=2, ensure_ascii=False)
