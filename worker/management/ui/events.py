"""Watch deliveries as they come, and look at one of them closely."""

import json
from dataclasses import dataclass
from typing import Any

from flask import render_template, request
from sqlalchemy import Connection

from worker.ledger import failures, finding
from worker.ledger.deliveries import PAYLOAD
from worker.ledger.failures import Failure, Filter
from worker.ledger.finding import Found
from worker.ledger.vault import SealError
from worker.management import context
from worker.management.errors import not_found
from worker.management.ui.blueprint import blueprint
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

    def fits(self, found: Found) -> bool:
        """Tell whether a delivery is one of them."""
        names = (found.event_name, found.source_name)
        return (
            self.stands in ("", found.stands)
            and (not self.name or self.name.casefold() in [name.casefold() for name in names])
            and self.text in found.event_id
        )


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
    is_open = request.args.get("payload") == "open"
    payload = _payload(number) if is_open else None
    return render_template(
        "event.html", one=found[0], failure=failure, tries=tries, payload=payload, is_open=is_open
    )


def _newest() -> dict[str, Any]:
    given = {name: request.args.get(name, "").strip()[:256] for name in ("stands", "name", "text")}
    wanted = Wanted(**given)
    with context.ledger().read() as connection:
        newest = finding.newest_id(connection)
        found = finding.after(connection, newest - MOST_LOOKED_AT, MOST_LOOKED_AT)
    fitting = [one for one in reversed(found) if wanted.fits(one)]
    return {"wanted": wanted, "given": given, "found": fitting[:MOST_SHOWN]}


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
