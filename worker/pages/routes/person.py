"""Export, erase or suppress what is kept of a person, and list such requests."""

import json

from flask import Response, make_response, render_template, request

from worker.api import context
from worker.formats import count_text
from worker.operations.errors import InvalidError, OperationError
from worker.operations.person import person_requests
from worker.operations.person.person_requests import IDENTIFIER_KINDS
from worker.pages.base import blueprint
from worker.pages.forms import Form, form_texts, split_lines

_MOST_SHOWN = 50


@blueprint.get("/people")
def _people_page() -> str:
    """Show the form and the newest requests."""
    return _page(Form())


@blueprint.post("/people")
def _post_people() -> Response:
    """Do what the form says with one person's data."""
    form = Form(form_texts(request.form, (*IDENTIFIER_KINDS, "action", "confirmed")))
    try:
        person = person_requests.read_request(
            **{kind: split_lines(form.values[kind]) for kind in IDENTIFIER_KINDS}
        )
        if form.values["action"] == "export":
            return _download(person)
        return make_response(_page(form, done=_carry_out(form.values, person)))
    except OperationError as error:
        form.refuse(error)
        return make_response(_page(form), 422 if isinstance(error, InvalidError) else 409)


def _carry_out(values: dict[str, str], person: person_requests.PersonIdentifiers) -> str:
    """Return a sentence about what was done."""
    caller, action = context.request_caller(), values["action"]
    if action == "allow":
        count = person_requests.allow_person(caller, person)
        return "New events of this person are stored again." if count else "This person was not suppressed."
    if action not in ("count", "erase", "suppress"):
        raise InvalidError("action", "must be one of the listed actions.")
    if action != "count" and values["confirmed"] != "yes":
        raise InvalidError("confirmed", "must be ticked to erase: it cannot be undone.")
    if action == "suppress":
        report = person_requests.suppress_person(caller, person)
    else:
        report = person_requests.erase_person(caller, person, dry_run=action == "count")
    summary = report.sentence_part()
    deliveries = count_text(len(report.reduced), "signed delivery", "signed deliveries")
    if action == "count":
        extra = f" Also data that only public calls gave, in {deliveries}." if report.reduced else ""
        return f"Kept of this person: {summary}.{extra}"
    extra = f" Kept {deliveries} without data that only public calls gave." if report.reduced else ""
    is_sent = count_text(report.being_sent, "delivery is being sent", "deliveries are being sent")
    advice = f" {is_sent} now; repeat the request in a minute." if report.being_sent else ""
    return f"Erased {summary}.{extra}{advice}"


def _download(person: person_requests.PersonIdentifiers) -> Response:
    export = person_requests.export_person(context.request_caller(), person)
    answer = Response(json.dumps(export, indent=2, ensure_ascii=False), mimetype="application/json")
    answer.headers["Content-Disposition"] = 'attachment; filename="person.json"'
    return answer


def _page(form: Form, done: str = "") -> str:
    requests = person_requests.list_requests(context.request_caller(), _MOST_SHOWN)
    return render_template("person.html", form=form, done=done, requests=requests)
