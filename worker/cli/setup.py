"""Set up, and run everything."""

import os
import re
import sys

import click

from worker.cli.common import CommandGroup, cli_caller
from worker.dev import embedded_broker
from worker.operations.setup.keys import rotate_keys
from worker.runtime import ledger
from worker.settings import SettingsError, settings

_NODE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _worker(_context: click.Context, _option: click.Parameter, given: str | None) -> str | None:
    # It becomes part of a command line and of Celery's name for the worker.
    if given is not None and not _NODE_NAME.fullmatch(given):
        raise click.BadParameter("a name has letters, digits, - and _.")
    return given


@click.command("migrate")
def migrate_command() -> None:
    """Migrate the ledger's tables to this version."""
    from worker.ledger import migrate as migrations

    migrations.migrate(ledger())
    click.echo("The ledger is up to date.")


@click.command("run")
def run_command() -> None:
    """Run the whole stack on this machine, with an embedded broker and sandbox unless configured."""
    from worker.dev import stack

    sys.exit(stack.run_stack())


@click.command("start")
@click.argument("name", type=click.Choice(list(embedded_broker.commands())))
@click.option(
    "--name", "worker", callback=_worker, help="A worker's own name if several of a kind run, like ingest2."
)
def start_command(name: str, worker: str | None) -> None:
    """Start one process of the service, for a supervisor or a container."""
    if settings().embedded_broker:
        raise SettingsError("BROKER_URL", "must be set: only `run` starts an embedded broker.")
    try:
        embedded_broker.exec_process(name, settings(), os.environ, worker)
    except ValueError:
        raise click.UsageError(f"Only workers can have --name; {name} is not a worker.") from None


@click.command("demo", hidden=True)
@click.option("--sandbox-url", required=True)
def demo_command(sandbox_url: str) -> None:
    """Send a visitor's walk through a shop, and print each delivery."""
    from worker.dev import demo as walk

    walk.run_demo(ledger(), settings(), sandbox_url)


@click.group("keys", cls=CommandGroup)
def keys_group() -> None:
    """Rotate the encryption keys."""


@keys_group.command("rotate")
def _rotate_command() -> None:
    """Wrap every data key with the first key of ENCRYPTION_KEY.

    Put the new key before the old one (ENCRYPTION_KEY=new,old), restart every process, run this, then take the old one
    out. Events may flow meanwhile; docs/backup.md has the steps.
    """
    click.echo(f"Wrapped {rotate_keys(cli_caller())} data keys again. The old key is no longer needed.")
