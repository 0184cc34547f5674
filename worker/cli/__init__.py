"""The command line."""

import click

from worker.cli import (
    accounts,
    backup,
    books,
    doctor,
    erase,
    explain,
    failed,
    finding,
    keys,
    send,
    setup,
    tokens,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Deliver a shop's events to the Pinterest Conversions API."""


for command in (
    setup.migrate,
    setup.run,
    setup.start,
    setup.demo,
    failed.failed,
    accounts.accounts,
    books.books,
    finding.find,
    explain.explain,
    keys.keys,
    tokens.tokens,
    send.send,
    erase.erase,
    doctor.doctor,
    backup.backup,
):
    cli.add_command(command)
