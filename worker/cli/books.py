"""Balance the books."""

import sys

import click

from worker.cli.opening import opened
from worker.ledger import books as ledger_books


@click.command()
def books() -> None:
    """Prove that every accepted event is accounted for; status 1 where it is not."""
    with opened().snapshot() as connection:
        closed = ledger_books.close(connection)
    click.echo("Events accepted")
    for what, n in closed.events.items():
        click.echo(f"  {what:<22}{n:>12,}")
    click.echo("Deliveries")
    for what, n in sorted(closed.deliveries.items()):
        click.echo(f"  {what:<22}{n:>12,}")
    click.echo(f"{'Proof':<24}{'counted':>12}{'found':>12}")
    for line in closed.lines:
        verdict = "" if line.balances else "   does not balance"
        click.echo(f"  {line.what:<22}{line.counted:>12,}{line.found:>12,}{verdict}")
    click.echo("The books balance." if closed.balance else "The books do not balance.")
    sys.exit(0 if closed.balance else 1)
