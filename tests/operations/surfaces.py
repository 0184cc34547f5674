"""The three surfaces of one ledger: the API, the pages and the command line."""

import json
import re
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from click.testing import CliRunner
from flask import Flask
from werkzeug.test import TestResponse

from tests.api.conftest import TOKEN as ADMIN_TOKEN
from tests.api.conftest import Api
from tests.pages.conftest import Pages
from worker.cli import cli, common
from worker.ledger.database import Ledger
from worker.ledger.setup import access, audit_log
from worker.settings import parse
from worker.web.management import create_app

ACCOUNT = "549765662491"
API, PAGES, SHELL = "api", "pages", "shell"
# Each surface's name in the audit log.
ACTORS = {API: "admin", PAGES: "admin", SHELL: common._ACTOR}

_SETTINGS = parse(
    {
        "ADMIN_TOKEN": ADMIN_TOKEN,
        "ENCRYPTION_KEY": "00" * 32,
        "FLOWER_BASIC_AUTH": "flower:password",
        "FLOWER_COOKIE_SECRET": "cookie",
    }
)
# These differ from one run to the next.
_RANDOM = (
    (re.compile(r"\b(src|int|tok|usr)_[0-9a-f]{12,16}\b"), r"\1_*"),
    (re.compile(r"dk_(live|test)_[0-9a-f]{32}"), r"dk_\1_*"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), "TIME"),
)


@dataclass(slots=True)
class World:
    """Hold a ledger with two shops that deliver to one ad account by two access tokens."""

    ledger: Ledger
    app: Flask = field(init=False)
    api: Api = field(init=False)
    pages: Pages = field(init=False)
    # The ids of the integrations, by their sources.
    integrations: dict[str, str] = field(default_factory=dict)
    refused: bool = False

    def __post_init__(self) -> None:
        self.app = create_app(self.ledger, _SETTINGS)
        self.api, self.pages = Api(self.app.test_client()), Pages(self.app.test_client())
        self.pages.sign_in()
        for name in ("shop", "other", "vacant"):
            source_id = f"src_{name}"
            self.api.make("/v1/admin/sources", {"id": source_id, "name": name, "domain": "shop.example.com"})
            if name != "vacant":
                config = {"ad_account_id": ACCOUNT, "access_token": f"pina_{name}"}
                body = {"source_id": source_id, "vendor": "pinterest", "name": name, "config": config}
                self.integrations[name] = self.api.make("/v1/admin/integrations", body)["id"]
        self.shell("tokens", "create", "Anna", "--role", "viewer")

    def shell(self, *arguments: str, stdin: str = "") -> str:
        """Run a command; return what it printed to standard output."""
        with patch.object(common, "checked_ledger", lambda: self.ledger):
            done = CliRunner().invoke(cli, arguments, input=stdin)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        self.refused = done.exit_code != 0
        return done.stdout

    def call(self, method: str, path: str, body: Any = None) -> TestResponse:
        answer = self.api.call(method, f"/v1/admin/{path}", body)
        self.refused = answer.status_code >= 400
        return answer

    def send(self, path: str, **fields: Any) -> str:
        """Send a form; return the page that answers."""
        answer = self.pages.send(path, fields)
        # A page that asks again is a refusal.
        self.refused = answer.status_code >= 400 or answer.location == path
        return answer.text

    def state(self) -> dict[str, Any]:
        """Return what the operations may change, without what is random."""
        with self.ledger.read() as connection:
            tokens = {one.name: one.role.value for one in access.valid_tokens(connection)}
            tokens |= {one.name: f"{one.role.value} {one.enabled}" for one in access.all_users(connection)}
        names = ("accounts", "integrations", "sources")
        lists = {name: self.api.get(f"/v1/admin/{name}")["data"] for name in names}
        shown: dict[str, Any] = _plain({"tokens": tokens, **lists})
        return shown

    def audited(self) -> list[tuple[str, str, str, Any]]:
        """Return the audit rows, the oldest first: actor, action, object, changes."""
        with self.ledger.read() as connection:
            rows = reversed(audit_log.newest_audit_entries(connection, 100))
        return [(row["actor"], row["action"], *_plain([row["object"], row["changes"]])) for row in rows]


def _plain(value: Any) -> Any:
    text = json.dumps(_lasting(value))
    for pattern, mask in _RANDOM:
        text = pattern.sub(mask, text)
    return json.loads(text)


def _lasting(value: Any) -> Any:
    """Leave out who did it and when, and the numbers that a database gives."""
    if isinstance(value, dict):
        return {
            key: _lasting(inner)
            for key, inner in value.items()
            if key not in ("paused_by", "created_at", "updated_at")
            and not (key == "id" and isinstance(inner, int))
        }
    return [_lasting(inner) for inner in value] if isinstance(value, list) else value
