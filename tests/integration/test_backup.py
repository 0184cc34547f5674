"""The commands of docs/backup.md bring every row back, on both databases."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from tests.conftest import KEY, postgresql_database
from tests.ledger.shop import accept, close, new, pend, place, write
from worker.ledger.database import Ledger
from worker.ledger.delivery.new_deliveries import PAYLOAD
from worker.ledger.migrate import migrate
from worker.ledger.schema import State, delivery, metadata

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "backup.md"
BIN = Path(sys.executable).parent


def block(headline: str, database: str) -> str:
    """Return the commands below a headline for a database, as the document prints them."""
    section = DOCUMENT.read_text().partition(f"\n## {headline}\n")[2].partition("\n## ")[0]
    below = section.partition(f"\nOn {database}")[2]
    found = re.search(r"```sh\n(.*?)```", below, re.DOTALL)
    assert found, (headline, database)
    return found[1]


def rows(ledger: Ledger) -> dict[str, list[Any]]:
    with ledger.read() as connection:
        return {
            name: sorted(map(repr, connection.execute(select(table)).all()))
            for name, table in metadata.tables.items()
        }


class Operator:
    """Run the document's commands in a folder, with the settings of a service."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.environment = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        self.environment |= {name: os.environ[name] for name in ("HOME", "PGPASSWORD") if name in os.environ}
        self.environment |= {"ENCRYPTION_KEY": KEY, **settings}

    def type(self, commands: str) -> str:
        done = subprocess.run(
            ["/bin/sh", "-euc", commands],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def fill(ledger: Ledger) -> None:
    """Put a bit of everything into a ledger."""
    ledger.vault.prepare()
    shop = place(ledger)
    pend(ledger, shop, 5)
    write(
        ledger, [new(ledger, shop, "failed", state=State.FAILED, reason="Because.", reason_class="rejected")]
    )
    accept(ledger, [{"type": "track", "event": "x"}] * 3, received_at=time.time())


def opened(ledger: Ledger) -> list[bytes]:
    with ledger.read() as connection:
        sealed = connection.scalars(select(delivery.c.payload).order_by(delivery.c.id)).all()
    return [ledger.vault.open(one, PAYLOAD) for one in sealed]


def test_a_ledger_on_sqlite_comes_back(tmp_path: Path) -> None:
    operator = Operator(tmp_path, SIGNAL_VAR=str(tmp_path / "var"))
    ledger = Ledger(f"sqlite:///{tmp_path / 'var' / 'signal.db'}", (KEY,))
    migrate(ledger)
    fill(ledger)
    before, payloads = rows(ledger), opened(ledger)
    # The ledger is open and written to while it is copied.
    operator.type(block("Back up", "SQLite"))
    pend(ledger, place(ledger, "src_later", "42"), 3, prefix="later")
    ledger.dispose()

    assert operator.type(block("Restore", "SQLite")).endswith("The books balance.\n")

    restored = Ledger(str(ledger.url), (KEY,))
    assert (rows(restored), opened(restored)) == (before, payloads)
    close(restored)
    restored.dispose()


@pytest.fixture
def postgresql() -> Iterator[Ledger]:
    with postgresql_database() as url:
        ledger = Ledger(url, (KEY,))
        migrate(ledger)
        yield ledger
        ledger.dispose()


@pytest.mark.services
@pytest.mark.parametrize("lost", [False, True], ids=["damaged", "lost"])
def test_a_ledger_on_postgresql_comes_back(postgresql: Ledger, tmp_path: Path, lost: bool) -> None:
    url = postgresql.url.set(drivername="postgresql").render_as_string(hide_password=False)
    operator = Operator(tmp_path, SIGNAL_VAR=str(tmp_path / "var"), DATABASE_URL=url)
    fill(postgresql)
    before, payloads = rows(postgresql), opened(postgresql)
    operator.type(block("Back up", "PostgreSQL"))
    with postgresql.write() as connection:
        if lost:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        else:
            connection.execute(text("DELETE FROM delivery"))
            connection.execute(text("DELETE FROM data_key"))
    postgresql.dispose()

    assert operator.type(block("Restore", "PostgreSQL")).endswith("The books balance.\n")

    assert (rows(postgresql), opened(postgresql)) == (before, payloads)
    # Ids continue after the last one, and are not reused.
    accept(postgresql, [{"type": "track", "event": "x"}], received_at=time.time())
    close(postgresql)
