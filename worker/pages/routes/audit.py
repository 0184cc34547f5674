"""Show the audit log."""

from flask import render_template, request

from worker.api import context
from worker.ledger.setup import audit_log as log
from worker.pages.base import blueprint
from worker.pages.forms import row_id

_ENTRIES_A_PAGE = 50


@blueprint.get("/audit")
def _audit_page() -> str:
    """Show the audit log, the newest first."""
    before = request.args.get("before", type=row_id)
    with context.app_ledger().read() as connection:
        entries = log.newest_audit_entries(connection, _ENTRIES_A_PAGE + 1, before)
    page = entries[:_ENTRIES_A_PAGE]
    older = page[-1]["id"] if len(entries) > len(page) else None
    return render_template("audit.html", entries=page, before=older)
