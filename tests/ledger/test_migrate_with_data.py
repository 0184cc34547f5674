"""A migration keeps every row, from each older version, and goes on after an interruption at any step."""

import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import (
    JSON,
    Boolean,
    Connection,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    event,
    insert,
    select,
    text,
)

from tests.conftest import KEY, postgresql_database
from tests.integration.waiting import until
from tests.ledger.test_migrate import conditions, differences
from worker.ledger import migrate
from worker.ledger.backfill import fill_in_steps
from worker.ledger.database import Ledger

VERSIONS = [path.stem[:4] for path in sorted((migrate._SCRIPTS / "versions").glob("[0-9]*.py"))]
ROWS = 3
# Orders that were sent by the version before they had a business key.
ORDERS = """
INSERT INTO delivery (integration_id, ad_account, test, offline, event_id, event_name, source_name, event_time,
    accepted_at, size_bytes, state, order_key)
SELECT 1, 1, false, false, i::text, 'checkout', 'Order Completed', 1, 1, 0, 0, int8send(i)
FROM generate_series(1, :n) AS i
"""
FILL = "UPDATE delivery SET business_key = order_key WHERE id IN :ids"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """Provide a database without tables; the same one in turn, as making one takes long."""
    if request.param == "sqlite":
        ledger = Ledger(f"sqlite:///{tmp_path / 'bare.db'}", (KEY,))
    else:
        ledger = request.getfixturevalue("bare_postgresql")
        _empty(ledger)
    yield ledger
    ledger.dispose()


@pytest.fixture(scope="module")
def module_postgresql() -> Iterator[Ledger]:
    with postgresql_database() as url:
        ledger = Ledger(url, (KEY,))
        yield ledger
        ledger.dispose()


@pytest.fixture
def bare_postgresql(module_postgresql: Ledger) -> Ledger:
    _empty(module_postgresql)
    return module_postgresql


def _empty(ledger: Ledger) -> None:
    with ledger.write() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE; CREATE SCHEMA public"))


def fill(ledger: Ledger) -> dict[str, list[dict[str, Any]]]:
    """Write rows into every table; return them."""
    with ledger.write() as connection:
        found = reflected(connection)
        tables = [table for name, table in found.tables.items() if name != "alembic_version"]
        for table in tables:
            connection.execute(
                insert(table), [{c.name: value(c.type, n) for c in table.columns} for n in range(1, ROWS + 1)]
            )
    return {table.name: rows(ledger, table) for table in tables}


def reflected(connection: Connection) -> MetaData:
    found = MetaData()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Skipped unsupported reflection of expression-based index")
        found.reflect(connection)
    return found


def value(kind: Any, number: int) -> Any:
    for type_, made in (
        (Boolean, number % 2 == 0),
        (Integer, number),
        (Float, number + 0.5),
        (LargeBinary, b"%d" % number),
        (JSON, {"n": number}),
    ):
        if isinstance(kind, type_):
            return made
    return f"text {number}"


def rows(ledger: Ledger, table: Table) -> list[dict[str, Any]]:
    with ledger.read() as connection:
        found = connection.execute(select(table).order_by(*table.primary_key.columns))
        return [dict(row._mapping) for row in found]


@pytest.mark.parametrize("version", VERSIONS[:-1])
def test_every_row_of_an_older_version_is_still_there(bare: Ledger, version: str) -> None:
    migrate.migrate(bare, version)
    before = fill(bare)
    migrate.migrate(bare)
    assert differences(bare) == []
    with bare.read() as connection:
        now = reflected(connection)
    for name, known in before.items():
        kept = rows(bare, now.tables[name])[:ROWS]
        assert [{key: row[key] for key in known[0]} for row in kept] == known, name


