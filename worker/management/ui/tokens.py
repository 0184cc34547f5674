"""Hand out access, and take it away."""

from flask import Response, g, make_response, render_template, request
from sqlalchemy.exc import IntegrityError
from werkzeug.wrappers import Response as AnyResponse

from worker.ledger import audit, people
from worker.ledger.people import Role
from worker.management import context
from worker.management.errors import not_found
from worker.management.ui.blueprint import blueprint, done
from worker.management.ui.forms import Form

LONGEST_NAME = 64


@blueprint.get("/access")
def tokens() -> str:
    """List the tokens, never the texts of them."""
    return _page(Form({"role": Role.VIEWER.value}))


@blueprint.post("/access")
def create_token() -> Response:
    """Make a token; its text stands on this one page."""
    form = Form({"name": request.form.get("name", "").strip(), "role": request.form.get("role", "")})
    if not form.values["name"] or len(form.values["name"]) > LONGEST_NAME:
        form.errors["name"] = f"A name has 1 to {LONGEST_NAME} characters."
    if form.values["role"] not in list(Role):
        form.errors["role"] = "This is no role."
    if form.errors:
        return make_response(_page(form), 422)
    name, role = form.values["name"], Role(form.values["role"])
    try:
        with context.changing() as change:
            vault = context.ledger().vault
            made, text = people.create_token(change.connection, vault, name, role, g.actor, change.now)
            told = {"role": [None, role.value]}
            audit.write(change.connection, change.now, g.actor, "token.create", made.actor, told)
    except IntegrityError:
        form.errors["name"] = "There is a token of this name already."
        return make_response(_page(form), 422)
    return make_response(_page(Form({"role": Role.VIEWER.value}), made=made, token=text))


@blueprint.post("/access/<token_id>/revoke")
def revoke_token(token_id: str) -> AnyResponse:
    """Make a token worthless."""
    with context.changing() as change:
        gone = people.revoke(change.connection, token_id)
        if gone is None:
            raise not_found("token", token_id)
        told = {"role": [gone.role.value, None]}
        audit.write(change.connection, change.now, g.actor, "token.revoke", gone.actor, told)
    return done("ui.tokens", "revoked")


def _page(form: Form, *, made: people.Token | None = None, token: str = "") -> str:
    with context.ledger().read() as connection:
        known = people.tokens(connection)
    return render_template("tokens.html", tokens=known, form=form, made=made, token=token)
