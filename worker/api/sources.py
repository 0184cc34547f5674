"""Make, show, change and delete sources, and rotate their keys."""

from typing import Any

from worker.api import context, lists
from worker.api.blueprint import Blueprint
from worker.api.lists import PageQuery, page_of
from worker.api.queries import without_fixed_fields
from worker.api.schemas.reports import DataQualityAnswer
from worker.api.schemas.sources import FIXED, KeyRotation, SourceAnswer, SourceBody, SourceChange
from worker.operations.reports.problem_report import data_quality
from worker.operations.setup import sources
from worker.operations.setup.sources import SourceRecord

blueprint = Blueprint(
    "sources", __name__, url_prefix="/v1/admin", description="The sites and servers that send events"
)


@blueprint.route("/sources", methods=["POST"])
@blueprint.arguments(SourceBody)
@blueprint.response(201, SourceAnswer)
def post_source(body: dict[str, Any]) -> SourceRecord:
    """Create a source. The answer is the only one that shows its server secret."""
    return sources.create_source(context.request_caller(), **body)


@blueprint.route("/sources")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, page_of(SourceAnswer))
def get_sources(query: dict[str, Any]) -> dict[str, Any]:
    """List sources in the order of their ids."""
    after, limit = lists.text_after(query.get("cursor")), query["limit"]
    found = sources.list_sources(context.request_caller(), limit + 1, after)
    return lists.page_answer(found, limit, lambda one: one, lambda one: str(one["id"]))


@blueprint.route("/sources/<source_id>")
@blueprint.response(200, SourceAnswer)
def get_source_view(source_id: str) -> SourceRecord:
    """Show a source."""
    return sources.get_source(context.request_caller(), source_id)


@blueprint.route("/sources/<source_id>/data-quality")
@blueprint.response(200, DataQualityAnswer)
def get_data_quality(source_id: str) -> dict[str, Any]:
    """Count the problems in a source's data, each with an example and what to do."""
    report = data_quality(context.request_caller(), source_id)
    return {
        "source_id": source_id,
        "events": report.events,
        "data": [
            {name: getattr(row, name) for name in row.__dataclass_fields__}
            | row.text._asdict()
            | {"what_to_do": row.what_to_do}
            for row in report.rows
        ],
    }


@blueprint.route("/sources/<source_id>", methods=["PATCH"])
@blueprint.arguments(SourceChange)
@blueprint.response(200, SourceAnswer)
def patch_source(body: dict[str, Any], source_id: str) -> SourceRecord:
    """Change the given fields of a source. Objects are merged."""
    current = sources.get_source(context.request_caller(), source_id)
    changes = without_fixed_fields(body, SourceAnswer().dump(current), FIXED)
    return sources.change_source(context.request_caller(), source_id, **changes)


@blueprint.route("/sources/<source_id>", methods=["DELETE"])
@blueprint.response(204)
def delete_source_view(source_id: str) -> None:
    """Delete a source without integrations. Its keys become invalid at once."""
    sources.delete_source(context.request_caller(), source_id)


@blueprint.route("/sources/<source_id>/pipeline-key", methods=["POST"])
@blueprint.arguments(KeyRotation)
@blueprint.response(200, SourceAnswer)
def post_pipeline_key(body: dict[str, Any], source_id: str) -> SourceRecord:
    """Create a pipeline key. The previous keys stay valid for the overlap."""
    return sources.rotate_pipeline_key(context.request_caller(), source_id, **body)


@blueprint.route("/sources/<source_id>/server-secret", methods=["POST"])
@blueprint.response(200, SourceAnswer)
def post_server_secret(source_id: str) -> SourceRecord:
    """Create a server secret. The previous one becomes invalid at once."""
    return sources.rotate_server_secret(context.request_caller(), source_id)
