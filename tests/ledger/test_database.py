"""The ledger provides connections fairly and within a bounded time, and detects an unavailable database."""

import fcntl
import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, text
from sqlalchemy.exc import DataError, IntegrityError, InternalError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from tests.conftest import KEY
from worker.ledger import database, postgresql
from worker.ledger.database import Ledger, LedgerBusyError, is_ledger_unavailable
from worker.ledger.migrate import migrate


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Ledger:
    ledger = Ledger(f"sqlite:///{tmp_path / 'new folder' / 'l.db'}", (KEY,))
    migrate(ledger)
    return ledger


def count_up(ledger: Ledger, times: int) -> None:
    for _ in range(times):
        with ledger.write() as connection:
            at = connection.scalar(text("SELECT at FROM watermark")) or 0
            connection.execute(text("UPDATE watermark SET at = :at"), {"at": at + 1})


def test_a_write_is_committed_and_an_exception_rolls_it_back(ledger: Ledger) -> None:
    insert = text("INSERT INTO watermark (name, position, at) VALUES (:name, 0, 0)")
    with ledger.write() as connection:
        connection.execute(insert, {"name": "kept"})
    with suppress(KeyError), ledger.write() as connection:
        connection.execute(insert, {"name": "lost"})
        raise KeyError
    with ledger.read() as connection:
        assert list(connection.scalars(text("SELECT name FROM watermark"))) == ["kept"]


def test_a_snapshot_sees_one_moment(ledger: Ledger) -> None:
    with ledger.snapshot() as connection:
        assert connection.scalar(text("SELECT count(*) FROM watermark")) == 0
        with ledger.write() as writer:
            writer.execute(text("INSERT INTO watermark (name, position, at) VALUES ('later', 0, 0)"))
        assert connection.scalar(text("SELECT count(*) FROM watermark")) == 0


def test_a_write_inside_a_write_is_refused_at_once(ledger: Ledger) -> None:
    with ledger.write(), pytest.raises(RuntimeError, match="wait for itself"), ledger.write():
        pass
    with ledger.write():
        pass


def test_reading_works_inside_a_write(ledger: Ledger) -> None:
    with ledger.write(), ledger.read() as connection:
        assert connection.scalar(text("SELECT 1")) == 1


