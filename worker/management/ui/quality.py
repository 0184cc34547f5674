"""Show which identifiers came with events, and what would improve the match."""

from dataclasses import dataclass

from flask import render_template, request

from worker.ledger import integrations
from worker.ledger import quality as store
from worker.ledger.quality import Quality
from worker.ledger.tallies import SECONDS_AN_HOUR
from worker.management import context
from worker.management.ui import charts
from worker.management.ui.blueprint import blueprint
from worker.stages.advice import advise

MOST_INTEGRATIONS = 1_000
SPANS = {"24h": ("24 hours", 24), "7d": ("7 days", 7 * 24), "30d": ("30 days", 30 * 24)}

# What an identifier's name in the payload stands for; the first ones are shown even where none came.
IDENTIFIERS = {
    "em": "E-mail, hashed",
    "ip_ua": "IP address and user agent",
    "click_id": "click_id: a click or a browser",
    "partner_id": "partner_id: a click on an ad",
    "external_id": "Your id of the visitor, hashed",
    "ph": "Phone, hashed",
    "hashed_maids": "Mobile advertising id, hashed",
    "fn": "First name, hashed",
    "ln": "Last name, hashed",
    "ge": "Gender, hashed",
    "db": "Date of birth, hashed",
    "ct": "City, hashed",
    "st": "State, hashed",
    "zp": "Post code, hashed",
    "country": "Country, hashed",
}
ALWAYS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Row:
    """Hold the quality of one event name of one integration."""

    integration: str
    event_name: str
    quality: Quality
    advice: list[str]


@blueprint.get("/quality")
def quality() -> str:
    """Show the match quality by integration and event name."""
    key = request.args.get("span", "")
    key = key if key in SPANS else "7d"
    label, hours = SPANS[key]
    since = int(context.clock() // SECONDS_AN_HOUR) - hours + 1
    with context.ledger().read() as connection:
        names = {one.id: one.name for one in integrations.page(connection, MOST_INTEGRATIONS)}
        found = store.read(connection, since)
    rows = [
        Row(names.get(one.integration_id or "", "a deleted integration"), one.event_name, read, advise(read))
        for one, read in found.items()
    ]
    return render_template(
        "quality.html",
        rows=rows,
        identifiers=IDENTIFIERS,
        always=ALWAYS_SHOWN,
        span=key,
        spans=SPANS,
        label=label,
        charts=charts,
    )
