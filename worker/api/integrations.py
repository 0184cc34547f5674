"""Make, show, change and delete integrations."""

from typing import Any

from worker.api import context, lists
from worker.api.blueprint import Blueprint
from worker.api.lists import PageQuery, page_of
from worker.api.queries import without_fixed_fields
from worker.api.schemas.integrations import (
    FIXED,
    DeleteQuery,
    IntegrationAnswer,
    IntegrationBody,
    IntegrationChange,
    WaitingQuery,
)
from worker.operations.setup import integrations
from worker.operations.setup.integrations import IntegrationRecord, Unsent

blueprint = Blueprint(
    "integrations", __name__, url_prefix="/v1/admin", description="Where a source's events are delivered"
)


@blueprint.route("/integrations", methods=["POST"])
@blueprint.arguments(IntegrationBody)
@blueprint.response(201, IntegrationAnswer)
def post_integration(body: dict[str, Any]) -> IntegrationRecord:
    """Create an integration."""
    return integrations.create_integration(context.request_caller(), context.usual_rate(), **body)


@blueprint.route("/integrations")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, page_of(IntegrationAnswer))
def get_integrations(query: dict[str, Any]) -> dict[str, Any]:
    """List integrations in the order of creation."""
    after, limit = lists.number_after(query.get("cursor")) or 0, query["limit"]
    found = integrations.list_integrations(context.request_caller(), limit + 1, after)
    return lists.page_answer(found, limit, lambda one: one, lambda one: one["number"])


@blueprint.route("/integrations/<integration_id>")
@blueprint.response(200, IntegrationAnswer)
def get_integration_view(integration_id: str) -> IntegrationRecord:
    """Show an integration, without its access token."""
    return integrations.get_integration(context.request_caller(), integration_id)


@blueprint.route("/integrations/<integration_id>", methods=["PATCH"])
@blueprint.arguments(IntegrationChange)
@blueprint.arguments(WaitingQuery, location="query")
@blueprint.response(200, IntegrationAnswer)
def patch_integration(body: dict[str, Any], query: dict[str, Any], integration_id: str) -> IntegrationRecord:
    """Change the given fields of an integration. A new access token also resumes a paused ad account."""
    current = integrations.get_integration(context.request_caller(), integration_id)
    changes = without_fixed_fields(body, IntegrationAnswer().dump(current), FIXED)
    return integrations.change_integration(
        context.request_caller(), integration_id, context.usual_rate(), **query, **changes
    )


@blueprint.route("/integrations/<integration_id>", methods=["DELETE"])
@blueprint.arguments(DeleteQuery, location="query")
@blueprint.response(204)
def delete_integration_view(query: dict[str, Any], integration_id: str) -> None:
    """Delete an integration. Batches that are being sent still arrive."""
    waiting = Unsent.DISCARD if query["force"] else query["waiting"]
    integrations.delete_integration(context.request_caller(), integration_id, waiting=waiting)
