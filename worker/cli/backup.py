"""Copy the ledger while everything runs."""

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import click

from worker.cli.common import checked_ledger, cli_caller
from worker.ledger.database import Ledger
from worker.ledger.intake import spool
from worker.ledger.reports.books import Books
from worker.operations.reports.reports import close_books
from worker.settings import settings

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
    with file.open("rb") as written:
        os.fsync(written.fileno())


@click.command("books")
@click.option("--audit", is_flag=True, help="Count every row as well, and compare it with the books.")
def books_command(audit: bool) -> None:
    """Prove that every accepted event is accounted for. Exits with status 1 if not.

    Without --audit only waiting events are counted row by row. This is fast, however much was delivered.
    """
    closed = close_books(cli_caller(), audit=audit)
    click.echo("Events accepted")
    for what, n in closed.events.items():
        click.echo(f"  {what:<22}{n:>12,}")
    click.echo("Deliveries")
    for what, n in sorted(closed.deliveries.items()):
        click.echo(f"  {what:<22}{n:>12,}")
    if closed.removed:
        click.echo(f"  {'removed (retention)':<22}{closed.removed:>12,}")
    for account, states in closed.by_account.items():
        click.echo(
            f"Ad account {account}: " + ", ".join(f"{n:,} {what}" for what, n in sorted(states.items()))
        )
    spooled = spool.count_spooled(settings().spool_folder)
    if spooled.events:
        click.echo(f"Spool of this host: {spooled.events:,} events that the database does not have yet")
    _prove(closed)
    click.echo("The books balance." if closed.balance else "The books do not balance.")
    sys.exit(0 if closed.balance else 1)


def _prove(closed: Books) -> None:
    """Print each comparison, except those that are 0 on both sides."""
    lines = [line for line in closed.lines if line.counted or line.found]
    width = max([24, *(len(line.what) + 4 for line in lines)])
    click.echo(f"{'Proof':<{width}}{'counted':>12}{'found':>12}")
    for line in lines:
        verdict = "" if line.balances else "   does not balance"
        click.echo(f"  {line.what:<{width - 2}}{line.counted:>12,}{line.found:>12,}{verdict}")
