"""Sign in with a name and a password, or with a token, and sign out."""

import math
import re
import secrets
from hmac import compare_digest

from flask import Response, current_app, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from worker.api import auth, context
from worker.api.throttle import FailureCounter, Lane, LaneFullError, PasswordLanes
from worker.formats import count_text
from worker.ledger.setup.access import token_hash
from worker.operations.caller import Caller
from worker.operations.setup import access
from worker.pages.base import blueprint, redirect_to
from worker.retention import KNOWN_BROWSER_SECONDS

_MOST_WRONG_BY_ADDRESS = 5
# Without a session, form and cookie carry the same secret: another site can set neither.
_FORM_COOKIE = "signal_form"

# Names no person; without it a guesser and the person it guesses for would wait in one line.
_KNOWN_COOKIE = "signal_known"
_LANE_SECONDS = "3"

_LONGEST_TOKEN = 512
# A path of this site: browsers read // and /\ as another one's name.
_PATH_HERE = re.compile(r"/(?![/\\])[^\\\x00-\x20]*")


@blueprint.get("/sign-in")
def _sign_in_page() -> AnyResponse:
    """Show the form."""
    if auth.person_of_session(request.cookies.get(auth.SESSION_COOKIE)) is not None:
        return redirect(_next(), 303)
    return _form(200)


@blueprint.post("/sign-in")
def _post_sign_in() -> AnyResponse:
    """Open a session for a user with a password, or for the holder of a token."""
    form_token = request.cookies.get(_FORM_COOKIE, "")
    if not form_token or not compare_digest(request.form.get("csrf", "").encode(), form_token.encode()):
        return _form(403, "The form has expired, or your browser blocks cookies. Try again.")
    if "name" in request.form:
        return _sign_in_user(request.form["name"].strip(), request.form.get("password", ""))
    token = request.form.get("token", "").strip()[:_LONGEST_TOKEN]
    person = auth.person_of_token(token) if token else None
    if person is None:
        return _refused("token", _failures().failed(auth.client_address()))
    return _open_session(token_hash(context.app_ledger().vault, token), person.actor)


def _sign_in_user(name: str, password: str) -> AnyResponse:
    ledger, now = context.app_ledger(), context.now()
    browser = _known_browser(name)
    # A browser in which the person has signed in has a count of its own.
    counter = f"known:{browser}" if compare_digest(request.cookies.get(_KNOWN_COOKIE, ""), browser) else ""
    if not counter or _failures().is_over(counter):
        counter = auth.client_address()
        lane = Lane.GUESSING_ADDRESS if _failures().is_over(counter) else Lane.OTHERS
    else:
        lane = Lane.KNOWN_BROWSER
    try:
        user = password_lanes().check(lane, lambda: access.check_password(ledger, name, password, now))
    except LaneFullError:
        page = _form(429, "Too many people sign in at the same time. Try again in a few seconds.")
        page.headers["Retry-After"] = _LANE_SECONDS
        return page
    if user is None:
        return _refused("password", _failures().failed(counter))
    response = _open_session(user.session_key, user.actor)
    _set_cookie(response, _KNOWN_COOKIE, browser, KNOWN_BROWSER_SECONDS)
    return response


def _known_browser(name: str) -> str:
    """Return what the cookie of a browser has in which a person with this name has signed in."""
    return context.app_ledger().vault.keyed_hash("known browser", name.casefold()).hex()


@blueprint.post("/sign-out")
def _post_sign_out() -> AnyResponse:
    """Close the session."""
    access.close_session(context.request_caller(), request.cookies.get(auth.SESSION_COOKIE, ""))
    response = redirect_to("ui.sign_in_page", "signed-out")
    response.delete_cookie(auth.SESSION_COOKIE, secure=_is_secure(), httponly=True, samesite="Strict")
    return response


def _open_session(key: bytes, actor: str) -> AnyResponse:
    cookie = access.open_session(Caller(context.app_ledger(), actor, context.now()), key)
    response = redirect(_next(), 303)
    _set_cookie(response, auth.SESSION_COOKIE, cookie)
    return response


def _refused(kind: str, wait_seconds: float) -> Response:
    if not wait_seconds:
        return _form(401, "Invalid token." if kind == "token" else "Wrong name or password.")
    minutes = math.ceil(wait_seconds / 60)
    wait = count_text(minutes, "minute")
    page = _form(
        429, f"Too many wrong {kind}s. Wait {wait}, or enter a valid {kind}: it is accepted at any time."
    )
    page.headers["Retry-After"] = str(math.ceil(wait_seconds))
    return page


def _form(status: int, problem: str = "") -> Response:
    secret = request.cookies.get(_FORM_COOKIE) or secrets.token_urlsafe(24)
    page = render_template(
        "sign_in.html", problem=problem, form_secret=secret, next=_next(), name=request.form.get("name", "")
    )
    response = make_response(page, status)
    _set_cookie(response, _FORM_COOKIE, secret)
    return response


def _set_cookie(response: AnyResponse, name: str, value: str, max_age: int | None = None) -> None:
    response.set_cookie(name, value, max_age=max_age, httponly=True, samesite="Strict", secure=_is_secure())


def _is_secure() -> bool:
    """Return whether browsers reach this site by HTTPS; a proxy may use plain HTTP."""
    return request.is_secure or context.app_settings().management_url.startswith("https://")


def _next() -> str:
    path = request.values.get("next", "")
    return path if _PATH_HERE.fullmatch(path) else url_for("ui.overview_page")


def _failures() -> FailureCounter:
    """Return the app's count of failed sign-ins."""
    counter: FailureCounter = current_app.extensions.setdefault(
        "signal-failed-sign-ins", FailureCounter(_MOST_WRONG_BY_ADDRESS)
    )
    return counter


def password_lanes() -> PasswordLanes:
    """Return the app's lines of people whose passwords are checked."""
    lanes: PasswordLanes = current_app.extensions.setdefault("signal-password-lanes", PasswordLanes())
    return lanes
