"""Rotate the keys of what is kept at rest."""

import click

from worker.cli.opening import caller
from worker.operations.keys import rotate_keys


@click.group()
def keys() -> None:
    """Rotate the keys of what is kept at rest."""


@keys.command()
def rotate() -> None:
    """Wrap every data key with the first key of ENCRYPTION_KEY.

    Put the new key before the old one (ENCRYPTION_KEY=new,old), restart every process, run this, then take the old one
    out. Events may flow meanwhile; docs/backup.md has the steps.
    """
    click.echo(f"Wrapped {rotate_keys(caller())} data keys anew. The old key is no longer needed.")
