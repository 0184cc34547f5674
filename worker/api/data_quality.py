"""Show the problems in a source's data."""

from typing import Any

from marshmallow import fields

from worker.api import context
from worker.api.blueprint import Blueprint
from worker.api.fields import ListOf, Nested, Shape, Text, Timestamp
from worker.api.shared_fields import counts_field
from worker.operations.reports.data_quality import data_quality


class _ShareAnswer(Shape):
    """Count events with a problem among all events."""

    n = fields.Integer()
    events = fields.Integer()
    share = fields.Float(metadata={"description": "0 to 1."})


class _NamedShareAnswer(_ShareAnswer):
    """Count events of one of Pinterest's names."""

    event_name = Text()


class _ExampleAnswer(Shape):
    """Show the newest event of one of the shop's names with a problem."""

    event_name = Text()
    delivery_id = fields.Integer(allow_none=True)
    at = Timestamp()
    sentence = Text()
    address = Text(allow_none=True, metadata={"description": "The address it came from, only if private."})


class _DataProblemAnswer(Shape):
    """Show one kind of problem."""

    problem = Text(metadata={"example": "currency_unreadable"})
    title = Text()
    meaning = Text()
    what_to_do = Text()
    spans = fields.Dict(
        keys=fields.String(),
        values=Nested(_ShareAnswer),
        metadata={"description": "24h, 7d and 30d → the share of all events."},
    )
    most_affected = fields.Dict(
        keys=fields.String(),
        values=Nested(_NamedShareAnswer),
        metadata={"description": "By span: the event name with the largest share."},
    )
    examples = ListOf(Nested(_ExampleAnswer), metadata={"description": "The newest first."})


class _DataQualityAnswer(Shape):
    """Show the problems in a source's data, the most frequent first."""

    source_id = Text()
    events = counts_field("Mapped events by span.")
    data = ListOf(Nested(_DataProblemAnswer))


blueprint = Blueprint(
    "data_quality", __name__, url_prefix="/v1/admin", description="The problems in a source's data"
)


@blueprint.route("/sources/<source_id>/data-quality")
@blueprint.response(200, _DataQualityAnswer)
def _get_data_quality(source_id: str) -> dict[str, Any]:
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
