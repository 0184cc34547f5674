"""A Management API over a ledger of its own."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.ledger.shop import place
from worker.ledger import migrate
from worker.ledger.database import Ledger
from worker.ledger.setup.integrations import Integration
from worker.settings import Settings, parse
from worker.web.management import create_app

TOKEN = "the-token-of-the-tests"


class Api:
    """Speak to the API with the token, and read its errors."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> TestResponse:
        if body is not None:
            options["json"] = body
        headers = {"Authorization": f"Bearer {TOKEN}", **options.pop("headers", {})}
        return self.client.open(path, method=method, headers=headers, **options)

    def get(self, path: str) -> Any:
        answer = self.call("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json

    def make(self, path: str, body: Any) -> Any:
        answer = self.call("POST", path, body)
        assert answer.status_code == 201, answer.text
        return answer.json

    def change(self, path: str, body: Any) -> Any:
        answer = self.call("PATCH", path, body)
        assert answer.status_code == 200, answer.text
        return answer.json

    def error(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, str]:
        """Return the status and the sentence of a request that must fail."""
        answer = self.call(method, path, body, **options)
        assert set(answer.json) == {"error"}
        assert set(answer.json["error"]) == {"code", "message"}
        return answer.status_code, answer.json["error"]["message"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    environ = {
        "SIGNAL_VAR": str(tmp_path),
        "ADMIN_TOKEN": TOKEN,
        "ENCRYPTION_KEY": "00" * 32,
        "FLOWER_BASIC_AUTH": "flower:password",
        "FLOWER_COOKIE_SECRET": "cookie",
        "RATE_LIMIT_RPS": "70",
        "RATE_LIMIT_BURST": "140",
    }
    return parse(environ)


@pytest.fixture(scope="session")
def laid_down(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay an empty ledger down once, to be copied: the migrations take longer than a test."""
    path = tmp_path_factory.mktemp("ledger") / "signal.db"
    opened = Ledger(f"sqlite:///{path}", ("00" * 32,))
    migrate.migrate(opened)
    opened.dispose()
    return path


@pytest.fixture
def ledger(settings: Settings, laid_down: Path) -> Iterator[Ledger]:
    shutil.copy(laid_down, settings.var / "signal.db")
    opened = Ledger(settings.database_url, settings.encryption_keys)
    yield opened
    opened.dispose()


@pytest.fixture
def app(ledger: Ledger, settings: Settings) -> Flask:
    return create_app(ledger, settings)


@pytest.fixture
def api(app: Flask) -> Api:
    return Api(app.test_client())


@pytest.fixture
def shop(ledger: Ledger) -> Integration:
    """Deliver one shop's events to one ad account."""
    ledger.vault.prepare()
    return place(ledger)


@pytest.fixture
def source(api: Api) -> dict[str, Any]:
    """Make the document's source."""
    made: dict[str, Any] = api.make(
        "/v1/admin/sources", {"id": "src_abc123", "name": "Shop", "domain": "shop.example.com"}
    )
    return made
