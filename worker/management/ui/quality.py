"""Show which identifiers came with events, and what would improve the match."""

from collections.abc import Sequence
from dataclasses import dataclass

from flask import render_template, request

from worker.ledger.quality import Quality
from worker.ledger.tallies import SECONDS_AN_HOUR
from worker.management import context
from worker.management.ui import charts
from worker.management.ui.blueprint import blueprint
from worker.operations.reports import QualityRow, report_quality

SPANS = {"24h": ("24 hours", 24), "7d": ("7 days", 7 * 24), "30d": ("30 days", 30 * 24)}

# What an identifier's name in the payload stands for.
IDENTIFIERS = {
    "em": "E-mail, hashed",
    "ip_ua": "IP address and user agent",
    "click_id": "Browser (_pin_unauth), as click_id",
    "partner_id": "Click on an ad (epik), as partner_id",
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
# What the field mapping "pinterest" sends under some of these names.
OF_PINTEREST = {
    "click_id": "Click on an ad (epik), as click_id",
    "partner_id": "partner_id",
    "external_id": "Your id of the visitor, or the browser (_pin_unauth), hashed",
}
# These are shown even where none came, as far as the field mapping sends them.
ALWAYS_SHOWN = frozenset({"em", "ip_ua", "click_id", "partner_id", "external_id"})


@dataclass(frozen=True, slots=True)
class Row:
    """Hold the quality of one event name of one integration."""

    integration: str
    event_name: str
    quality: Quality
    advice: Sequence[str]
    field_mapping: str

    @property
    def names(self) -> dict[str, str]:
        """Say what each identifier is that came, or that would help."""
        pinterests = self.field_mapping == "pinterest"
        names = IDENTIFIERS | OF_PINTEREST if pinterests else IDENTIFIERS
        always = ALWAYS_SHOWN - {"partner_id"} if pinterests else ALWAYS_SHOWN
        return {key: name for key, name in names.items() if key in always or self.quality.identifiers[key]}


@blueprint.get("/quality")
def quality() -> str:
    """Show the match quality by integration and event name."""
    key = request.args.get("span", "")
    key = key if key in SPANS else "7d"
    label, hours = SPANS[key]
    caller = context.caller()
    # The current hour is one of them.
    report = report_quality(caller, caller.now - (hours - 1) * SECONDS_AN_HOUR)
    return render_template(
        "quality.html",
        rows=[_row(row) for row in report.rows],
        span=key,
        spans=SPANS,
        label=label,
        charts=charts,
    )


def _row(row: QualityRow) -> Row:
    its = row.integration
    return Row(
        integration=its.name if its else "a deleted integration",
        event_name=row.event_name,
        quality=row.quality,
        advice=row.advice,
        field_mapping=(its.config.get("field_mapping") if its else None) or "signal",
    )
