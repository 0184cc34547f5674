"""The migrations create the tables that the code declares."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from worker.ledger.database import Ledger, LedgerRefusedError
from worker.ledger.migrate import check_version, migrate
from worker.ledger.schema import metadata

KEY = "00" * 32


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """Provide a database without tables."""
    if request.param == "sqlite":
        ledger = Ledger(f"sqlite:///{tmp_path / 'bare.db'}", (KEY,))
    else:
        ledger = Ledger(request.getfixturevalue("bare_postgresql_url"), (KEY,))
    yield ledger
    ledger.dispose()


def differences(ledger: Ledger) -> list[Any]:
    with ledger.read() as connection, warnings.catch_warnings():
        # Their SQL is compared below.
        warnings.filterwarnings("ignore", "(Skipped|autogenerate skipping) .*expression-based index")
        return compare_metadata(MigrationContext.configure(connection), metadata)


def test_the_migrations_make_what_the_code_declares(bare: Ledger) -> None:
    migrate(bare)
    assert differences(bare) == []


def test_partial_indexes_are_what_the_code_declares(bare: Ledger) -> None:
    """Alembic compares an index's columns but not its condition."""
    migrate(bare)
    with bare.read() as connection:
        migrated = conditions(connection)
        for table in (*metadata.tables, "alembic_version"):
            connection.execute(text(f"DROP TABLE {table}"))
        metadata.create_all(connection)
        declared = conditions(connection)
    assert migrated == declared
    assert {"uq_delivery_once", "ix_delivery_pending", "ix_batch_parent"} <= declared.keys()


def conditions(connection: Any) -> dict[str, str]:
    if connection.dialect.name == "sqlite":
        found = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'index'"))
    else:
        wanted = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()"
        found = connection.execute(text(wanted))
    return {name: " ".join(sql.split()) for name, sql in found if sql and name != "alembic_version_pkc"}


def test_migrating_twice_changes_nothing(bare: Ledger) -> None:
    migrate(bare)
    bare.vault.prepare()
    migrate(bare)
    bare.vault.check()
    assert differences(bare) == []


def test_two_processes_may_migrate_at_once(bare: Ledger) -> None:
    errors: list[BaseException] = []

    def run() -> None:
        url = bare.url.render_as_string(hide_password=False)
        ledger = Ledger(url, (KEY,))
        try:
            migrate(ledger)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)
        finally:
            ledger.dispose()

    threads = [Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert differences(bare) == []


def test_a_missing_migration_names_the_command_that_helps(bare: Ledger) -> None:
    with pytest.raises(LedgerRefusedError, match=r"has no tables yet.*`python -m worker migrate`"):
        check_version(bare)
    migrate(bare)
    check_version(bare)


def test_another_version_of_the_database_is_refused(bare: Ledger) -> None:
    migrate(bare)
    with bare.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    with pytest.raises(LedgerRefusedError, match=r"is at version 0000.*`python -m worker migrate`"):
        check_version(bare)
