"""Who may do what: each route and method, for each role, and pages' forms without their secret."""

import re
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.api.conftest import api, app, laid_down, ledger, settings
from tests.pages.conftest import Pages, csrf_of, made_token
from worker.api import auth
from worker.ledger.database import Ledger
from worker.ledger.setup.access import Role

__all__ = ["api", "app", "laid_down", "ledger", "settings"]

# The least role for each route. A new route needs a decision here.
ACCESS = {
    "none": """
    health.get_healthz health.get_readyz ui.static ui.sign_in_page ui.connect_back_page
    """,
    # These check a token themselves: tests/monitoring/test_metrics.py and tests/pages/test_sign_in.py.
    "own": "metrics.get_metrics ui.post_sign_in",
    "viewer": """
    api-docs.openapi_json api-docs.openapi_swagger_ui swagger-assets.get_docs_file
    sources.get_sources sources.get_source_view data_quality.get_data_quality
    integrations.get_integrations integrations.get_integration_view
    accounts.get_accounts accounts.get_account_view
    failed.get_failed_list failed.get_failed_summary failed.get_failed_export failed.get_failed_detail
    parked.get_parked alerts.get_alerts audit.get_audit_log
    orders.get_orders orders.get_orders_undelivered ui.orders_page ui.orders_export
    books.get_books find.get_deliveries stats.get_stats match_quality.get_quality match_quality.get_scores
    ui.overview_page ui.overview_part ui.find_page ui.data_quality_page ui.quality_page ui.sales_page
    ui.sales_export ui.events_page ui.events_part ui.event_page ui.event_input_page ui.explain_page
    ui.post_explain_form ui.failed_page ui.failed_export ui.integrations_page ui.integration_page
    ui.sources_page ui.source_page ui.audit_page ui.post_sign_out
    ui.password_page ui.post_password ui.first_steps_page ui.seen_part
    """,
    "editor": """
    sources.post_source sources.patch_source sources.delete_source_view sources.post_pipeline_key
    sources.post_server_secret integrations.post_integration integrations.patch_integration
    integrations.delete_integration_view accounts.patch_account accounts.post_pause accounts.post_resume
    orders.post_orders ui.post_orders_file
    failed.post_failed_retry failed.post_failed_discard failed.post_failed_mark parked.post_parked_retry
    explain.post_explain
    ui.post_checkout_name ui.post_debugging ui.post_unpark ui.post_mark ui.review_page ui.progress_page
    ui.connect_page
    ui.connect_finish_page ui.choose_account_page ui.vendors_page ui.new_integration_page
    ui.post_new_integration ui.edit_integration_page ui.post_integration_change ui.post_integration_enabled
    ui.post_integration_paused ui.post_connection_test ui.delete_integration_page ui.post_integration_delete
    ui.new_source_page ui.post_new_source ui.edit_source_page ui.post_source_change ui.post_new_key
    ui.post_new_secret ui.post_source_delete
    """,
    "owner": """
    person.post_erasure person.post_person_export person.post_suppression person.post_lifted_suppression
    person.get_person_requests ui.people_page ui.post_people ui.tokens_page ui.post_new_token
    ui.post_token_revoke ui.post_new_user ui.post_user
    users.get_users users.post_user users.patch_user users.delete_user
    """,
}
LEAST_ROLE = {endpoint: role for role, endpoints in ACCESS.items() for endpoint in endpoints.split()}
RANKS = ["none", "viewer", "editor", "owner"]
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
ALLOWED = "allowed"
# The last is replaced by the secret of another session.
SECRETS = (None, "", "00" * 16, "é", "another's")


@pytest.fixture(autouse=True)
def no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "_REQUESTS_A_MINUTE", 10**9)


def routes(app: Flask) -> Iterator[tuple[str, str, frozenset[str]]]:
    """Yield each endpoint, an address of it and its methods; signing out comes last."""
    values = {"number": "1", "action": "retry", "filename": "ui.css", "login_id": "1"}
    rules = sorted(app.url_map.iter_rules(), key=lambda rule: rule.endpoint == "ui.post_sign_out")
    for rule in rules:
        path = re.sub(r"<(?:[^:>]+:)?([^>]+)>", lambda found: values.get(found[1], "x"), rule.rule)
        yield rule.endpoint, path, frozenset(rule.methods or ()) - {"OPTIONS"}


