"""Copy the ledger while everything runs."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import click

from worker.cli.common import checked_ledger
from worker.ledger.database import Ledger

_PAGES_A_STEP = 4_096
_WITH_POSTGRESQL = (
    'This ledger is on PostgreSQL, which has its own way: pg_dump --format=custom --file=FILE "$DATABASE_URL"'
)


@click.command("backup")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def backup_command(file: Path) -> None:
    """Copy an SQLite ledger into FILE, consistent as of one moment. The service may keep running.

    The copy is as secret as the ledger, and unreadable without ENCRYPTION_KEY: store the key separately.
    """
    ledger = checked_ledger()
    if not ledger.is_sqlite:
        raise click.ClickException(_WITH_POSTGRESQL)
    try:
        # Exclusively, and readable by its owner alone from the first byte on.
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise click.ClickException(f"{file} already exists and is not overwritten.") from None
    except OSError as error:
        raise click.ClickException(f"{file} cannot be written: {error.strerror}.") from None
    _copy(ledger, file)
    click.echo(f"Copied {file.stat().st_size:,} bytes into {file}.")


def _copy(ledger: Ledger, file: Path) -> None:
    with closing(sqlite3.connect(str(ledger.url.database))) as source, closing(sqlite3.connect(file)) as copy:
        # One statement's view: what is written meanwhile is not in it, and does not start it all over.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM alembic_version").fetchone()
        source.backup(copy, pages=_PAGES_A_STEP)
        (verdict,) = copy.execute("PRAGMA quick_check").fetchone()
    if verdict != "ok":
        file.unlink()
        raise click.ClickException(f"The copy is corrupt: {verdict}.")
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
