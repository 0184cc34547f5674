"""What all pages share: sessions, roles, form secrets and errors."""

from hashlib import sha256
from hmac import compare_digest
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flask import (
    Blueprint,
    Response,
    current_app,
    g,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from worker.api import auth, context
from worker.api.errors import ApiError, http_answer, operation_error
from worker.formats import count_text, format_duration
from worker.ledger.database import LedgerBusyError, is_ledger_unavailable
from worker.operations.deliveries.selection import account_names, all_sources
from worker.operations.errors import OperationError
from worker.pages import words

_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_LONGEST_KEPT_SECONDS = 365 * 86_400
# Open without a session.
_OPEN_ENDPOINTS = frozenset({"ui.sign_in_page", "ui.post_sign_in", "ui.static", "ui.connect_back_page"})
# Forms that change nothing for others, so viewers may send them.
_VIEWERS_FORMS = frozenset({"ui.post_sign_out", "ui.post_explain_form", "ui.post_password"})
# Pages that only offer a change.
_EDITORS_PAGES = frozenset(
    {
        "ui.new_source_page",
        "ui.edit_source_page",
        "ui.vendors_page",
        "ui.new_integration_page",
        "ui.edit_integration_page",
        "ui.delete_integration_page",
        "ui.connect_page",
        "ui.connect_finish_page",
        "ui.choose_account_page",
    }
)
_OWNERS_PAGES = frozenset(
    {
        "ui.tokens_page",
        "ui.post_new_token",
        "ui.post_token_revoke",
        "ui.post_new_user",
        "ui.post_user",
        "ui.people_page",
        "ui.post_people",
    }
)

_STATIC = Path(__file__).parent / "static"


class _Pages(Blueprint):
    """Register views that are private to their modules."""

    def add_url_rule(
        self, rule: str, endpoint: str | None = None, view_func: Any = None, *args: Any, **options: Any
    ) -> None:
        """Serve an address. Without an endpoint, it is the name of the view without the underscore."""
        name = endpoint or view_func.__name__.removeprefix("_")
        super().add_url_rule(rule, name, view_func, *args, **options)


blueprint = _Pages(
    auth.UI, __name__, template_folder="templates", static_folder="static", static_url_path="/static"
)


@blueprint.before_request
def _require_session() -> AnyResponse | None:
    """Require a session, the secret of a form, and the role for the page."""
    if request.endpoint in _OPEN_ENDPOINTS:
        return None
    person = auth.person_of_session(request.cookies.get(auth.SESSION_COOKIE))
    if person is None:
        return _sign_in_first()
    g.person, g.actor = person, person.actor
    if any("\0" in value for value in request.values.values()):
        # PostgreSQL can neither store nor find it.
        raise ApiError(422, "The character U+0000 is not allowed. Go back and remove it.")
    if request.method not in ("GET", "HEAD", "OPTIONS"):
        _check_form()
    if not person.may_change and _changes_something():
        raise ApiError(403, "Your role is viewer: you can see everything but change nothing.")
    if request.endpoint in _OWNERS_PAGES and not person.is_owner:
        raise ApiError(403, "Only owners may open this page.")
    return None


@blueprint.after_request
def _add_headers(response: Response) -> Response:
    """Add the content security policy and caching headers."""
    response.headers["Content-Security-Policy"] = _POLICY
    if request.endpoint == "ui.static" and "v" in request.args:
        # The URL has a hash of the content.
        response.headers["Cache-Control"] = f"public, max-age={_LONGEST_KEPT_SECONDS}, immutable"
    return response


blueprint.add_app_template_global(count_text)
blueprint.add_app_template_global(format_duration)
blueprint.add_app_template_filter(words.time_tag, "time")
blueprint.add_app_template_filter("{:,}".format, "number")
blueprint.add_app_template_filter(
    lambda ad_account_id: words.with_id(_account_names(), ad_account_id), "account"
)
blueprint.add_app_template_filter(lambda source_id: _source_names().get(source_id, source_id), "source")
blueprint.add_app_template_filter(words.money_text, "money")
blueprint.add_app_template_filter(words.json_text)


@blueprint.app_context_processor
def _template_context() -> dict[str, Any]:
    """Return the variables of every template."""
    return {
        "person": g.get("person"),
        "csrf": _form_secret(),
        "flower_url": context.app_settings().flower_url,
        "sandbox_url": context.app_settings().sandbox_url,
        "words": words,
        "now": context.now(),
        "asset": _asset_url,
        "notice": words.NOTICES.get(request.args.get("done", "")),
    }


@blueprint.errorhandler(ApiError)
def _api_error_page(error: ApiError) -> Response:
    """Show an API error as a page."""
    return _error_page(error.status, error.message)


@blueprint.errorhandler(OperationError)
def _operation_error_page(error: OperationError) -> Response:
    """Show an operation's error as a page."""
    return _api_error_page(operation_error(error))


@blueprint.errorhandler(HTTPException)
def _http_error_page(error: HTTPException) -> Response:
    """Show an HTTP error of Flask as a page."""
    status = error.code or 500
    return _error_page(status, error.description or HTTPStatus(status).phrase)


@blueprint.app_errorhandler(404)
def _unknown_page(error: HTTPException) -> Response:
    """Show a page for an address that does not exist, except to programs."""
    if not auth.is_unknown_page():
        return http_answer(error)
    g.person = auth.person_of_session(request.cookies.get(auth.SESSION_COOKIE))
    return _add_headers(_error_page(404, "There is no page at this address."))


@blueprint.errorhandler(IntegrityError)
def _conflict_page(_error: IntegrityError) -> Response:
    """Report a conflict with a concurrent change."""
    return _error_page(409, "Another request changed this at the same time. Go back and try again.")


@blueprint.errorhandler(LedgerBusyError)
@blueprint.errorhandler(PoolTimeoutError)
@blueprint.errorhandler(DBAPIError)
def _ledger_error_page(error: Exception) -> Response:
    """Report that the database is unavailable."""
    if not is_ledger_unavailable(error):
        raise error
    return _error_page(503, "The database does not respond, or takes no writes. Try again in a few seconds.")


def _error_page(status: int, sentence: str) -> Response:
    """Render an error page."""
    page = make_response(render_template("error.html", status=status, sentence=sentence))
    page.status_code = status
    return page


def _account_names() -> dict[str, str]:
    if "account_names" not in g:
        g.account_names = account_names(context.request_caller())
    names: dict[str, str] = g.account_names
    return names


def _source_names() -> dict[str, str]:
    if "source_names" not in g:
        g.source_names = {source.id: source.name for source in all_sources(context.request_caller())}
    names: dict[str, str] = g.source_names
    return names


def _form_secret() -> str:
    """Return the secret of this session's forms, which protects them from other sites."""
    cookie = request.cookies.get(auth.SESSION_COOKIE, "")
    return context.app_ledger().vault.keyed_hash("form", cookie).hex() if cookie else ""


def _asset_url(name: str) -> str:
    """Return the URL of a static file, with a hash of its content so that browsers may cache it."""
    hashes: dict[str, str] = current_app.extensions.setdefault("signal-assets", {})
    if name not in hashes:
        hashes[name] = sha256((_STATIC / name).read_bytes()).hexdigest()[:12]
    return url_for("ui.static", filename=name, v=hashes[name])


def redirect_to(endpoint: str, notice: str, **values: Any) -> AnyResponse:
    """Redirect to a page that shows a notice."""
    return redirect(url_for(endpoint, done=notice, **values), 303)


def _changes_something() -> bool:
    is_form = request.method not in ("GET", "HEAD", "OPTIONS") and request.endpoint not in _VIEWERS_FORMS
    return is_form or request.endpoint in _EDITORS_PAGES


def _check_form() -> None:
    if not compare_digest(request.form.get("csrf", "").encode(), _form_secret().encode()):
        raise ApiError(403, "This form does not belong to your session. Reload the page and send it again.")


def _sign_in_first() -> AnyResponse:
    if request.method in ("GET", "HEAD"):
        path = request.full_path.rstrip("?")
        return redirect(url_for("ui.sign_in_page", next=path if path != "/" else None), 303)
    sentence = "Your session has ended. Nothing was changed. Sign in and send the form again."
    return _error_page(401, sentence)
