"""A forked child opens its own connections and leaves its parent's alone."""

import os
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from worker import runtime
from worker.ledger.database import Ledger


@pytest.fixture
def wired(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """Make this process use the test's ledger."""
    url = ledger.url.render_as_string(hide_password=False)
    monkeypatch.setattr(runtime, "Ledger", lambda *_, **__: Ledger(url, ("ab" * 32,)))
    runtime.ledger.cache_clear()
    yield runtime.ledger()
    runtime.ledger().dispose()
    runtime.ledger.cache_clear()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_opens_its_own_ledger_and_the_parents_connection_survives(wired: Ledger) -> None:
    with wired.read() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
        child = os.fork()
        if child == 0:
            own = runtime.ledger()
            with own.write() as other:
                fine = own is not wired and other.scalar(text("SELECT count(*) FROM batch")) == 0
            # Exit at once: the exit handlers belong to the parent.
            os._exit(0 if fine else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert connection.scalar(text("SELECT 2")) == 2
    with wired.write() as connection:
        assert connection.scalar(text("SELECT 3")) == 3
