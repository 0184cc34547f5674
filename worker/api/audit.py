"""List who changed what."""

from typing import Any

from marshmallow import fields

from worker.api import context, pagination
from worker.api.blueprint import Blueprint
from worker.api.fields import Shape, Text, Timestamp
from worker.api.pagination import PageQuery, page_of
from worker.ledger.setup import audit_log as log

blueprint = Blueprint("audit", __name__, url_prefix="/v1/admin", description="Who changed what, and when")


class _AuditEntry(Shape):
    """Show one change."""

    id = fields.Integer()
    at = Timestamp()
    actor = Text()
    action = Text(metadata={"example": "integration.change"})
    object = Text(metadata={"description": "The id of what was changed."})
    changes = fields.Dict(metadata={"description": "Field → [from, to], secrets masked."})


@blueprint.route("/audit")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, page_of(_AuditEntry))
def _get_audit_log(query: dict[str, Any]) -> dict[str, Any]:
    """List changes, the newest first."""
    before = pagination.number_after(query.get("cursor"))
    with context.app_ledger().read() as connection:
        entries = log.newest_audit_entries(connection, query["limit"] + 1, before)
    return pagination.page_answer(entries, query["limit"], dict, lambda entry: int(entry["id"]))
