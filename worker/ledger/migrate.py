"""Migrate the database to the schema that this code needs."""

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, select

from worker.ledger.database import Ledger

# Alembic logs a line for each check, in every process.
logging.getLogger("alembic").setLevel(logging.WARNING)

SCRIPTS = Path(__file__).parent / "migrations"
# Any number that nothing else in the database locks.
_LOCK_NUMBER = 715_517


class MigrationsMissingError(Exception):
    """The database does not have the version that this code needs."""


def migrate(ledger: Ledger) -> None:
    """Apply every missing migration. Safe to repeat."""
    with ledger.write() as connection:
        if not ledger.is_sqlite:
            # If two processes start at once, the second waits and finds nothing to do.
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK_NUMBER)))
        command.upgrade(_config(connection), "head")


def code_version() -> str:
    """Return the version that this code needs."""
    return ScriptDirectory.from_config(_config(None)).get_current_head() or ""


def check_version(ledger: Ledger) -> None:
    """Compare the database's version with the code's. A later one is accepted, because migrations only add.

    So a process of the previous version can be restarted after a migration, during an upgrade.

    Raises:
        MigrationsMissingError: names the command that helps.
    """
    wanted = code_version()
    with ledger.read() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    if found is None or found < wanted:
        state = f"is at version {found}" if found else "has no tables yet"
        raise MigrationsMissingError(
            f"The ledger {state}, this code needs {wanted}: run `python -m worker migrate`."
        )


def check_ledger(ledger: Ledger) -> None:
    """Check that a process may work on a ledger: its version fits, and its keys open everything.

    Raises:
        MigrationsMissingError: a migration is missing.
        SealError: ENCRYPTION_KEY lacks a key that the ledger was written with.
    """
    check_version(ledger)
    ledger.vault.check()


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["connection"] = connection
    return config
