"""List, create, change and delete integrations."""

from typing import Any

from flask import Response, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from worker.api import context
from worker.api.integrations import IntegrationBody, IntegrationChange
from worker.event.times import parse_time
from worker.ledger.reports import account_status
from worker.ledger.setup import ad_accounts
from worker.ledger.setup import integrations as store
from worker.ledger.setup import sources as source_store
from worker.ledger.setup.integrations import Integration
from worker.operations.errors import ConflictError, DuplicateError, OperationError
from worker.operations.setup import connect, token_expiry
from worker.operations.setup import integrations as operations
from worker.operations.setup.accounts import DEFAULT_REASON, LONGEST_REASON, pause_account, resume_account
from worker.operations.setup.connection_check import ConnectionReport, check_connection
from worker.operations.setup.integration_status import get_integration_status
from worker.operations.setup.integrations import IntegrationRecord, Unsent
from worker.pages.base import blueprint, redirect_to
from worker.pages.forms import Form, split_lines
from worker.pages.integration_form import (
    OverridesError,
    integration_body,
    integration_values,
    parse_overrides,
    sent_integration_values,
)
from worker.pages.routes.connect import pinterest_app

_CONSENT = (
    ("advertising", "Advertising", "Ads and their measurement. Pinterest needs this category."),
    ("marketing", "Marketing", "Counts as advertising if your consent tool offers only one of the two."),
    ("analytics", "Analytics", "Statistics."),
    ("functional", "Functional", "Remembers choices, such as the language."),
)
_NEW = {
    "name": "Pinterest Conversions",
    "consent_categories": ["advertising"],
    "field_mapping": "signal",
    "clean_free_text": "yes",
    "dedupe_by_business_id": "yes",
}


@blueprint.get("/integrations")
def _integrations_page() -> str:
    """List the integrations."""
    with context.app_ledger().read() as connection:
        rows = list(store.iterate_integrations(connection))
        states = {credential.id: credential for credential in ad_accounts.used_credentials(connection)}
        pending = account_status.pending_by_integration(connection)
    return render_template("integrations.html", integrations=rows, credentials=states, waiting=pending)


@blueprint.get("/integrations/add")
def _vendors_page() -> str:
    """List the kinds of integrations."""
    return render_template("integration_add.html")


@blueprint.get("/integrations/add/pinterest")
def _new_integration_page() -> str:
    """Show an empty form."""
    values: dict[str, Any] = _NEW | {"source_id": request.args.get("source_id", "")}
    if "login" in request.args:
        values |= {name: request.args.get(name, "") for name in ("login", "ad_account_id")}
        account, defaults = connect.ad_account_defaults(
            context.request_caller(), pinterest_app(), _login(values), values["ad_account_id"]
        )
        values |= {"name": f"Pinterest: {account.name}"[:200]} | defaults
    return _form(Form(values))


@blueprint.post("/integrations/add/pinterest")
def _post_new_integration() -> AnyResponse:
    """Create an integration from the form."""
    form = Form(sent_integration_values(request.form))
    values = _form_body(form) | {"vendor": "pinterest", "source_id": form.values["source_id"]}
    body = form.load(IntegrationBody(), values)
    if body is not None and not form.errors:
        try:
            record = _create(form.values, body)
        except OperationError as error:
            _refuse(form, error)
        else:
            return redirect_to("ui.integration_page", "integration-added", integration_id=record["id"])
    return make_response(_form(form), 422)


@blueprint.get("/integrations/<integration_id>")
def _integration_page(integration_id: str) -> str:
    """Show an integration and its state."""
    return _page(integration_id)


@blueprint.get("/integrations/<integration_id>/change")
def _edit_integration_page(integration_id: str) -> str:
    """Show the form with the current values."""
    record = operations.get_integration(context.request_caller(), integration_id)
    return _form(Form(integration_values(record)), record)


@blueprint.post("/integrations/<integration_id>/change")
def _post_integration_change(integration_id: str) -> AnyResponse:
    """Change an integration to the values of the form."""
    record = operations.get_integration(context.request_caller(), integration_id)
    form = Form(sent_integration_values(request.form) | {"source_id": record["source_id"]})
    body = form.load(IntegrationChange(), _form_body(form))
    if body is not None and not form.errors:
        try:
            _change(integration_id, **body)
        except OperationError as error:
            _refuse(form, error)
        else:
            return redirect_to("ui.integration_page", "saved", integration_id=integration_id)
    return make_response(_form(form, record), 422)


@blueprint.post("/integrations/<integration_id>/enabled")
def _post_integration_enabled(integration_id: str) -> AnyResponse:
    """Turn an integration on or off."""
    enabled = request.form.get("enabled") == "yes"
    _change(integration_id, enabled=enabled)
    return redirect_to(
        "ui.integration_page", "enabled" if enabled else "disabled", integration_id=integration_id
    )


