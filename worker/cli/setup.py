"""Set up, and run everything."""

import sys

import click

from worker.wiring import ledger


@click.command()
def migrate() -> None:
    """Bring the ledger's tables to what this version needs."""
    from worker.ledger import migrate as migrations

    migrations.migrate(ledger())
    click.echo("The ledger is up to date.")


@click.command()
def run() -> None:
    """Run the whole stack on this machine, with a broker and a sandbox where none is named."""
    from worker.embedded import stack

    sys.exit(stack.run())


@click.command(hidden=True)
@click.option("--sandbox-url", required=True)
def demo(sandbox_url: str) -> None:
    """Send a visitor's walk through a shop, and print each delivery."""
    from worker.embedded import demo as walk
    from worker.settings import settings

    walk.show(ledger(), settings(), sandbox_url)
