"""The command line."""

from typing import Any

import click

from worker.cli import (
    accounts,
    backup,
    compare_orders,
    doctor,
    explain,
    failed,
    integrations,
    person_data,
    send,
    setup,
    tokens,
)
from worker.cli.common import CommandGroup
from worker.operations.errors import InvalidError, OperationError


class _Commands(CommandGroup):
    def invoke(self, ctx: click.Context) -> Any:
        """Turn what an operation refuses into its sentence and exit status."""
        try:
            return super().invoke(ctx)
        except InvalidError as error:
            raise click.UsageError(error.message) from None
        except OperationError as error:
            raise click.ClickException(error.message) from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="signal-worker", prog_name="signal-worker", message="%(prog)s %(version)s")
def cli() -> None:
    """Deliver a shop's events to the Pinterest Conversions API.

    The exit status is 0 for success, 1 if nothing was found or the command failed, and 2 if the command or its
    input was not understood.
    """


for command in (
    setup.migrate_command,
    setup.run_command,
    setup.start_command,
    setup.demo_command,
    failed.failed_group,
    accounts.accounts_group,
    integrations.integrations_group,
    integrations.connect_command,
    compare_orders.orders_group,
    backup.books_command,
    explain.data_quality_command,
    explain.find_command,
    explain.explain_command,
    setup.keys_group,
    tokens.access_group,
    tokens.tokens_group,
    send.send_command,
    person_data.person_group,
    # The former name of `person erase`.
    person_data.erase_command,
    doctor.doctor_command,
    backup.backup_command,
):
    cli.add_command(command)
