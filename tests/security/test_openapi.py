"""Both APIs answer generated requests, allowed and forbidden, as their OpenAPI descriptions say."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import yaml
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from tests.api.conftest import TOKEN
from tests.collector.conftest import KEY, SECRET, SOURCE
from tests.ledger.shop import place
from worker.api import auth
from worker.collector import segment, wsgi
from worker.collector.gateway import _TYPES
from worker.collector.wsgi import create_app as create_collector
from worker.http.signature import sign
from worker.ledger.database import Ledger
from worker.ledger.setup import sources
from worker.operations.person import erasing
from worker.settings import Settings, parse
from worker.web.management import create_app as create_management

CHECKS = [not_a_server_error, status_code_conformance, response_schema_conformance]
# Of each operation, allowed and forbidden ones each.
EXAMPLES = 2
MANY_EXAMPLES = 25
SIGNED = "/v1/events"
# An app, the path of its description, and the headers of a caller with all rights.
Api = tuple[Flask, str, dict[str, str]]


@pytest.fixture
def chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(auth, "_REQUESTS_A_MINUTE", 10**9)
    monkeypatch.setattr(erasing, "_SETTLING_SECONDS", 0.0)
    return parse(
        {
            "SIGNAL_VAR": str(tmp_path),
            "ADMIN_TOKEN": TOKEN,
            "ENCRYPTION_KEY": "ab" * 32,
            # Nothing listens there.
            "ALLOW_SANDBOX": "1",
            "PINTEREST_API_URL": "http://127.0.0.1:9/v5",
        }
    )


@pytest.fixture(params=["collector", "management"])
def api(request: pytest.FixtureRequest, sqlite_ledger: Ledger, chosen: Settings) -> Api:
    """Make one of the two apps."""
    with sqlite_ledger.write() as connection:
        sources.insert_source(connection, sqlite_ledger.vault, SOURCE, KEY, SECRET)
    if request.param == "collector":
        app = create_collector(sqlite_ledger, chosen, len)
        return app, "/openapi.yaml", {"Authorization": f"Bearer {KEY}"}
    place(sqlite_ledger)
    app = create_management(sqlite_ledger, chosen)
    return app, "/v1/admin/docs/openapi.json", {"Authorization": f"Bearer {TOKEN}"}


def attempts(
    api: Api, operation: APIOperation, mode: GenerationMode, examples: int
) -> tuple[list[int], list[str]]:
    """Try generated requests of one operation; return the statuses, and what was wrong with the answers."""
    app, _, headers = api
    client, wrong, statuses = app.test_client(use_cookies=False), list[str](), list[int]()

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def attempt(case: Case) -> None:
        request = case.as_transport_kwargs(headers=headers)
        if operation.path == SIGNED:
            request["headers"] = {**request["headers"], **_signed(request)}
        with client.open(**request) as answer:
            statuses.append(answer.status_code)
            try:
                case.validate_response(answer, checks=CHECKS)
            except FailureGroup as error:
                wrong.append(f"{operation.label}: {error}")

    try:
        attempt()
    except Exception as error:
        # An operation without input has no forbidden request.
        if "Unsatisfiable" not in type(error).__name__:
            raise
    return statuses, wrong


def _signed(request: dict[str, Any]) -> dict[str, str]:
    body = request.get("data")
    if body is None and "json" in request:
        body = json.dumps(request["json"])
        request.pop("json")
        request["data"] = body
    if not isinstance(body, str | bytes):
        return {}
    stamp = str(int(time.time() * 1000))
    signature = sign(SECRET, stamp, body.encode() if isinstance(body, str) else body)
    return {"X-Source-Id": SOURCE.id, "X-Timestamp": stamp, "X-Signature": signature}


@pytest.mark.parametrize("examples", [EXAMPLES, pytest.param(MANY_EXAMPLES, marks=pytest.mark.slow)])
def test_every_answer_is_as_described(api: Api, examples: int) -> None:
    app, path, headers = api
    schema = schemathesis.openapi.from_wsgi(path, app, headers=headers)
    wrong, tried, statuses = list[str](), 0, set[int]()
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            answered, errors = attempts(api, operation, mode, examples)
            tried, wrong = tried + len(answered), wrong + errors[:2]
            statuses.update(answered)
    assert "\n\n".join(wrong) == ""
    assert tried >= len(list(schema.get_all_operations())) * examples
    assert {200, 400 if path == "/openapi.yaml" else 422} <= statuses


def test_the_collectors_description_has_every_route_and_no_other(
    sqlite_ledger: Ledger, chosen: Settings
) -> None:
    served = {
        (re.sub(r"<(?:[^:>]+:)?([^>]+)>", r"{\1}", rule.rule), method.lower())
        for rule in create_collector(sqlite_ledger, chosen, len).url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    paths = yaml.safe_load(Path(wsgi.__file__).with_name("openapi.yaml").read_text())["paths"]
    described = {(path, method) for path, methods in paths.items() for method in methods}
    assert served == described
    calls = paths["/v1/{call}"]["post"]["parameters"][0]["schema"]["enum"]
    assert set(calls) == {*_TYPES, *segment.CALLS}
