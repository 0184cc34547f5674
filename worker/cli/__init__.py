"""The command line."""

from typing import Any

import click

from worker.cli import (
    access,
    accounts,
    backup,
    books,
    connect,
    data_quality,
    demo,
    doctor,
    explain,
    failed,
    find,
    integrations,
    keys,
    migrate,
    orders,
    person,
    run,
    send,
    start,
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
    migrate.migrate_command,
    run.run_command,
    start.start_command,
    demo.demo_command,
    failed.failed_group,
    accounts.accounts_group,
    integrations.integrations_group,
    connect.connect_command,
    orders.orders_group,
    books.books_command,
    data_quality.data_quality_command,
    find.find_command,
    explain.explain_command,
    keys.keys_group,
    access.access_group,
    tokens.tokens_group,
    send.send_command,
    person.person_group,
    # The former name of `person erase`.
    person.erase_command,
    doctor.doctor_command,
    backup.backup_command,
):
    cli.add_command(command)