@pytest.mark.services
@pytest.mark.parametrize("start", [None, "0016"])
def test_a_migration_that_is_killed_at_any_step_goes_on_where_it_was(
    bare_postgresql: Ledger, monkeypatch: pytest.MonkeyPatch, start: str | None
) -> None:
    """Each try ends a few statements later than the one before; in the second case with orders."""
    if start:
        migrate.migrate(bare_postgresql, start)
        with bare_postgresql.write() as connection:
            connection.execute(text(ORDERS), {"n": ROWS})
    steps = iter(range(0))

    def end(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().startswith(("CREATE", "ALTER", "DROP", "INSERT", "UPDATE")):
            next(steps)

    unhurried = migrate._unhurried

    @contextmanager
    def killed(ledger: Ledger) -> Iterator[Connection]:
        with unhurried(ledger) as connection:
            event.listen(connection.engine, "before_cursor_execute", end)
            yield connection

    monkeypatch.setattr(migrate, "_unhurried", killed)
    tries = 0
    while True:
        tries += 1
        steps = iter(range(tries if start else 3 * tries))
        try:
            migrate.migrate(bare_postgresql)
        except (StopIteration, RuntimeError):
            continue
        break
    assert tries > 5
    assert differences(bare_postgresql) == []
    with bare_postgresql.read() as connection:
        assert not [name for name in conditions(connection) if "__until_" in name]


@pytest.mark.services
def test_an_index_is_built_while_events_are_written_and_built_again_after_a_kill(
    bare_postgresql: Ledger,
) -> None:
    migrate.migrate(bare_postgresql, "0013")
    fill(bare_postgresql)
    errors: list[BaseException] = []
    insert_one = text(
        "INSERT INTO inbox (id, source_id, informs, received_at, body, trust) "
        "SELECT 100, source_id, informs, received_at, body, trust FROM inbox LIMIT 1"
    )

    def run() -> None:
        try:
            migrate.migrate(bare_postgresql)
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    with bare_postgresql.write() as holder:
        holder.execute(text("UPDATE inbox SET received_at = received_at"))
        thread = threading.Thread(target=run)
        thread.start()
        pid = until("it builds the index", lambda: _builder(bare_postgresql), 20)
        with bare_postgresql.read() as connection:
            connection.execute(insert_one)
            connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
    thread.join()
    assert len(errors) == 1
    with bare_postgresql.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM pg_index WHERE NOT indisvalid")) == 1
    migrate.migrate(bare_postgresql)
    assert differences(bare_postgresql) == []
    with bare_postgresql.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM pg_index WHERE NOT indisvalid")) == 0


@pytest.mark.services
def test_a_new_column_makes_nobody_wait_behind_a_long_read(bare_postgresql: Ledger) -> None:
    """A backup reads every table in one transaction, for minutes."""
    migrate.migrate(bare_postgresql, "0017")
    fill(bare_postgresql)
    statement = text("UPDATE delivery SET warning = 'changed'")
    with bare_postgresql.write_engine.connect() as backup:
        backup.execute(text("LOCK TABLE delivery IN ACCESS SHARE MODE"))
        thread = threading.Thread(target=migrate.migrate, args=(bare_postgresql,))
        thread.start()
        until("it waits for the lock", lambda: _waits(bare_postgresql), 20, every=0.02)
        seconds = []
        for _ in range(4):
            began = time.monotonic()
            with bare_postgresql.write() as connection:
                connection.execute(statement)
            seconds.append(time.monotonic() - began)
            time.sleep(0.3)
        assert thread.is_alive()
        backup.rollback()
    thread.join(30)
    assert max(seconds) < 2.0
    assert differences(bare_postgresql) == []


def _waits(ledger: Ledger) -> bool:
    with ledger.read() as connection:
        wanted = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
        return bool(connection.scalar(text(wanted)))


@pytest.mark.services
def test_filling_a_column_waits_for_others_in_steps_and_survives_a_deadlock(bare_postgresql: Ledger) -> None:
    """Retention locks the same deliveries in another order."""
    migrate.migrate(bare_postgresql)
    with bare_postgresql.write() as connection:
        connection.execute(text(ORDERS), {"n": 5_000})
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with (
                migrate._unhurried(bare_postgresql) as connection,
                Operations.context(MigrationContext.configure(connection)),
            ):
                fill_in_steps(FILL, "SELECT id FROM delivery ORDER BY 1", at_once=2_000)
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    with bare_postgresql.write() as retention:
        # So that the migration is the one that finds the deadlock, and fails.
        retention.execute(text("SET LOCAL deadlock_timeout = '20s'"))
        retention.execute(text("DELETE FROM delivery WHERE id = 3000"))
        thread = threading.Thread(target=run)
        thread.start()
        until("the first step is done", lambda: _filled(bare_postgresql) == 2_000, 20, every=0.05)
        until("the second one waits", lambda: _waits_for_a_row(bare_postgresql), 20, every=0.05)
        retention.execute(text("DELETE FROM delivery WHERE id = 2500"))
    thread.join(60)
    assert errors == []
    assert _filled(bare_postgresql) == 4_998


def _filled(ledger: Ledger) -> int:
    with ledger.read() as connection:
        return int(connection.scalar(text("SELECT count(*) FROM delivery WHERE business_key IS NOT NULL")))


def _waits_for_a_row(ledger: Ledger) -> bool:
    with ledger.read() as connection:
        return bool(
            connection.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'ShareLock'"))
        )


def _builder(ledger: Ledger) -> int | None:
    with ledger.read() as connection:
        found: int | None = connection.scalar(
            text("SELECT pid FROM pg_stat_progress_create_index WHERE datname = current_database()")
        )
        return found


@pytest.mark.services
def test_a_migration_has_no_limit_of_time(bare_postgresql: Ledger) -> None:
    with migrate._unhurried(bare_postgresql) as connection:
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            assert connection.scalar(text(f"SHOW {name}")) == "0"
