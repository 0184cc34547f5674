"""Register all pages on their blueprint."""

from flask import render_template, request

from worker.api import context
from worker.ledger.setup import audit_log as log
from worker.pages import (
    data_quality,
    events,
    explain,
    failed,
    integrations,
    match_quality,
    missing_orders,
    overview,
    people,
    pinterest_sign_in,
    sales,
    sign_in,
    sources,
    tokens,
)
from worker.pages.base import blueprint
from worker.pages.forms import row_id

__all__ = [
    "audit_page",
    "blueprint",
    "data_quality",
    "events",
    "explain",
    "failed",
    "integrations",
    "match_quality",
    "missing_orders",
    "overview",
    "people",
    "pinterest_sign_in",
    "sales",
    "sign_in",
    "sources",
    "tokens",
]


ENTRIES_A_PAGE = 50


@blueprint.get("/audit")
def audit_page() -> str:
    """Show the audit log, the newest first."""
    before = request.args.get("before", type=row_id)
    with context.app_ledger().read() as connection:
        found = log.newest_audit_entries(connection, ENTRIES_A_PAGE + 1, before)
    shown = found[:ENTRIES_A_PAGE]
    older = shown[-1]["id"] if len(found) > len(shown) else None
    return render_template("audit.html", entries=shown, before=older)
