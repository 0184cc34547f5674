"""Show which identifiers came with events, and what would improve the match."""

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise

from flask import render_template, request

from worker.api import context
from worker.ledger.reports.match_quality_counts import Quality
from worker.ledger.reports.tallies import SECONDS_A_DAY, SECONDS_PER_HOUR
from worker.ledger.setup.integrations import Integration
from worker.operations.reports.match_quality import report_quality, report_scores, summarise_checkouts
from worker.pages import charts
from worker.pages.base import blueprint

_SPANS = {"24h": ("24 hours", 24), "7d": ("7 days", 7 * 24), "30d": ("30 days", 30 * 24)}

# The identifiers of the payload, as people know them.
_IDENTIFIERS = {
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
_OF_PINTEREST = {
    "click_id": "Click on an ad (epik), as click_id",
    "partner_id": "partner_id",
    "external_id": "Your id of the visitor, or the browser (_pin_unauth), hashed",
}
# These are shown even where none came, as far as the field mapping sends them.
_ALWAYS_SHOWN = frozenset({"em", "ip_ua", "click_id", "partner_id", "external_id"})


@blueprint.get("/quality")
def _quality_page() -> str:
    """Show the match quality by integration and event name."""
    key = request.args.get("span", "")
    key = key if key in _SPANS else "7d"
    label, hours = _SPANS[key]
    caller = context.request_caller()
    # The current hour is one of them.
    since = caller.now - (hours - 1) * SECONDS_PER_HOUR
    rows = report_quality(caller, since).rows
    return render_template(
        "match_quality.html",
        checkouts=summarise_checkouts(caller, since, rows),
        accounts=report_scores(caller),
        # What a shop has most of matters most, and its orders above all.
        rows=sorted(rows, key=lambda row: (row.event_name != "checkout", -row.quality.events)),
        names=_identifier_names,
        trend=_trend,
        today=int(caller.now // SECONDS_A_DAY),
        span=key,
        spans=_SPANS,
        label=label,
        charts=charts,
    )


def _identifier_names(integration: Integration | None, quality: Quality) -> dict[str, str]:
    """Return the identifiers to show: those that events had, and those that would help."""
    pinterests = integration is not None and integration.config.get("field_mapping") == "pinterest"
    names = _IDENTIFIERS | _OF_PINTEREST if pinterests else _IDENTIFIERS
    always = _ALWAYS_SHOWN - {"partner_id"} if pinterests else _ALWAYS_SHOWN
    return {key: name for key, name in names.items() if key in always or quality.identifiers[key]}


def _trend(by_day: Mapping[int, str]) -> str:
    """Say when a status changed last."""
    days = sorted(by_day)
    for before, after in reversed(list(pairwise(days))):
        if by_day[before] != by_day[after]:
            on = datetime.fromtimestamp(after * SECONDS_A_DAY, UTC).strftime("%Y-%m-%d")
            return f"{by_day[before]} until {by_day[after]} on {on}"
    return f"{by_day[days[-1]]} on all days that were read: {len(days)}"
