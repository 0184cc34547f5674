"""Sign in with a token, and sign out."""

import math
import re
import secrets
from hmac import compare_digest

from flask import Response, current_app, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from worker.api import auth, context
from worker.api.throttle import FailureCounter
from worker.operations.caller import Caller
from worker.operations.setup import sessions
from worker.pages.base import blueprint, redirect_to

MOST_WRONG_BY_ADDRESS = 5
# Without a session, form and cookie carry the same secret: another site can set neither.
_FORM_COOKIE = "signal_form"

_LONGEST_TOKEN = 512
# A path of this site: browsers read // and /\ as another one's name.
_PATH_HERE = re.compile(r"/(?![/\\])[^\\\x00-\x20]*")


@blueprint.get("/sign-in")
def sign_in_page() -> AnyResponse:
    """Show the form."""
    if auth.person_of_session(request.cookies.get(auth.SESSION_COOKIE)) is not None:
        return redirect(_next(), 303)
    return _form(200)


@blueprint.post("/sign-in")
def post_sign_in() -> AnyResponse:
    """Open a session for the holder of a token."""
    expected = request.cookies.get(_FORM_COOKIE, "")
    if not expected or not compare_digest(request.form.get("csrf", "").encode(), expected.encode()):
        return _form(403, "The form has expired, or your browser blocks cookies. Try again.")
    token = request.form.get("token", "").strip()[:_LONGEST_TOKEN]
    person = auth.person_of_token(token) if token else None
    if person is None:
        return _refused(_failures().failed(auth.client_address()))
    return _open_session(token, person)


@blueprint.post("/sign-out")
def post_sign_out() -> AnyResponse:
    """Close the session."""
    sessions.close_session(context.request_caller(), request.cookies.get(auth.SESSION_COOKIE, ""))
    response = redirect_to("ui.sign_in_page", "signed-out")
    response.delete_cookie(auth.SESSION_COOKIE, secure=_is_secure(), httponly=True, samesite="Strict")
    return response


def _open_session(token: str, person: auth.Person) -> AnyResponse:
    caller = Caller(context.app_ledger(), person.actor, context.now())
    cookie = sessions.open_session(caller, token)
    response = redirect(_next(), 303)
    _set_cookie(response, auth.SESSION_COOKIE, cookie)
    return response


def _refused(wait_seconds: float) -> Response:
    if not wait_seconds:
        return _form(401, "Invalid token.")
    minutes = math.ceil(wait_seconds / 60)
    wait = f"{minutes} minute{'s' * (minutes > 1)}"
    page = _form(
        429, f"Too many wrong tokens. Wait {wait}, or enter a valid token: it is accepted at any time."
    )
    page.headers["Retry-After"] = str(math.ceil(wait_seconds))
    return page


def _form(status: int, problem: str = "") -> Response:
    secret = request.cookies.get(_FORM_COOKIE) or secrets.token_urlsafe(24)
    page = render_template("sign_in.html", problem=problem, form_secret=secret, next=_next())
    response = make_response(page, status)
    _set_cookie(response, _FORM_COOKIE, secret)
    return response


def _set_cookie(response: AnyResponse, name: str, value: str) -> None:
    response.set_cookie(name, value, httponly=True, samesite="Strict", secure=_is_secure())


def _is_secure() -> bool:
    """Return whether browsers reach this site by HTTPS; a proxy may use plain HTTP."""
    return request.is_secure or context.app_settings().management_url.startswith("https://")


def _next() -> str:
    wanted = request.values.get("next", "")
    return wanted if _PATH_HERE.fullmatch(wanted) else url_for("ui.overview_page")


def _failures() -> FailureCounter:
    """Return the app's count of failed sign-ins."""
    made: FailureCounter = current_app.extensions.setdefault(
        "signal-failed-sign-ins", FailureCounter(MOST_WRONG_BY_ADDRESS)
    )
    return made
