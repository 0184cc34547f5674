"""Export, erase or suppress what is kept of a person."""

from dataclasses import asdict
from typing import Any

from marshmallow import fields

from worker.api import context, pagination
from worker.api.auth import require_owner
from worker.api.blueprint import Blueprint
from worker.api.fields import Boolean, ListOf, Shape, Text, Timestamp, at_most
from worker.api.pagination import PageQuery, page_of
from worker.operations.person import person_requests
from worker.operations.person.erasing import ErasureReport

blueprint = Blueprint("person", __name__, url_prefix="/v1/admin", description="What is kept of a person")
blueprint.before_request(require_owner)


def _identifiers(description: str) -> ListOf:
    return ListOf(
        Text(),
        load_default=list,
        validate=at_most(person_requests.MOST_IDENTIFIERS, "identifiers"),
        metadata={"description": description},
    )


class _PersonBody(Shape):
    """Say by what a person is known; give all that you know of this one person."""

    emails = _identifiers("E-mail addresses; hashed on the way in, and kept nowhere.")
    email_hashes = _identifiers("SHA-256 of trimmed, lower-cased e-mail addresses.")
    external_ids = _identifiers("The shop's own ids of the person (`userId`).")
    external_id_hashes = _identifiers("SHA-256 of such ids.")
    anonymous_ids = _identifiers("Ids of browsers and devices (`anonymousId`).")


class _ErasureBody(_PersonBody):
    """Say by what a person is known, and whether to erase or only to count."""

    dry_run = Boolean(load_default=False, metadata={"description": "True: only count what would be erased."})


class _SuppressionAnswer(Shape):
    """Count what was erased; `being_sent` was on its way to Pinterest: ask again in a minute where it is not 0."""

    events = fields.Integer(metadata={"description": "Accepted events that were not worked on yet."})
    visitors = fields.Integer(
        metadata={"description": "What was remembered of the person's devices and accounts."}
    )
    deliveries = fields.Dict(metadata={"description": "Deliveries, by their former state."})
    deliveries_kept = fields.Integer(
        metadata={"description": "Signed deliveries, kept without the data that only public calls gave."}
    )
    being_sent = fields.Integer()
    debugged = fields.Integer(metadata={"description": "Entries of the live debugger, of every visitor."})
    unreadable = fields.Integer(
        metadata={"description": "Rows that cannot be decrypted, so their person is unknown."}
    )


class _ErasureAnswer(_SuppressionAnswer):
    """Count what was erased, or would be."""

    dry_run = Boolean()


class _LiftedAnswer(Shape):
    """Count what was suppressed."""

    suppressed_keys = fields.Integer(metadata={"description": "0: the person was not suppressed."})


class _ExportAnswer(Shape):
    """Show what is kept of a person."""

    exported_at = Text()
    suppressed = Boolean(metadata={"description": "New events of the person are not kept."})
    events = fields.List(fields.Dict(), metadata={"description": "Events that were not worked on yet."})
    visitors = fields.List(
        fields.Dict(), metadata={"description": "What is remembered of devices and accounts."}
    )
    deliveries = fields.List(
        fields.Dict(),
        metadata={
            "description": "Deliveries, with their payload; of a signed event that only public calls link to the "
            "person, only the data of these calls."
        },
    )
    debugged = fields.List(fields.Dict(), metadata={"description": "Inputs of the live debugger."})
    unreadable = fields.Integer(
        metadata={"description": "Rows that cannot be decrypted, so their person is unknown."}
    )


class _RecordedRequest(Shape):
    """Show a request as proof."""

    id = fields.Integer()
    at = Timestamp()
    actor = Text()
    kind = Text(metadata={"description": "export, erase, suppress, allow or consent."})
    keys = fields.List(Text(), metadata={"description": "Keyed hashes of the person's identifiers."})
    counts = fields.Dict(metadata={"description": "How many rows it was about."})


def _counts(report: ErasureReport) -> dict[str, Any]:
    names = ("events", "visitors", "being_sent", "debugged", "unreadable")
    deliveries = {"deliveries": dict(report.deliveries_by_state), "deliveries_kept": len(report.reduced)}
    return {name: getattr(report, name) for name in names} | deliveries


@blueprint.route("/erasures", methods=["POST"])
@blueprint.arguments(_ErasureBody)
@blueprint.response(200, _ErasureAnswer)
def _post_erasure(body: dict[str, Any]) -> dict[str, Any]:
    """Erase the stored data of one person, in every state. Owners only. Slow: it reads all rows."""
    dry_run = body.pop("dry_run")
    request = person_requests.read_request(**body)
    report = person_requests.erase_person(context.request_caller(), request, dry_run=dry_run)
    return {"dry_run": dry_run} | _counts(report)


@blueprint.route("/person/exports", methods=["POST"])
@blueprint.arguments(_PersonBody)
@blueprint.response(200, _ExportAnswer)
def _post_person_export(body: dict[str, Any]) -> dict[str, Any]:
    """Show what is kept of one person. Owners only. Slow: it reads all rows."""
    return person_requests.export_person(context.request_caller(), person_requests.read_request(**body))


@blueprint.route("/person/suppressions", methods=["POST"])
@blueprint.arguments(_PersonBody)
@blueprint.response(200, _SuppressionAnswer)
def _post_suppression(body: dict[str, Any]) -> dict[str, Any]:
    """Erase one person, and keep new events of them out until they consent again. Owners only. Slow."""
    return _counts(
        person_requests.suppress_person(context.request_caller(), person_requests.read_request(**body))
    )


@blueprint.route("/person/suppressions/lift", methods=["POST"])
@blueprint.arguments(_PersonBody)
@blueprint.response(200, _LiftedAnswer)
def _post_lifted_suppression(body: dict[str, Any]) -> dict[str, Any]:
    """Keep new events of one person again, because they consented to it. Owners only."""
    count = person_requests.allow_person(context.request_caller(), person_requests.read_request(**body))
    return {"suppressed_keys": count}


@blueprint.route("/person/requests")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, page_of(_RecordedRequest))
def _get_person_requests(query: dict[str, Any]) -> dict[str, Any]:
    """List the requests of persons about their data, the newest first. Owners only."""
    before = pagination.number_after(query.get("cursor"))
    requests = person_requests.list_requests(context.request_caller(), query["limit"] + 1, before)
    return pagination.page_answer(requests, query["limit"], asdict, lambda request: request.id)
