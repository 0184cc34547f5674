"""Show the books: where every accepted event and every delivery is."""

from typing import Any

from marshmallow import fields

from worker.api import context
from worker.api.blueprint import Blueprint
from worker.api.fields import Boolean, ListOf, Nested, Shape, Text
from worker.api.shared_fields import counts_field, query_flag
from worker.ledger.reports.books import Books
from worker.operations.reports.books import close_books


class _BookLine(Shape):
    """Compare what was counted when it happened with what is there now."""

    what = Text()
    counted = fields.Integer()
    found = fields.Integer()
    balances = Boolean()


class _BooksQuery(Shape):
    """Say whether to count every row, which takes seconds for each million of them."""

    audit = query_flag(metadata={"description": "Count every row as well, and compare."})


class _BooksAnswer(Shape):
    """Prove that every accepted event is accounted for."""

    balance = Boolean()
    events = counts_field("Where the accepted events are.")
    deliveries = counts_field("Number of deliveries by state, without those that retention has removed.")
    accounts = fields.Dict(
        keys=fields.String(),
        values=counts_field("Number of deliveries by state."),
        attribute="by_account",
        metadata={"description": "The same for each ad account."},
    )
    removed = fields.Integer(metadata={"description": "Deliveries that retention has removed."})
    lines = ListOf(Nested(_BookLine))


blueprint = Blueprint(
    "books", __name__, url_prefix="/v1/admin", description="Where every accepted event and every delivery is"
)


@blueprint.route("/books")
@blueprint.arguments(_BooksQuery, location="query")
@blueprint.response(200, _BooksAnswer)
def _get_books(query: dict[str, Any]) -> Books:
    """Account for every accepted event and every delivery, at one moment."""
    return close_books(context.request_caller(), audit=query["audit"])
