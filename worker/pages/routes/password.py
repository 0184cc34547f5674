"""Change one's own password."""

from flask import g, make_response, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from worker.api import context
from worker.api.throttle import Lane, LaneFullError
from worker.ledger.setup.access import User
from worker.operations.errors import OperationError
from worker.operations.setup import access
from worker.pages.base import blueprint, redirect_to
from worker.pages.forms import Form
from worker.pages.routes.sign_in import password_lanes


@blueprint.get("/password")
def _password_page() -> str:
    """Show the form for one's own password."""
    return render_template("password.html", form=Form())


@blueprint.post("/password")
def _post_password() -> AnyResponse:
    """Change the password of the person who is signed in, and end the person's sessions."""
    form = Form({"current": "", "password": "", "repeated": ""})
    if request.form.get("password", "") != request.form.get("repeated", ""):
        form.errors["repeated"] = "Must be the same as the new password."
    elif not g.person.user:
        form.problem = "You are signed in with a token, which has no password."
    else:
        try:
            changed = password_lanes().check(Lane.KNOWN_BROWSER, lambda: _change_own_password(form))
        except LaneFullError:
            form.problem = "Too many passwords are being checked. Try again in a few seconds."
        else:
            if changed is not None:
                return redirect_to("ui.sign_in_page", "password-changed")
    return make_response(render_template("password.html", form=form), 422)


def _change_own_password(form: Form) -> User | None:
    current, new = (request.form.get(name, "") for name in ("current", "password"))
    try:
        return access.change_own_password(context.request_caller(), g.person.user, current, new)
    except OperationError as error:
        form.refuse(error)
        return None
