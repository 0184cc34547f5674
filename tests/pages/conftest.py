"""A visitor of the pages, and a shop whose events are in the ledger."""

import re
import time
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.api.conftest import TOKEN, Api, api, app, laid_down, ledger, settings, source
from tests.ledger.shop import new
from worker.api.throttle import PasswordLanes
from worker.ledger.database import Ledger
from worker.ledger.delivery import new_deliveries
from worker.ledger.schema import State
from worker.ledger.setup import access as ledger_access
from worker.ledger.setup import integrations
from worker.ledger.setup.access import Role
from worker.ledger.setup.integrations import Integration
from worker.operations.caller import Caller
from worker.operations.setup import access

# The same Management app as the API's tests: pytest finds fixtures by the names in this module.
__all__ = ["api", "app", "laid_down", "ledger", "settings", "source"]

ACCOUNT = "549765662491"
ACCESS_TOKEN = "pina_the_token_of_the_shop"
PASSWORD, OTHER_PASSWORD = "correct horse battery", "staple correct horse"

_CSRF = re.compile(r'name="csrf" value="([^"]+)"')


class Pages:
    """Go through the pages as a browser does, forms with their secrets."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client

    def sign_in(self, token: str = TOKEN, **fields: str) -> TestResponse:
        secret = csrf_of(self.client.get("/sign-in").text)
        return self.client.post("/sign-in", data={"csrf": secret, "token": token} | fields)

    def get(self, path: str) -> str:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def send(self, path: str, data: dict[str, Any] | None = None, page: str = "/audit") -> TestResponse:
        """Send a form that carries the session's secret."""
        secret = csrf_of(self.get(page))
        return self.client.post(path, data={"csrf": secret} | (data or {}))

    def follow(self, answer: TestResponse) -> str:
        assert answer.status_code == 303, answer.text
        return self.get(answer.location)


def csrf_of(page: str) -> str:
    found = _CSRF.search(page)
    assert found
    return found[1]


@pytest.fixture
def stranger(app: Flask) -> Pages:
    return Pages(app.test_client())


@pytest.fixture
def pages(app: Flask) -> Pages:
    """Be signed in as the owner."""
    pages = Pages(app.test_client())
    assert pages.sign_in().status_code == 303
    return pages


def made_token(ledger: Ledger, role: Role, name: str = "Anna") -> str:
    ledger.vault.prepare()
    with ledger.write() as connection:
        return ledger_access.insert_token(connection, ledger.vault, name, role, "test", time.time())[1]


@pytest.fixture
def viewer(app: Flask, ledger: Ledger) -> Pages:
    pages = Pages(app.test_client())
    pages.sign_in(made_token(ledger, Role.VIEWER, "a viewer"))
    return pages


@pytest.fixture
def editor(app: Flask, ledger: Ledger) -> Pages:
    pages = Pages(app.test_client())
    pages.sign_in(made_token(ledger, Role.EDITOR, "an editor"))
    return pages


@pytest.fixture
def shop(ledger: Ledger, api: Api) -> Integration:
    """Deliver one shop's events to one ad account."""
    api.make("/v1/admin/sources", {"id": "src_shop", "name": "Shop", "domain": "shop.example.com"})
    config = {"ad_account_id": ACCOUNT, "access_token": ACCESS_TOKEN}
    body = {"source_id": "src_shop", "vendor": "pinterest", "name": "Pinterest", "config": config}
    made = api.make("/v1/admin/integrations", body)
    with ledger.read() as connection:
        found = integrations.load_integration(connection, made["id"])
    assert found
    return found


def write(ledger: Ledger, where: Integration, *event_ids: str, **changes: Any) -> None:
    """Write deliveries down as ingest does."""
    now = time.time()
    given = {"event_time": int(now), "accepted_at": now} | changes
    with ledger.write() as connection:
        new_deliveries.insert_deliveries(
            connection, ledger.vault, [new(ledger, where, one, **given) for one in event_ids], now
        )


def fail(ledger: Ledger, where: Integration, *event_ids: str, **changes: Any) -> None:
    """Write deliveries down that failed."""
    given = {"state": State.FAILED, "reason_class": "missing_value", "reason": "A checkout needs a value."}
    write(ledger, where, *event_ids, **(given | changes))


@pytest.fixture
def lanes(app: Flask) -> list[float]:
    """Note the pauses after wrong passwords instead of making them."""
    paused: list[float] = []
    app.extensions["signal-password-lanes"] = PasswordLanes(paused.append)
    return paused


@pytest.fixture
def anna(app: Flask, ledger: Ledger, lanes: list[float]) -> Pages:
    """Return the browser of a viewer with a password, who is not signed in."""
    access.create_user(Caller(ledger, "kim", time.time()), "Anna", "viewer", PASSWORD)
    return Pages(app.test_client())


def sign_in_user(pages: Pages, name: str = "Anna", password: str = PASSWORD) -> TestResponse:
    secret = csrf_of(pages.client.get("/sign-in").text)
    return pages.client.post("/sign-in", data={"csrf": secret, "name": name, "password": password})
