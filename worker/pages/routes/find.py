"""Find an order, an event or a visitor."""

from flask import render_template, request

from worker.api import context
from worker.operations.deliveries.find import IdMatches, find_by_id
from worker.pages.base import blueprint

# This many deliveries are read in a fraction of a second.
_READ_AT_ONCE = 100_000


@blueprint.get("/search")
def _find_page() -> str:
    """Find an order, an event or a visitor, in whatever state; a visitor first among the newest deliveries."""
    query = request.args.get("q", "").strip()[:256]
    newest = None if request.args.get("all") else _READ_AT_ONCE
    result = find_by_id(context.request_caller(), query, newest) if query else IdMatches()
    return render_template("find.html", query=query, result=result, found=result.deliveries, newest=newest)
