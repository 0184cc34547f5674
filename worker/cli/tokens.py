"""Hand out access to the Management API and its pages, and take it away."""

import time

import click
from sqlalchemy.exc import IntegrityError

from worker.cli.opening import ACTOR, moment, opened
from worker.ledger import audit, people
from worker.ledger.people import Role

LONGEST_NAME = 64


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
    name = name.strip()
    if not 1 <= len(name) <= LONGEST_NAME:
        raise click.UsageError(f"NAME has 1 to {LONGEST_NAME} characters.")
    ledger, now = opened(), time.time()
    ledger.vault.prepare()
    try:
        with ledger.write() as connection:
            made, text = people.create_token(connection, ledger.vault, name, Role(role), ACTOR, now)
            audit.write(connection, now, ACTOR, "token.create", made.actor, {"role": [None, role]})
    except IntegrityError:
        raise click.ClickException(f"There is a token called {name!r} already.") from None
    click.echo(text)
    click.echo(f"This is the {role} token of {made.actor}. It cannot be shown again.", err=True)


@tokens.command(name="list")
def list_tokens() -> None:
    """List the tokens that are good; ADMIN_TOKEN is an owner's beside them."""
    with opened().read() as connection:
        known = people.tokens(connection)
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
    ledger, now = opened(), time.time()
    with ledger.write() as connection:
        named = people.by_name(connection, which)
        gone = people.revoke(connection, named.id if named else which)
        if gone is None:
            raise click.ClickException(f"There is no token {which!r}.")
        audit.write(connection, now, ACTOR, "token.revoke", gone.actor, {"role": [gone.role.value, None]})
    click.echo(f"Revoked {gone.actor}.")
