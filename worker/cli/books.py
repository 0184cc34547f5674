"""Balance the books."""

import sys

import click

from worker.cli.opening import caller
from worker.ledger.books import Books
from worker.operations.reports import close_books


@click.command()
@click.option("--audit", is_flag=True, help="Count every row as well, and compare it with the books.")
def books(audit: bool) -> None:
    """Prove that every accepted event is accounted for; status 1 where it is not.

    Without --audit only what still waits is counted row by row, which takes a moment however much was delivered.
    """
    closed = close_books(caller(), audit=audit)
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
    _prove(closed)
    click.echo("The books balance." if closed.balance else "The books do not balance.")
    sys.exit(0 if closed.balance else 1)


def _prove(closed: Books) -> None:
    """Print each comparison, those where there is nothing on either side left out."""
    lines = [line for line in closed.lines if line.counted or line.found]
    width = max([24, *(len(line.what) + 4 for line in lines)])
    click.echo(f"{'Proof':<{width}}{'counted':>12}{'found':>12}")
    for line in lines:
        verdict = "" if line.balances else "   does not balance"
        click.echo(f"  {line.what:<{width - 2}}{line.counted:>12,}{line.found:>12,}{verdict}")
