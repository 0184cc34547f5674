"""Rotate the encryption keys."""

import click

from worker.cli.common import CommandGroup, cli_caller
from worker.formats import count_text
from worker.operations.setup.keys import rotate_keys


@click.group("keys", cls=CommandGroup)
def keys_group() -> None:
    """Rotate the encryption keys."""


@keys_group.command("rotate")
def _rotate_command() -> None:
    """Wrap every data key with the first key of ENCRYPTION_KEY.

    Put the new key before the old one (ENCRYPTION_KEY=new,old), restart every process, run this command, then remove
    the old key. Events are accepted and sent meanwhile. docs/backup.md has the steps.
    """
    click.echo(
        f"Wrapped {count_text(rotate_keys(cli_caller()), 'data key')} again. The old key is no longer needed."
    )
