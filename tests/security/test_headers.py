"""Every answer of every route has headers against framing, caching and content sniffing."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.api.conftest import TOKEN
from worker.collector.wsgi import create_app as create_collector
from worker.ledger.database import Ledger
from worker.settings import Settings, parse
from worker.web.management import create_app as create_management

# Browsers may cache files that are the same for everyone.
CACHEABLE = re.compile(r"/(d[.\w]*\.js|d\.d\.ts|static/.*|v1/admin/docs/assets/.*)$")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    environ = {
        "SIGNAL_VAR": str(tmp_path),
        "ADMIN_TOKEN": TOKEN,
        "ENCRYPTION_KEY": "ab" * 32,
        "FLOWER_BASIC_AUTH": "flower:password",
        "FLOWER_COOKIE_SECRET": "cookie",
    }
    return parse(environ)


@pytest.fixture(params=["collector", "management"])
def app(request: pytest.FixtureRequest, sqlite_ledger: Ledger, settings: Settings) -> Flask:
    if request.param == "collector":
        return create_collector(sqlite_ledger, settings, lambda _ids: None)
    return create_management(sqlite_ledger, settings)


def routes(app: Flask) -> Iterator[tuple[str, str]]:
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<any\((\w+)[^>]*>", r"\1", rule.rule)
        path = re.sub(r"<[^>]+>", "x", path)
        for method in sorted(rule.methods or ()):
            yield method, path
    # An unknown address, and a method that is not allowed.
    yield "GET", "/nothing/here"
    yield "DELETE", "/healthz"


def missing(method: str, path: str, headers: dict[str, str]) -> list[str]:
    wanted = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
    absent = [name for name, value in wanted.items() if headers.get(name) != value]
    policy = headers.get("Content-Security-Policy", "")
    if "default-src 'none'" not in policy or "frame-ancestors 'none'" not in policy:
        absent.append("Content-Security-Policy")
    if headers.get("Cache-Control") != "no-store" and not CACHEABLE.search(path):
        absent.append("Cache-Control")
    return [f"{method} {path}: {name}" for name in absent]


@pytest.mark.parametrize("credentials", [{}, {"Authorization": f"Bearer {TOKEN}"}], ids=["stranger", "owner"])
def test_every_answer_of_every_route_is_protected(app: Flask, credentials: dict[str, str]) -> None:
    client, wrong, seen = app.test_client(), list[str](), 0
    for method, path in routes(app):
        with client.open(path, method=method, headers=credentials) as answer:
            wrong += missing(method, path, dict(answer.headers))
        seen += 1
    assert seen > 10
    assert wrong == []
