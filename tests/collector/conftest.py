"""A collector on a ledger of its own."""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from worker.collector.wsgi import create_app
from worker.http.signature import sign
from worker.ledger.database import Ledger
from worker.ledger.intake import inbox
from worker.ledger.migrate import migrate
from worker.ledger.schema import inbox as inbox_table
from worker.ledger.setup import sources
from worker.ledger.setup.sources import Source
from worker.settings import parse

KEY = "dk_live_abc123"
SECRET = "whsec_of_the_shop"
SOURCE = Source(id="src_abc123", name="Shop", domains=("example.com",), created_at=1.0, updated_at=1.0)
NOW = 1_706_540_000.0
CONSENT = {"consent": {"advertising": True}}


@dataclass
class Clock:
    """Replace `time.time`."""

    at: float = NOW

    def __call__(self) -> float:
        return self.at


@dataclass
class Hints:
    """Replace `HintPublisher.offer`."""

    offered: list[list[int]] = field(default_factory=list)

    def __call__(self, ids: Sequence[int]) -> int:
        self.offered.append(list(ids))
        return len(ids)


@dataclass(frozen=True)
class Kept:
    """One row of the inbox, opened."""

    id: int
    source_id: str
    anonymous_key: bytes | None
    user_key: bytes | None
    informs: bool
    event: dict[str, Any]
    received: dict[str, Any]


@dataclass
class Collector:
    """Drive one collector, and look into its inbox."""

    app: Flask
    ledger: Ledger
    clock: Clock
    hints: Hints

    @property
    def client(self) -> FlaskClient:
        return self.app.test_client(use_cookies=False)

    def send(self, path: str, body: Any, key: str | None = KEY, **options: Any) -> TestResponse:
        """Post a body as JSON; bytes and texts go as they are."""
        data = body if isinstance(body, bytes | str) else json.dumps(body)
        headers = dict(options.pop("headers", {}))
        headers.setdefault("Content-Type", "application/json")
        if key is not None:
            headers.setdefault("Authorization", f"Bearer {key}")
        cookies = options.pop("cookies", {})
        if cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        return self.client.post(path, data=data, headers=headers, **options)

    def send_signed(self, path: str, body: Any, **changed: str) -> TestResponse:
        """Post a body as the shop's server does."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        stamp = changed.get("stamp", str(int(self.clock() * 1000)))
        headers = {
            "X-Source-Id": changed.get("source_id", SOURCE.id),
            "X-Timestamp": stamp,
            "X-Signature": changed.get("signature", sign(SECRET, stamp, raw)),
            "User-Agent": "shop-backend/1.0",
        }
        return self.send(path, raw, key=None, headers=headers)

    def change_source(self, **options: Any) -> None:
        """Set options of the source, and let the collector forget what it knew."""
        with self.ledger.write() as connection:
            sources.update_source(connection, replace(SOURCE, options=options), 2.0)
        self.clock.at += 10

    def kept(self) -> list[Kept]:
        """Return the inbox, opened."""
        with self.ledger.read() as connection:
            rows = connection.execute(select(inbox_table).order_by(inbox_table.c.id)).all()
        return [self._open(row) for row in rows]

    def _open(self, row: Any) -> Kept:
        body = json.loads(self.ledger.vault.open(row.body, inbox.BODY))
        return Kept(
            row.id,
            row.source_id,
            row.anonymous_key,
            row.user_key,
            row.informs,
            body["event"],
            body["received"],
        )


@pytest.fixture(scope="session")
def ledger_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with the shop as its source; migrating once for all tests saves most of their time."""
    path = tmp_path_factory.mktemp("ledger") / "l.db"
    ledger = Ledger(f"sqlite:///{path}", ("00" * 32,))
    migrate(ledger)
    # Makes the day's key, which is a write of its own and would wait for the one below.
    ledger.vault.seal(b"", b"")
    with ledger.write() as connection:
        sources.insert_source(connection, ledger.vault, SOURCE, KEY, SECRET)
    ledger.dispose()
    return path


@pytest.fixture
def ledger(tmp_path: Path, ledger_file: Path) -> Iterator[Ledger]:
    shutil.copy(ledger_file, tmp_path / "l.db")
    ledger = Ledger(f"sqlite:///{tmp_path}/l.db", ("00" * 32,))
    # Midnight may have passed since the file was made.
    ledger.vault.prepare()
    yield ledger
    ledger.dispose()


@pytest.fixture
def collector(ledger: Ledger, tmp_path: Path) -> Collector:
    settings = parse({"SIGNAL_VAR": str(tmp_path), "TRUSTED_PROXIES": "10.0.0.0/8"})
    clock, hints = Clock(), Hints()
    return Collector(create_app(ledger, settings, hints, clock), ledger, clock, hints)
