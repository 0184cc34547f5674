"""Set up, and run everything."""

import os
import sys

import click

from worker.embedded import procfile
from worker.settings import SettingsError, settings
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


@click.command()
@click.argument("name", type=click.Choice(list(procfile.commands())))
def start(name: str) -> None:
    """Become one process of the service, for a supervisor or a container to look after."""
    if settings().embedded_broker:
        raise SettingsError("BROKER_URL", "must be given: only `run` brings a broker of its own.")
    procfile.become(name, settings(), os.environ)


@click.command(hidden=True)
@click.option("--sandbox-url", required=True)
def demo(sandbox_url: str) -> None:
    """Send a visitor's walk through a shop, and print each delivery."""
    from worker.embedded import demo as walk

    walk.show(ledger(), settings(), sandbox_url)
