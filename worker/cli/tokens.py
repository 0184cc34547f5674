"""Hand out access to the Management API and its pages, and take it away."""

import click

from worker.cli.opening import caller, moment
from worker.ledger.setup.people import Role
from worker.operations.setup import tokens as operations


@click.group()
def tokens() -> None:
    """Hand out access to the Management API and its pages, and take it away."""


@tokens.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.VIEWER.value,
    show_default=True,
    help="A viewer looks, an editor also changes, an owner also hands out tokens.",
)
def create(name: str, role: str) -> None:
    """Make a token for NAME and print it: it is shown this once."""
    made, text = operations.create_token(caller(), name, role)
    click.echo(text)
    click.echo(f"This is the {role} token of {made.actor}. It cannot be shown again.", err=True)


@tokens.command(name="list")
def list_tokens() -> None:
    """List the tokens that are good; ADMIN_TOKEN is an owner's beside them."""
    known = operations.list_tokens(caller())
    for one in known:
        click.echo(
            f"{one.id:<18}{one.role.value:<8}{moment(one.created_at)}  {one.name}, by {one.created_by}"
        )
    if not known:
        click.echo("No tokens beside ADMIN_TOKEN.")


@tokens.command()
@click.argument("which")
def revoke(which: str) -> None:
    """Make a token worthless at once, and sign its holder out. WHICH is its id or its name."""
    click.echo(f"Revoked {operations.revoke_token(caller(), which).actor}.")
