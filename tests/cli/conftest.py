"""A small ledger, and the command line on it."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from worker import runtime
from worker.cli import cli
from worker.dev import shop_walk
from worker.dev.shop_walk import _SOURCE_ID
from worker.ledger import migrate
from worker.ledger.database import Ledger
from worker.ledger.delivery import new_deliveries
from worker.ledger.delivery.new_deliveries import PAYLOAD, NewDelivery
from worker.ledger.schema import State
from worker.pipeline.ingest.outcomes import Destinations
from worker.settings import settings

HOUR = 3_600
DAY = 24 * HOUR


class Shell:
    """Run commands in this process, on a ledger of one's own."""

    def __init__(self) -> None:
        self.now = time.time()
        migrate.migrate(self.ledger)
        shop_walk.create_demo(self.ledger, settings())

    @property
    def ledger(self) -> Ledger:
        return runtime.ledger()

    def run(self, *arguments: str, stdin: str | bytes = "") -> Result:
        return CliRunner().invoke(cli, arguments, input=stdin, prog_name="signal-worker")

    def good(self, *arguments: str, stdin: str | bytes = "") -> str:
        """Run a command that has to end well; return what it printed."""
        done = self.run(*arguments, stdin=stdin)
        assert (done.exit_code, done.exception) == (0, None), done.output
        return done.output

    def add(
        self,
        event_id: str,
        event_name: str,
        state: State,
        *,
        age: float = 60.0,
        reason: str = "",
        reason_class: str = "rejected",
    ) -> None:
        """Write a delivery of the demo's integration."""
        with self.ledger.read() as connection:
            (target,) = Destinations(connection, [_SOURCE_ID]).of(_SOURCE_ID)
        key = self.ledger.vault.keyed_hash("order", _SOURCE_ID, f"order of {event_id}")
        new = NewDelivery(
            source_id=_SOURCE_ID,
            integration_id=target.integration.number,
            ad_account=target.integration.ad_account,
            test=False,
            offline=False,
            event_id=event_id,
            event_name=event_name,
            source_name="Made by a test",
            event_time=int(self.now - age),
            accepted_at=self.now - age,
            state=state,
            payload=self.ledger.vault.seal(b'{"event_name":"%b"}' % event_name.encode(), PAYLOAD),
            size_bytes=20,
            reason_class=reason_class if state is State.FAILED else None,
            reason=reason or None,
            order_key=key,
        )
        with self.ledger.write() as connection:
            new_deliveries.insert_deliveries(connection, self.ledger.vault, [new], self.now)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    for name in ("BROKER_URL", "DATABASE_URL", "PINTEREST_API_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SIGNAL_VAR", str(tmp_path / "v"))
    settings.cache_clear()
    runtime.ledger.cache_clear()
    yield Shell()
    runtime.ledger().dispose()
    settings.cache_clear()
    runtime.ledger.cache_clear()


@pytest.fixture
def failures(shell: Shell) -> Shell:
    """Add four failed deliveries, numbered 1 to 4, of which one is late and one too old."""
    shell.add("evt_1", "checkout", State.FAILED, reason="Pinterest refused the value.")
    shell.add("evt_2", "checkout", State.FAILED, age=2 * HOUR, reason="Pinterest refused the value.")
    shell.add("evt_3", "signup", State.FAILED, reason="Pinterest refused the name.")
    shell.add("evt_4", "lead", State.FAILED, age=8 * DAY, reason="The event is too old.")
    return shell
