"""Create, list and revoke API tokens."""

import click

from worker.cli.common import CommandGroup, cli_caller, role_option, utc_time
from worker.operations.setup import access


@click.group("tokens", cls=CommandGroup)
def tokens_group() -> None:
    """Create, list and revoke tokens for the Management API and UI."""


@tokens_group.command("create")
@click.argument("name")
@role_option()
def _create_command(name: str, role: str) -> None:
    """Create a token for NAME and print it. It cannot be shown again."""
    token, text = access.create_token(cli_caller(), name, role)
    click.echo(text)
    click.echo(f"This is the {role} token of {token.actor}. It cannot be shown again.", err=True)


@tokens_group.command(name="list")
def _list_tokens_command() -> None:
    """List the valid tokens. ADMIN_TOKEN also works and is not listed."""
    tokens = access.list_tokens(cli_caller())
    for token in tokens:
        click.echo(
            f"{token.id:<18}{token.role.value:<8}{utc_time(token.created_at)}  {token.name}, by {token.created_by}"
        )
    if not tokens:
        click.echo("No tokens except ADMIN_TOKEN.")


@tokens_group.command("revoke")
@click.argument("which")
def _revoke_command(which: str) -> None:
    """Revoke a token at once and end its sessions. WHICH is its id or name."""
    click.echo(f"Revoked {access.revoke_token(cli_caller(), which).actor}.")
