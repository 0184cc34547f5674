"""Add, list, change and remove users, and create, list and revoke tokens."""

from datetime import datetime
from typing import Any

import click

from worker.cli.common import CommandGroup, cli_caller, utc_time
from worker.ledger.setup.access import Role
from worker.operations.setup import access

_ROLES = click.Choice([role.value for role in Role])
_ROLE_HELP = "viewer: reads; editor: also changes; owner: also manages users and tokens."


@click.group("tokens", cls=CommandGroup)
def tokens_group() -> None:
    """Create, list and revoke tokens for the Management API and UI."""


@tokens_group.command("create")
@click.argument("name")
@click.option(
    "--role",
    type=_ROLES,
    default=Role.VIEWER.value,
    show_default=True,
    help=_ROLE_HELP,
)
def _create_command(name: str, role: str) -> None:
    """Create a token for NAME and print it. It cannot be shown again."""
    made, text = access.create_token(cli_caller(), name, role)
    click.echo(text)
    click.echo(f"This is the {role} token of {made.actor}. It cannot be shown again.", err=True)


@tokens_group.command(name="list")
def _list_tokens_command() -> None:
    """List the valid tokens. ADMIN_TOKEN also works and is not listed."""
    known = access.list_tokens(cli_caller())
    for one in known:
        click.echo(
            f"{one.id:<18}{one.role.value:<8}{utc_time(one.created_at)}  {one.name}, by {one.created_by}"
        )
    if not known:
        click.echo("No tokens except ADMIN_TOKEN.")


@tokens_group.command("revoke")
@click.argument("which")
def _revoke_command(which: str) -> None:
    """Revoke a token at once and end its sessions. WHICH is its id or name."""
    click.echo(f"Revoked {access.revoke_token(cli_caller(), which).actor}.")


@click.group("access", cls=CommandGroup)
def access_group() -> None:
    """Add, list, change and remove people who sign in with a name and a password."""


def _expires(command: Any) -> Any:
    return click.option(
        "--expires",
        type=click.DateTime(["%Y-%m-%d"]),
        help="The last day on which the person can sign in, in UTC.",
    )(command)


@access_group.command("add")
@click.argument("name")
@click.option("--role", type=_ROLES, default=Role.VIEWER.value, show_default=True, help=_ROLE_HELP)
@_expires
@click.password_option(help="Without it, it is read from the terminal or standard input.")
def _add_user_command(name: str, role: str, expires: datetime | None, password: str) -> None:
    """Add a user with the name NAME."""
    user = access.create_user(cli_caller(), name, role, password, _seconds(expires))
    click.echo(f"Added {user.actor}.")


@access_group.command("list")
def _list_users_command() -> None:
    """List the users with their role, last sign-in and expiry."""
    caller = cli_caller()
    known = access.list_users(caller)
    for one in known:
        state = "" if one.may_sign_in(caller.now) else "  expired" if one.enabled else "  disabled"
        times = f"{utc_time(one.last_used_at):<21}  {utc_time(one.expires_at):<21}"
        click.echo(f"{one.id:<18}{one.role.value:<8}{times}  {one.name}{state}")
    if not known:
        click.echo("No users.")


@access_group.command("change")
@click.argument("which")
@click.option("--role", type=_ROLES, help=_ROLE_HELP)
@click.option("--enable/--disable", "enabled", default=None, help="Whether the user may sign in.")
@_expires
@click.option("--never-expires", is_flag=True, help="Remove the expiry.")
@click.option("--password", "new_password", is_flag=True, help="Read a new password.")
def _change_user_command(
    which: str,
    role: str | None,
    enabled: bool | None,
    expires: datetime | None,
    never_expires: bool,
    new_password: bool,
) -> None:
    """Change a user. WHICH is its id or name. Disabling and a new password end its sessions at once."""
    changes: dict[str, Any] = {"role": role, "enabled": enabled, "expires_at": _seconds(expires)}
    changes = {name: value for name, value in changes.items() if value is not None}
    if never_expires:
        changes["expires_at"] = None
    if new_password:
        changes["password"] = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    click.echo(f"{access.change_user(cli_caller(), which, changes).actor} is as you want it.")


@access_group.command("remove")
@click.argument("which")
def _remove_user_command(which: str) -> None:
    """Remove a user and end its sessions at once. WHICH is its id or name."""
    click.echo(f"Removed {access.remove_user(cli_caller(), which).actor}.")


def _seconds(day: datetime | None) -> float | None:
    return access.end_of_day(day.date()) if day else None
