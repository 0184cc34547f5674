"""Add, list, change and remove users."""

from datetime import datetime
from typing import Any

import click

from worker.cli.common import CommandGroup, cli_caller, role_option, utc_time
from worker.operations.setup import access


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
@role_option()
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
    users = access.list_users(caller)
    for user in users:
        state = "" if user.may_sign_in(caller.now) else "  expired" if user.enabled else "  disabled"
        times = f"{utc_time(user.last_used_at):<21}  {utc_time(user.expires_at):<21}"
        click.echo(f"{user.id:<18}{user.role.value:<8}{times}  {user.name}{state}")
    if not users:
        click.echo("No users.")


@access_group.command("change")
@click.argument("which")
@role_option(default=None)
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
    click.echo(f"Changed {access.change_user(cli_caller(), which, changes).actor}.")


@access_group.command("remove")
@click.argument("which")
def _remove_user_command(which: str) -> None:
    """Remove a user and end its sessions at once. WHICH is its id or name."""
    click.echo(f"Removed {access.remove_user(cli_caller(), which).actor}.")


def _seconds(day: datetime | None) -> float | None:
    return access.end_of_day(day.date()) if day else None
