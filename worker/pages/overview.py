"""Show the overview and the search."""

from flask import render_template, request

from worker.alerts import rules
from worker.api import context
from worker.operations.deliveries.search import SearchResult
from worker.operations.deliveries.search import search as search_ledger
from worker.operations.reports.first_steps import list_steps
from worker.operations.reports.overview import Overview, show_overview
from worker.pages import charts
from worker.pages.base import blueprint

_REFRESH_SECONDS = 5
# This many deliveries are read in a fraction of a second.
_READ_AT_ONCE = 100_000


@blueprint.get("/")
def _overview_page() -> str:
    """Show the overview, with the steps of the setup until all are done. It refreshes automatically."""
    steps = list_steps(context.request_caller())
    return render_template("overview.html", every=_REFRESH_SECONDS, steps=steps, **_figures())


@blueprint.get("/first-steps")
def _first_steps_page() -> str:
    """Show the steps of the setup, also when all are done."""
    return render_template("first_steps.html", steps=list_steps(context.request_caller()))


@blueprint.get("/overview/figures")
def _overview_part() -> str:
    """Render the part of the overview that refreshes."""
    return render_template("_overview.html", **_figures())


@blueprint.get("/search")
def _search_page() -> str:
    """Find an order, an event or a visitor, in whatever state; a visitor first among the newest deliveries."""
    asked = request.args.get("q", "").strip()[:256]
    newest = None if request.args.get("all") else _READ_AT_ONCE
    result = search_ledger(context.request_caller(), asked, newest) if asked else SearchResult()
    return render_template("search.html", asked=asked, result=result, found=result.deliveries, newest=newest)


def _figures() -> dict[str, object]:
    span = charts.SPANS.get(request.args.get("span", ""), charts.SPANS["24h"])
    shown = show_overview(context.request_caller(), span, request.args.get("account"))
    return {
        **{name: getattr(shown, name) for name in Overview.__slots__},
        "span": span,
        "spans": charts.SPANS.values(),
        "charts": charts,
        "advice": rules.advice,
    }
