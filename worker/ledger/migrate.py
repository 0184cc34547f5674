"""Migrate the database to the schema that this code needs."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from worker.ledger import postgresql
from worker.ledger.database import Ledger, LedgerRefusedError

# Alembic logs a line for each check, in every process.
logging.getLogger("alembic").setLevel(logging.WARNING)

_SCRIPTS = Path(__file__).parent / "migrations"
# Any number that nothing else in the database locks.
_LOCK_NUMBER = 715_517
_LOCK_LOOK_SECONDS = 0.25


def migrate(ledger: Ledger, version: str = "head") -> None:
    """Apply every missing migration, up to a version. Safe to repeat, also after a kill at any moment.

    Raises:
        LedgerRefusedError: the database cannot hold a ledger.
    """
    if ledger.is_sqlite:
        with ledger.write() as connection:
            command.upgrade(_config(connection), version)
        return
    ledger.refuse_transaction_pooler()
    with _lone_migration(ledger), _unhurried(ledger) as connection:
        _refuse_encoding(connection)
        command.upgrade(_config(connection), version)


@contextmanager
def _unhurried(ledger: Ledger) -> Iterator[Connection]:
    with postgresql.unhurried_connection(
        ledger.url, transaction_pooler=ledger.transaction_pooler
    ) as connection:
        yield connection


@contextmanager
def _lone_migration(ledger: Ledger) -> Iterator[None]:
    """Wait until no other process migrates. The second finds nothing to do."""
    with _unhurried(ledger) as connection:
        while True:
            connection.exec_driver_sql("BEGIN")
            if connection.exec_driver_sql(f"SELECT pg_try_advisory_xact_lock({_LOCK_NUMBER})").scalar_one():
                break
            # A statement that waits for the lock has a snapshot, for which a concurrent index would wait in turn.
            connection.exec_driver_sql("ROLLBACK")
            time.sleep(_LOCK_LOOK_SECONDS)
        try:
            yield
        finally:
            connection.exec_driver_sql("ROLLBACK")


def _refuse_encoding(connection: Connection) -> None:
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    if encoding != "UTF8":
        raise LedgerRefusedError(
            f"The database in DATABASE_URL has the encoding {encoding}, which cannot hold every text: create another "
            "one with ENCODING 'UTF8' TEMPLATE template0."
        )


def _code_version() -> str:
    """Return the version that this code needs."""
    return ScriptDirectory.from_config(_config(None)).get_current_head() or ""


def check_version(ledger: Ledger) -> None:
    """Compare the database's version with the code's. A later one is accepted, because migrations only add.

    So a process of the previous version can be restarted after a migration, during an upgrade.

    Raises:
        LedgerRefusedError: a migration is missing, or a pooler shares sessions and no setting says so.
    """
    ledger.refuse_transaction_pooler()
    code_version = _code_version()
    with ledger.read() as connection:
        version = MigrationContext.configure(connection).get_current_revision()
    if version is None or version < code_version:
        state = f"is at version {version}" if version else "has no tables yet"
        raise LedgerRefusedError(
            f"The ledger {state}, this code needs {code_version}: run `python -m worker migrate`."
        )


def check_ledger(ledger: Ledger) -> None:
    """Check that a process may work on a ledger: its version fits, and its keys open everything.

    Raises:
        LedgerRefusedError: a migration is missing.
        SealError: ENCRYPTION_KEY lacks a key that the ledger was written with.
    """
    check_version(ledger)
    ledger.vault.check()
    ledger.measure_clock()


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["connection"] = connection
    return config