def test_threads_write_one_after_the_other_on_sqlite(on_sqlite: Ledger) -> None:
    with on_sqlite.write() as connection:
        connection.execute(text("INSERT INTO watermark (name, position, at) VALUES ('n', 0, 0)"))
    threads = [threading.Thread(target=count_up, args=(on_sqlite, 20)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with on_sqlite.read() as connection:
        assert connection.scalar(text("SELECT at FROM watermark")) == 80


WRITER = """
import sys
from tests.ledger.test_database import count_up
from worker.ledger.database import Ledger
count_up(Ledger(sys.argv[1], ("00" * 32,)), 40)
"""


def test_processes_take_turns_and_none_starves(on_sqlite: Ledger) -> None:
    with on_sqlite.write() as connection:
        connection.execute(text("INSERT INTO watermark (name, position, at) VALUES ('n', 0, 0)"))
    url = on_sqlite.url.render_as_string()
    other = subprocess.Popen([sys.executable, "-c", WRITER, url])
    slowest = 0.0
    while other.poll() is None:
        began = time.monotonic()
        count_up(on_sqlite, 1)
        slowest = max(slowest, time.monotonic() - began)
        with on_sqlite.read() as connection:
            mine = connection.scalar(text("SELECT at FROM watermark"))
    assert other.returncode == 0
    assert mine is not None
    assert mine >= 40
    # Polling takes hundreds of milliseconds at worst; a queue takes one turn.
    assert slowest < 2.0


def test_a_process_that_keeps_the_write_lock_makes_others_busy_but_not_stuck(
    on_sqlite: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_BUSY_TIMEOUT_SECONDS", 0.2)
    holder = os.open(f"{on_sqlite.url.database}.lock", os.O_RDWR)
    fcntl.flock(holder, fcntl.LOCK_EX)
    began = time.monotonic()
    with pytest.raises(LedgerBusyError, match="another process held"), on_sqlite.write():
        pass
    assert 0.15 < time.monotonic() - began < 2.0
    os.close(holder)
    # A waiter that gave up holds nothing.
    with on_sqlite.write():
        pass


def test_a_thread_that_keeps_the_write_lock_makes_others_busy(
    on_sqlite: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_BUSY_TIMEOUT_SECONDS", 0.2)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with on_sqlite.write():
            held.set()
            done.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)
    with pytest.raises(LedgerBusyError), on_sqlite.write():
        pass
    done.set()
    holder.join()


def sqlite_error(kind: type[sqlite3.Error], code: int) -> sqlite3.Error:
    error = kind("words")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (LedgerBusyError("busy"), True),
        (PoolTimeoutError("no connection is free"), True),
        # SQLite: busy, disk full, input or output error. Extended codes count as their kind.
        (OperationalError("", {}, sqlite_error(sqlite3.OperationalError, 5)), True),
        (OperationalError("", {}, sqlite_error(sqlite3.OperationalError, 261)), True),
        (OperationalError("", {}, sqlite_error(sqlite3.OperationalError, 13)), True),
        (OperationalError("", {}, sqlite_error(sqlite3.OperationalError, 10)), True),
        # Waiting does not fix a missing table or a wrong statement.
        (OperationalError("", {}, sqlite_error(sqlite3.OperationalError, 1)), False),
        (IntegrityError("", {}, sqlite_error(sqlite3.IntegrityError, 2067)), False),
        # PostgreSQL: unreachable, shut down, out of connections, victim of a deadlock.
        (OperationalError("", {}, psycopg.OperationalError("refused")), True),
        (OperationalError("", {}, psycopg.errors.AdminShutdown("words")), True),
        (OperationalError("", {}, psycopg.errors.DeadlockDetected("words")), True),
        # A primary that became a replica.
        (InternalError("", {}, psycopg.errors.ReadOnlySqlTransaction("words")), True),
        (InternalError("", {}, psycopg.errors.InternalError_("words")), False),
        (DataError("", {}, psycopg.errors.NumericValueOutOfRange("words")), False),
        (IntegrityError("", {}, psycopg.errors.UniqueViolation("words")), False),
        (ProgrammingError("", {}, psycopg.errors.UndefinedTable("words")), False),
        (OperationalError("", {}, psycopg.OperationalError("gone"), connection_invalidated=True), True),
        (InternalError("", {}, psycopg.errors.InternalError_("words"), connection_invalidated=True), True),
        (ValueError("words"), False),
    ],
)
def test_an_outage_is_distinguished_from_wrong_data(error: Exception, expected: bool) -> None:
    assert expected is is_ledger_unavailable(error)


def test_a_missing_server_is_unavailable() -> None:
    ledger = Ledger("postgresql+psycopg://nobody@127.0.0.1:1/none", (KEY,))
    with pytest.raises(OperationalError) as caught, ledger.read():
        pass
    assert is_ledger_unavailable(caught.value)
    ledger.dispose()


@pytest.mark.services
def test_a_closed_connection_fails_once_and_is_replaced(postgresql_url: str) -> None:
    ledger = Ledger(postgresql_url, (KEY,))
    with ledger.read() as connection:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        with ledger.write() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        caught = _error_of(lambda: connection.execute(text("SELECT 1")))
    assert is_ledger_unavailable(caught)
    with ledger.read() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    ledger.dispose()


@pytest.mark.services
def test_reading_from_postgresql_starts_no_transaction(postgresql_url: str) -> None:
    """A transaction would be two more round trips, and its end makes psycopg forget its prepared statements."""
    ledger = Ledger(postgresql_url, (KEY,))
    with ledger.read() as connection:
        connection.execute(text("SELECT 1"))
        assert status_of(connection) is TransactionStatus.IDLE
    with ledger.write() as connection:
        connection.execute(text("SELECT 1"))
        assert status_of(connection) is TransactionStatus.INTRANS
    ledger.dispose()


def status_of(connection: Connection) -> TransactionStatus:
    held: Any = connection.connection.driver_connection
    return TransactionStatus(held.info.transaction_status)


@pytest.mark.services
@pytest.mark.parametrize(("rest_seconds", "failures"), [(60.0, 1), (0.0, 0)])
def test_an_idle_connection_is_tested_before_use(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch, rest_seconds: float, failures: int
) -> None:
    """Testing it every time was every fourth query."""
    ledger = Ledger(postgresql_url, (KEY,))
    with ledger.read() as connection:
        lost = connection.scalar(text("SELECT pg_backend_pid()"))
    other = Ledger(postgresql_url, (KEY,))
    with other.read() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:lost, 5000)"), {"lost": lost})
    other.dispose()
    monkeypatch.setattr(postgresql, "_IDLE_SECONDS", rest_seconds)
    caught: list[Exception] = []
    for _ in range(2):
        try:
            with ledger.read() as connection:
                connection.execute(text("SELECT 1"))
        except OperationalError as error:
            caught.append(error)
    assert [is_ledger_unavailable(error) for error in caught] == [True] * failures
    ledger.dispose()


def test_a_missing_table_of_a_real_database_is_no_outage(ledger: Ledger) -> None:
    with ledger.read() as connection:
        caught = _error_of(lambda: connection.execute(text("SELECT 1 FROM nowhere")))
    assert not is_ledger_unavailable(caught)


def _error_of(run: Any) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        run()
    return caught.value
