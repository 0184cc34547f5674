"""Add, change and remove users, and create and revoke tokens."""

from datetime import UTC, date, datetime

from flask import Response, make_response, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from worker.api import context
from worker.ledger.setup.access import Role, Token
from worker.operations.errors import DuplicateError, InvalidError
from worker.operations.setup import access
from worker.pages.base import blueprint, redirect_to
from worker.pages.forms import Form, form_texts

_NEW_USER = {"user_name": "", "user_role": Role.VIEWER.value, "password": "", "expires_at": ""}
# The form for tokens has these fields, too.
_NAMES = {"name": "user_name", "role": "user_role"}


@blueprint.get("/access")
def _tokens_page() -> str:
    """List the users, and the tokens without their values."""
    return _page()


@blueprint.post("/access")
def _post_new_token() -> Response:
    """Create a token. Only this page shows it."""
    form = Form({"name": request.form.get("name", "").strip(), "role": request.form.get("role", "")})
    try:
        made, text = access.create_token(context.request_caller(), **form.values)
    except DuplicateError as error:
        form.errors["name"] = error.message
        return make_response(_page(token_form=form), 422)
    except InvalidError as error:
        form.refuse(error)
        return make_response(_page(token_form=form), 422)
    return make_response(_page(made=made, token=text))


@blueprint.post("/access/<token_id>/revoke")
def _post_token_revoke(token_id: str) -> AnyResponse:
    """Revoke a token."""
    access.revoke_token(context.request_caller(), token_id)
    return redirect_to("ui.tokens_page", "revoked")


@blueprint.post("/access/users")
def _post_new_user() -> AnyResponse:
    """Add a user."""
    form = Form(form_texts(request.form, _NEW_USER) | {"password": ""}, names=_NAMES)
    try:
        access.create_user(
            context.request_caller(),
            form.values["user_name"],
            form.values["user_role"],
            request.form.get("password", ""),
            _end_of(form.values["expires_at"]),
        )
    except DuplicateError as error:
        form.errors["user_name"] = error.message
    except InvalidError as error:
        form.refuse(error)
    else:
        return redirect_to("ui.tokens_page", "user-changed")
    return make_response(_page(form), 422)


@blueprint.post("/access/users/<user_id>")
def _post_user(user_id: str) -> AnyResponse:
    """Change or remove a user."""
    caller, action = context.request_caller(), request.form.get("action", "")
    if action == "remove":
        access.remove_user(caller, user_id)
        return redirect_to("ui.tokens_page", "user-removed")
    try:
        changes = {"enabled": action == "enable"} if action in ("enable", "disable") else _changes()
        access.change_user(caller, user_id, changes)
    except InvalidError as error:
        form = Form(dict(_NEW_USER))
        form.problem = f"Nothing was changed: {error.message}."
        return make_response(_page(form), 422)
    return redirect_to("ui.tokens_page", "user-changed")


def _changes() -> dict[str, object]:
    form = request.form
    changes: dict[str, object] = {"role": form.get("role", "")}
    # A day that was not touched keeps its exact time.
    if form.get("expires_at", "") != form.get("expired_before", ""):
        changes["expires_at"] = _end_of(form["expires_at"])
    if form.get("password"):
        changes["password"] = form["password"]
    return changes


def _end_of(day: str) -> float | None:
    """Read a date as the time at which it ends in UTC; empty is never.

    Raises:
        InvalidError: it is not a date.
    """
    if not day:
        return None
    try:
        return access.end_of_day(date.fromisoformat(day))
    except ValueError:
        raise InvalidError("expires_at", "must be a date like 2030-01-29") from None


def _page(
    form: Form | None = None, *, token_form: Form | None = None, made: Token | None = None, token: str = ""
) -> str:
    caller = context.request_caller()
    return render_template(
        "access.html",
        users=access.list_users(caller),
        tokens=access.list_tokens(caller),
        form=form or Form(dict(_NEW_USER)),
        token_form=token_form or Form({"role": Role.VIEWER.value}),
        made=made,
        token=token,
        day=lambda at: datetime.fromtimestamp(at, UTC).date().isoformat() if at else "",
    )
