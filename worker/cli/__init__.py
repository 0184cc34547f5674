"""The command line."""

from typing import Any

import click

from worker.cli import accounts, backup, doctor, erase, explain, failed, send, setup, tokens
from worker.operations.errors import InvalidError, OperationError


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        """Turn what an operation refuses into its sentence and exit status."""
        try:
            return super().invoke(ctx)
        except InvalidError as error:
            raise click.UsageError(error.message) from None
        except OperationError as error:
            raise click.ClickException(error.message) from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Deliver a shop's events to the Pinterest Conversions API."""


for command in (
    setup.migrate,
    setup.run,
    setup.start,
    setup.demo,
    failed.failed,
    accounts.accounts,
    backup.books,
    explain.find,
    explain.explain,
    setup.keys,
    tokens.tokens,
    send.send,
    erase.erase,
    doctor.doctor,
    backup.backup,
):
    cli.add_command(command)
