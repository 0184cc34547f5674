"""Show at a glance how everything does, and find what somebody asks for."""

from collections import Counter

from flask import render_template, request

from worker.alerts import rules
from worker.ledger import alerts, standing
from worker.management import context
from worker.management.ui import charts, figures
from worker.management.ui.blueprint import blueprint
from worker.stages import searching

REFRESH_SECONDS = 5


@blueprint.get("/")
def overview() -> str:
    """Show the overview; it refreshes by itself."""
    return render_template("overview.html", every=REFRESH_SECONDS, **_figures())


@blueprint.get("/overview/figures")
def overview_figures() -> str:
    """Give the part of the overview that changes."""
    return render_template("_figures.html", **_figures())


@blueprint.get("/search")
def search() -> str:
    """Find an order, an event or a visitor, in whatever state."""
    asked = request.args.get("q", "").strip()[:256]
    ledger = context.ledger()
    return render_template(
        "search.html",
        asked=asked,
        found=searching.search(ledger, asked) if asked else [],
        waiting=searching.search_inbox(ledger, asked) if asked else [],
    )


def _figures() -> dict[str, object]:
    span = charts.SPANS.get(request.args.get("span", ""), charts.SPANS["24h"])
    now = context.clock()
    with context.ledger().snapshot() as connection:
        accounts = figures.by_account(connection, span, now)
        chosen = [one for one in accounts if one.ad_account_id == request.args.get("account")]
        numbers = [one.number for account in chosen for one in account.integrations] if chosen else None
        moved = figures.steps(connection, span, now, numbers)
        inbox_since = standing.inbox_since(connection)
        firing = alerts.firing(connection)
    return {
        "span": span,
        "spans": charts.SPANS.values(),
        "accounts": accounts,
        "account": chosen[0].ad_account_id if chosen else None,
        "bars": figures.bars(moved),
        "paces": figures.paces(moved),
        "total_pace": figures.pace(0.0, sum(moved.values(), Counter())),
        "inbox_since": inbox_since,
        "charts": charts,
        "alerts": firing,
        "advice": rules.advice,
    }
