"""Start one process of the service."""

import os
import re

import click

from worker import procfile
from worker.settings import SettingsError, settings

_NODE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _worker(_context: click.Context, _option: click.Parameter, name: str | None) -> str | None:
    # It becomes part of a command line and of Celery's name for the worker.
    if name is not None and not _NODE_NAME.fullmatch(name):
        raise click.BadParameter("a name has letters, digits, - and _.")
    return name


@click.command("start")
@click.argument("name", type=click.Choice(list(procfile.commands())))
@click.option(
    "--name",
    "worker",
    callback=_worker,
    help="A name for this worker, like ingest2, if several of a kind run.",
)
def start_command(name: str, worker: str | None) -> None:
    """Start one process of the service, for a supervisor or a container."""
    if settings().embedded_broker:
        raise SettingsError("BROKER_URL", "must be set: only `run` starts an embedded broker.")
    try:
        procfile.exec_process(name, settings(), os.environ, worker)
    except ValueError:
        raise click.UsageError(f"Only workers can have --name; {name} is not a worker.") from None
