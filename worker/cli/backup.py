"""Copy the ledger while everything runs."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import click

from worker.cli.opening import opened
from worker.ledger.engine import Ledger

PAGES_A_STEP = 4_096
WITH_POSTGRESQL = (
    'This ledger is on PostgreSQL, which has its own way: pg_dump --format=custom --file=FILE "$DATABASE_URL"'
)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def backup(file: Path) -> None:
    """Copy a ledger on SQLite into FILE, as it stands at one moment; the processes may run meanwhile.

    The copy is as secret as the ledger, and of no use without ENCRYPTION_KEY: keep that one somewhere else.
    """
    ledger = opened()
    if not ledger.is_sqlite:
        raise click.ClickException(WITH_POSTGRESQL)
    try:
        # Exclusively, and readable by its owner alone from the first byte on.
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise click.ClickException(f"{file} is there already, and is not written over.") from None
    except OSError as error:
        raise click.ClickException(f"{file} cannot be written: {error.strerror}.") from None
    _copy(ledger, file)
    click.echo(f"Copied {file.stat().st_size:,} bytes into {file}.")


def _copy(ledger: Ledger, file: Path) -> None:
    with closing(sqlite3.connect(str(ledger.url.database))) as source, closing(sqlite3.connect(file)) as copy:
        # One statement's view: what is written meanwhile is not in it, and does not start it all over.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM alembic_version").fetchone()
        source.backup(copy, pages=PAGES_A_STEP)
        (verdict,) = copy.execute("PRAGMA quick_check").fetchone()
    if verdict != "ok":
        file.unlink()
        raise click.ClickException(f"The copy is not sound: {verdict}.")
    with file.open("rb") as written:
        os.fsync(written.fileno())
