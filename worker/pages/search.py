"""Find an order, an event or a visitor."""

from flask import render_template, request

from worker.api import context
from worker.operations.deliveries.search import SearchResult
from worker.operations.deliveries.search import search as search_ledger
from worker.pages.base import blueprint

# This many deliveries are read in a fraction of a second.
_READ_AT_ONCE = 100_000


@blueprint.get("/search")
def _search_page() -> str:
    """Find an order, an event or a visitor, in whatever state; a visitor first among the newest deliveries."""
    asked = request.args.get("q", "").strip()[:256]
    newest = None if request.args.get("all") else _READ_AT_ONCE
    result = search_ledger(context.request_caller(), asked, newest) if asked else SearchResult()
    return render_template("search.html", asked=asked, result=result, found=result.deliveries, newest=newest)
