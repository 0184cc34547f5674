"""Create and revoke tokens."""

from flask import Response, make_response, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from worker.api import context
from worker.ledger.setup.people import Role, Token
from worker.operations.errors import DuplicateError, InvalidError
from worker.operations.setup import tokens as operations
from worker.pages.base import blueprint, redirect_to
from worker.pages.forms import Form


@blueprint.get("/access")
def tokens_page() -> str:
    """List the tokens, without their values."""
    return _page(Form({"role": Role.VIEWER.value}))


@blueprint.post("/access")
def post_new_token() -> Response:
    """Create a token. Only this page shows it."""
    form = Form({"name": request.form.get("name", "").strip(), "role": request.form.get("role", "")})
    try:
        made, text = operations.create_token(context.request_caller(), **form.values)
    except DuplicateError as error:
        form.errors["name"] = error.message
        return make_response(_page(form), 422)
    except InvalidError as error:
        form.refuse(error)
        return make_response(_page(form), 422)
    return make_response(_page(Form({"role": Role.VIEWER.value}), made=made, token=text))


@blueprint.post("/access/<token_id>/revoke")
def post_token_revoke(token_id: str) -> AnyResponse:
    """Revoke a token."""
    operations.revoke_token(context.request_caller(), token_id)
    return redirect_to("ui.tokens_page", "revoked")


def _page(form: Form, *, made: Token | None = None, token: str = "") -> str:
    known = operations.list_tokens(context.request_caller())
    return render_template("tokens.html", tokens=known, form=form, made=made, token=token)
