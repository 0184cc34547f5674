"""Erase a person, for whom the law gives that right."""

from typing import Any

from flask import g
from marshmallow import fields

from worker.api import context
from worker.api.blueprint import Blueprint
from worker.api.errors import ApiError
from worker.api.fields import Boolean, ListOf, Shape, Text, at_most
from worker.operations.erasure import erasures

_MOST_IDENTIFIERS = 20

blueprint = Blueprint(
    "erasures", __name__, url_prefix="/v1/admin", description="Persons who ask to be forgotten"
)


def _identifiers(description: str) -> ListOf:
    return ListOf(
        Text(),
        load_default=list,
        validate=at_most(_MOST_IDENTIFIERS, "of one kind"),
        metadata={"description": description},
    )


class ErasureBody(Shape):
    """Say by what a person is known; give all that you know of this one person."""

    emails = _identifiers("E-mail addresses; hashed on the way in, and kept nowhere.")
    email_hashes = _identifiers("SHA-256 of trimmed, lower-cased e-mail addresses.")
    external_ids = _identifiers("The shop's own ids of the person (`userId`).")
    external_id_hashes = _identifiers("SHA-256 of such ids.")
    anonymous_ids = _identifiers("Ids of browsers and devices (`anonymousId`).")
    dry_run = Boolean(load_default=False, metadata={"description": "True: only count what would be erased."})


class ErasureAnswer(Shape):
    """Count what was erased; `being_sent` was on its way to Pinterest: ask again in a minute where it is not 0."""

    dry_run = Boolean()
    events = fields.Integer(metadata={"description": "Accepted events that were not worked on yet."})
    visitors = fields.Integer(
        metadata={"description": "What was remembered of the person's devices and accounts."}
    )
    deliveries = fields.Dict(metadata={"description": "Deliveries, by their former state."})
    being_sent = fields.Integer()
    debugged = fields.Integer(metadata={"description": "Entries of the live debugger, of every visitor."})
    unreadable = fields.Integer(metadata={"description": "Rows that cannot be opened: nobody knows whose."})


@blueprint.route("/erasures", methods=["POST"])
@blueprint.arguments(ErasureBody)
@blueprint.response(200, ErasureAnswer)
def post_erasure(body: dict[str, Any]) -> dict[str, Any]:
    """Erase the stored data of one person, in every state. Owners only. Slow: it reads all rows."""
    if not g.person.is_owner:
        raise ApiError(403, "This token is not an owner's: only owners may erase a person.")
    dry_run = body.pop("dry_run")
    request = erasures.read_request(**body)
    report = erasures.erase_person(context.request_caller(), request, dry_run=dry_run)
    return {
        "dry_run": dry_run,
        "events": report.events,
        "visitors": report.visitors,
        "deliveries": dict(report.stood),
        "being_sent": report.being_sent,
        "debugged": report.debugged,
        "unreadable": report.unreadable,
    }
