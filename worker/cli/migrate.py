"""Migrate the ledger's tables."""

import click

from worker.runtime import ledger


@click.command("migrate")
def migrate_command() -> None:
    """Migrate the ledger's tables to this version."""
    from worker.ledger import migrate

    migrate.migrate(ledger())
    click.echo("The ledger is up to date.")
