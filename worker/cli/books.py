"""Prove that every accepted event is accounted for."""

import sys

import click

from worker.cli.common import cli_caller
from worker.formats import count_text
from worker.ledger.intake import spool
from worker.ledger.reports.books import Books
from worker.operations.reports.books import close_books
from worker.settings import settings


@click.command("books")
@click.option("--audit", is_flag=True, help="Count every row as well, and compare it with the books.")
def books_command(audit: bool) -> None:
    """Prove that every accepted event is accounted for. Exits with status 1 if not.

    Without --audit only waiting events are counted row by row. This is fast for any number of deliveries.
    """
    books = close_books(cli_caller(), audit=audit)
    click.echo("Events accepted")
    for name, n in books.events.items():
        click.echo(f"  {name:<22}{n:>12,}")
    click.echo("Deliveries")
    for name, n in sorted(books.deliveries.items()):
        click.echo(f"  {name:<22}{n:>12,}")
    if books.removed:
        click.echo(f"  {'removed (retention)':<22}{books.removed:>12,}")
    for account, states in books.by_account.items():
        click.echo(
            f"Ad account {account}: " + ", ".join(f"{n:,} {name}" for name, n in sorted(states.items()))
        )
    spooled = spool.count_spooled(settings().spool_folder)
    if spooled.events:
        click.echo(
            f"Spool of this host: {count_text(spooled.events, 'event')} that the database does not have yet"
        )
    _prove(books)
    click.echo("The books balance." if books.balance else "The books do not balance.")
    sys.exit(0 if books.balance else 1)


def _prove(books: Books) -> None:
    """Print each comparison, except those that are 0 on both sides."""
    lines = [line for line in books.lines if line.counted or line.found]
    width = max([24, *(len(line.what) + 4 for line in lines)])
    click.echo(f"{'Proof':<{width}}{'counted':>12}{'found':>12}")
    for line in lines:
        verdict = "" if line.balances else "   does not balance"
        click.echo(f"  {line.what:<{width - 2}}{line.counted:>12,}{line.found:>12,}{verdict}")
