"""Prove that every accepted event is accounted for."""

import sys

import click

from worker.cli.common import cli_caller
from worker.formats import count_text
from worker.ledger.intake import spool
from worker.ledger.reports.books import Books
from worker.operations.reports.reports import close_books
from worker.settings import settings


@click.command("books")
@click.option("--audit", is_flag=True, help="Count every row as well, and compare it with the books.")
def books_command(audit: bool) -> None:
    """Prove that every accepted event is accounted for. Exits with status 1 if not.

    Without --audit only waiting events are counted row by row. This is fast for any number of deliveries.
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
        click.echo(
            f"Spool of this host: {count_text(spooled.events, 'event')} that the database does not have yet"
        )
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
