"""Show the overview."""

from flask import render_template, request

from worker.alerts import rules
from worker.api import context
from worker.operations.reports.first_steps import list_steps
from worker.operations.reports.overview import Overview, Span, show_overview
from worker.pages import charts
from worker.pages.base import blueprint

_SPANS = {
    span.key: span
    for span in (
        Span("1h", "1 hour", 60, 60),
        Span("24h", "24 hours", 24, 3_600),
        Span("7d", "7 days", 28, 6 * 3_600),
        Span("30d", "30 days", 30, 86_400),
    )
}

_REFRESH_SECONDS = 5


@blueprint.get("/")
def _overview_page() -> str:
    """Show the overview, with the steps of the setup until all are done. It refreshes automatically."""
    steps = list_steps(context.request_caller())
    return render_template("overview.html", every=_REFRESH_SECONDS, steps=steps, **_figures())


@blueprint.get("/overview/figures")
def _overview_part() -> str:
    """Render the part of the overview that refreshes."""
    return render_template("overview.html", is_part=True, **_figures())


def _figures() -> dict[str, object]:
    span = _SPANS.get(request.args.get("span", ""), _SPANS["24h"])
    overview = show_overview(context.request_caller(), span, request.args.get("account"))
    return {
        **{name: getattr(overview, name) for name in Overview.__slots__},
        "span": span,
        "spans": _SPANS.values(),
        "charts": charts,
        "advice": rules.advice,
        "page_path": rules.page_path,
    }
