"""List and delete integrations."""

import click

from worker.cli.common import CommandGroup, cli_caller
from worker.operations.setup import integrations as operations
from worker.operations.setup.integrations import Unsent

_LISTED_AT_ONCE = 500


@click.group("integrations", cls=CommandGroup)
def integrations_group() -> None:
    """List and delete integrations."""


@integrations_group.command(name="list")
def _list_integrations_command() -> None:
    """List integrations with their source and ad account."""
    after = 0
    while records := operations.list_integrations(cli_caller(), _LISTED_AT_ONCE, after):
        for integration in records:
            state = "" if integration["enabled"] else ", disabled"
            account_id = integration["config"]["ad_account_id"]
            click.echo(
                f"{integration['id']:<22}{integration['source_id']} to {account_id}, {integration['name']}{state}"
            )
        after = records[-1]["number"]


@integrations_group.command("delete")
@click.argument("integration_id")
@click.option(
    "--waiting",
    type=click.Choice([choice.value for choice in Unsent]),
    default=Unsent.REFUSE.value,
    show_default=True,
    help="What happens to the events that wait: the command is refused, they are discarded, or another integration of "
    "the same ad account sends them.",
)
def _delete_integration_command(integration_id: str, waiting: str) -> None:
    """Delete an integration."""
    operations.delete_integration(cli_caller(), integration_id, waiting=Unsent(waiting))
    click.echo("Deleted.")