def expected(endpoint: str, method: str, role: str) -> int | str:
    least = LEAST_ROLE[endpoint]
    if RANKS.index(role) >= RANKS.index(least):
        return ALLOWED
    if role != "none":
        return 403
    return 303 if endpoint.startswith("ui.") and method in ("GET", "HEAD") else 401


def browser_of(app: Flask, ledger: Ledger, role: str, name: str = "a browser") -> FlaskClient:
    """Return a client with the session of a role."""
    client = app.test_client()
    if role != "none":
        assert Pages(client).sign_in(made_token(ledger, Role(role), name)).status_code == 303
    return client


def headers_of(ledger: Ledger, role: str) -> dict[str, str]:
    """Return the headers of a script with a role."""
    return {} if role == "none" else {"Authorization": f"Bearer {made_token(ledger, Role(role), 'a script')}"}


def form_secret(client: FlaskClient, role: str) -> str:
    return csrf_of(client.get("/audit" if role != "none" else "/sign-in").text)


def test_every_route_has_a_decision(app: Flask) -> None:
    assert {endpoint for endpoint, _, _ in routes(app)} == LEAST_ROLE.keys()
    assert len(LEAST_ROLE) == sum(len(endpoints.split()) for endpoints in ACCESS.values())


@pytest.mark.parametrize("role", RANKS)
def test_each_role_gets_in_where_the_table_says(app: Flask, ledger: Ledger, role: str) -> None:
    wrong = []
    browser, script, headers = browser_of(app, ledger, role), app.test_client(), headers_of(ledger, role)
    secret = form_secret(browser, role)
    for endpoint, path, methods in routes(app):
        for method in sorted(methods) if LEAST_ROLE[endpoint] != "own" else ():
            if endpoint.startswith("ui."):
                answer = browser.open(
                    path, method=method, data={"csrf": secret} if method == "POST" else None
                )
            else:
                answer = script.open(path, method=method, headers=headers)
            status = answer.status_code
            answer.close()
            signs_in = re.fullmatch(r"/sign-in(\?next=.*)?", answer.location or "")
            found: int | str = status if status in (401, 403) or signs_in else ALLOWED
            if found != expected(endpoint, method, role) or status >= 500:
                wrong.append((method, path, status, expected(endpoint, method, role)))
    assert wrong == []


def test_a_method_that_a_route_does_not_have_is_refused(app: Flask, ledger: Ledger) -> None:
    script, headers = app.test_client(), headers_of(ledger, "owner")
    by_path: dict[str, set[str]] = {}
    for _, path, methods in routes(app):
        by_path.setdefault(path, set()).update(methods)
    statuses = {
        (method, path): script.open(path, method=method, headers=headers).status_code
        for path, methods in by_path.items()
        for method in METHODS
        if method not in methods
    }
    assert len(statuses) > 200
    assert {one: status for one, status in statuses.items() if status != 405 and not _is_an_id(*one)} == {}


def _is_an_id(method: str, path: str) -> bool:
    """Return whether the last part of an address is read as the id of a delivery."""
    actions = [f"/v1/admin/failed/{action}" for action in ("retry", "discard", "mark")]
    return method in ("GET", "HEAD") and path in actions


@pytest.mark.parametrize("role", RANKS)
def test_a_form_without_the_secret_of_its_session_is_refused(app: Flask, ledger: Ledger, role: str) -> None:
    client, other = browser_of(app, ledger, role), browser_of(app, ledger, "owner", "another browser")
    secrets = (*SECRETS[:-1], form_secret(other, "owner"))
    tried, wrong = 0, []
    for endpoint, path, methods in routes(app):
        if "POST" not in methods or not endpoint.startswith("ui.") or LEAST_ROLE[endpoint] == "own":
            continue
        for secret in secrets:
            status = client.post(path, data={} if secret is None else {"csrf": secret}).status_code
            tried += 1
            if status != (401 if role == "none" else 403):
                wrong.append((path, secret, status))
    assert tried > 100
    assert wrong == []