@blueprint.post("/integrations/<integration_id>/paused")
def _post_integration_paused(integration_id: str) -> AnyResponse:
    """Pause or resume the ad account of an integration, with all its access tokens."""
    current = operations.get_integration(context.request_caller(), integration_id)
    account_id = current["config"]["ad_account_id"]
    pausing = request.form.get("paused") == "yes"
    if pausing:
        reason = request.form.get("reason", "").strip()[:LONGEST_REASON] or DEFAULT_REASON
        pause_account(context.request_caller(), account_id, reason)
    else:
        resume_account(context.request_caller(), account_id)
    return redirect_to(
        "ui.integration_page", "paused" if pausing else "resumed", integration_id=integration_id
    )


@blueprint.post("/integrations/<integration_id>/test")
def _post_connection_test(integration_id: str) -> Response:
    """Send one test event and show the result."""
    url = context.app_settings().pinterest_api_url
    report = check_connection(context.request_caller(), integration_id, url)
    return make_response(_page(integration_id, report))


@blueprint.get("/integrations/<integration_id>/delete")
def _delete_integration_page(integration_id: str) -> str:
    """Preview the deletion of an integration."""
    status = get_integration_status(context.request_caller(), integration_id)
    return render_template("integration_delete.html", status=status, integration=status.integration)


@blueprint.post("/integrations/<integration_id>/delete")
def _post_integration_delete(integration_id: str) -> AnyResponse:
    """Delete an integration, or show the preview again if events arrived since."""
    try:
        choices = {name: Unsent(name) for name in tuple(Unsent) if request.form.get(name) == "yes"}
        waiting = next(iter(choices.values()), Unsent.REFUSE)
        operations.delete_integration(context.request_caller(), integration_id, waiting=waiting)
    except ConflictError:
        return redirect(url_for("ui.delete_integration_page", integration_id=integration_id), 303)
    return redirect_to("ui.integrations_page", "integration-deleted")


def _change(integration_id: str, **changes: Any) -> None:
    operations.change_integration(context.request_caller(), integration_id, context.usual_rate(), **changes)


def _create(values: dict[str, Any], body: dict[str, Any]) -> IntegrationRecord:
    caller, rate = context.request_caller(), context.usual_rate()
    if not values["login"]:
        return operations.create_integration(caller, rate, **body)
    return connect.create_connected_integration(caller, pinterest_app(), rate, _login(values), **body)


def _login(values: dict[str, Any]) -> int:
    return int(values["login"]) if values["login"].isdecimal() and len(values["login"]) < 10 else 0


def _form_body(form: Form) -> dict[str, Any]:
    """Return what came back; overrides that cannot be read are noted, and the rest is looked at all the same."""
    try:
        overrides = parse_overrides(form.values["event_overrides"])
    except OverridesError as error:
        form.errors["event_overrides"] = str(error)
        overrides = {}
    return integration_body(request.form, overrides)


def _refuse(form: Form, error: OperationError) -> None:
    if isinstance(error, DuplicateError):
        form.errors["ad_account_id"] = error.message
    else:
        form.refuse(error)


def _form(form: Form, record: IntegrationRecord | None = None) -> str:
    with context.app_ledger().read() as connection:
        sources = list(source_store.iterate_sources(connection))
    app, login_id = pinterest_app(), _login(form.values) if form.values.get("login") else 0
    account_id = form.values.get("ad_account_id", "")
    reading = connect.reading_of(context.request_caller(), account_id) if record else None
    names, trouble = _defined(reading.login_id if reading else login_id, account_id)
    return render_template(
        "integration_form.html",
        form=form,
        integration=record,
        sources=sources,
        consent=_CONSENT,
        has_app=bool(app.id),
        redirect_uri=app.redirect_uri,
        defined=[name for name in names if name not in split_lines(form.values.get("advertiser_events", ""))],
        trouble=trouble,
    )


def _defined(login_id: int, ad_account_id: str) -> tuple[list[str], str]:
    """Return the events that the advertiser defined, and why they could not be read."""
    if not login_id:
        return [], ""
    try:
        return connect.defined_events(context.request_caller(), pinterest_app(), login_id, ad_account_id), ""
    except OperationError as error:
        return [], error.message


def _token_end(integration: Integration, now: float) -> str | None:
    """Say what to do about an access token that ends soon, or has ended."""
    end = parse_time(integration.config.get("token_expires_at"))
    return (
        token_expiry.describe_token_end(end, now)
        if end is not None and token_expiry.ends_soon(end, now)
        else None
    )


def _page(integration_id: str, report: ConnectionReport | None = None) -> str:
    status = get_integration_status(context.request_caller(), integration_id)
    return render_template(
        "integration.html",
        token_end=_token_end(status.integration, context.now()),
        integration=status.integration,
        credential=status.credential,
        source=status.source,
        waiting=status.waiting,
        report=report,
        reading=connect.reading_of(context.request_caller(), status.integration.ad_account_id),
        has_app=bool(pinterest_app().id),
        redirect_uri=pinterest_app().redirect_uri,
    )
