"""The app as a whole: what is open, what the headers say, and how it starts."""

import os
import re
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import pytest
from flask import Flask

from tests.api.conftest import TOKEN, Api
from worker.api.docs import is_docs
from worker.api.integrations import _CONFIG_PROPERTIES
from worker.ledger.database import Ledger
from worker.ledger.vault import _KEY_MISSING_MESSAGE
from worker.pinterest.integration_config import _IntegrationConfigSchema
from worker.web import management

BASIC = {"Authorization": "Basic " + b64encode(f"anyone:{TOKEN}".encode()).decode()}


@pytest.mark.parametrize("given", ["Bearer wrong", "Bearer é", f"Token {TOKEN}"])
def test_a_wrong_token_is_refused(app: Flask, given: str) -> None:
    answer = app.test_client().get("/v1/admin/sources", headers={"Authorization": given})

    assert answer.status_code == 401


def test_an_unknown_address_is_no_secret_way_in(app: Flask) -> None:
    assert app.test_client().get("/v1/admin/nothing").status_code == 401


def test_the_refusal_has_the_format_of_errors_and_says_how_to_sign_in(app: Flask) -> None:
    answer = app.test_client().get("/v1/admin/sources")

    message = "A valid token is required: Authorization: Bearer YOUR_TOKEN."
    assert answer.json == {"error": {"code": "UNAUTHORIZED", "message": message}}
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="Signal Management API"'


def test_the_health_check_answers_strangers(app: Flask) -> None:
    answer = app.test_client().get("/healthz")

    assert (answer.status_code, answer.json) == (200, {"status": "ok"})


@pytest.mark.parametrize("path", ["/healthz", "/v1/admin/sources", "/nothing", "/v1/admin/docs/"])
def test_every_answer_stays_out_of_caches_and_frames(api: Api, path: str) -> None:
    headers = api.call("GET", path).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_a_browser_opens_swagger_ui_with_the_token_as_password(app: Flask) -> None:
    client = app.test_client()
    challenge = client.get("/v1/admin/docs/").headers["WWW-Authenticate"]

    assert challenge.startswith("Basic ")
    assert client.get("/v1/admin/docs/", headers=BASIC).status_code == 200


def test_the_api_itself_takes_no_password_because_browsers_repeat_those_by_themselves(app: Flask) -> None:
    assert app.test_client().get("/v1/admin/sources", headers=BASIC).status_code == 401


def test_swagger_ui_loads_nothing_from_elsewhere_and_its_files_are_there(api: Api) -> None:
    page = api.call("GET", "/v1/admin/docs/")
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)

    assert "://" not in page.text
    assert len(named) == 3
    for address in named:
        with api.call("GET", address) as asset:
            assert asset.status_code == 200, address
    assert re.search(r"script-src 'self' 'sha256-[^']{44}';", page.headers["Content-Security-Policy"])


def test_files_beside_swagger_ui_are_out_of_reach(api: Api) -> None:
    assert api.call("GET", "/v1/admin/docs/assets/../__init__.py").status_code == 404
    assert api.call("GET", "/v1/admin/docs/assets/%2e%2e/__init__.py").status_code == 404


def test_the_description_names_every_route_of_the_api(app: Flask, api: Api) -> None:
    described = api.get("/v1/admin/docs/openapi.json")
    served = {
        re.sub("<([^>]+)>", r"{\1}", rule.rule)
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/v1/") and not is_docs(rule.rule)
    }

    assert served == set(described["paths"])
    assert described["security"] == [{"token": []}]


def test_the_description_names_every_setting_that_the_connector_takes() -> None:
    assert set(_IntegrationConfigSchema().fields) == set(_CONFIG_PROPERTIES)


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    return kept | {
        "SIGNAL_VAR": str(tmp_path),
        "ADMIN_TOKEN": TOKEN,
        "ENCRYPTION_KEY": "00" * 32,
        "PYTHONPATH": str(Path(management.__file__).parents[2]),
    }


def start(environ: dict[str, str]) -> tuple[int, str, str]:
    code = "from worker.web.management import application; print(application().name)"
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False, timeout=60
    )
    return ended.returncode, ended.stdout, ended.stderr


@pytest.fixture
def used(ledger: Ledger) -> None:
    """Let the ledger hold something that needs its key."""
    ledger.vault.seal(b"", b"first")


@pytest.mark.usefixtures("used")
def test_it_starts_on_a_ledger_that_is_laid_down(environ: dict[str, str]) -> None:
    assert start(environ) == (0, "worker.api\n", "")


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"RATE_LIMIT_RPS": "many"}, "RATE_LIMIT_RPS must be a number, not 'many'."),
        ({"ENCRYPTION_KEY": "11" * 32}, _KEY_MISSING_MESSAGE),
        (
            {"DATABASE_URL": "postgresql://a:b@127.0.0.1:1/c"},
            "The ledger cannot be opened: OperationalError. DATABASE_URL names it.",
        ),
    ],
    ids=["setting", "key", "database"],
)
def test_what_is_wrong_stops_the_start_with_one_sentence(
    environ: dict[str, str], wrong: dict[str, str], sentence: str
) -> None:
    assert (4, "", f"{sentence}\n") == start(environ | wrong)


def test_an_empty_database_stops_the_start_and_names_the_command_that_helps(environ: dict[str, str]) -> None:
    status, _, said = start(environ)

    assert (status, said.endswith("run `python -m worker migrate`.\n")) == (4, True)
