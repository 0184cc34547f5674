"""Connect with Pinterest, and deliver to an ad account."""

import click

from worker.cli.common import cli_caller
from worker.ledger.setup.ad_accounts import AccountRateLimit
from worker.operations.setup import connect
from worker.operations.setup.connect import PinterestApp
from worker.settings import settings

# The session of a sign-in that begins here; no browser's cookie is like it.
_SESSION = "command line"
_MOST_SHOWN = 20


@click.command("connect")
@click.option(
    "--integration", "integration_id", help="Connect this integration, again or for the first time."
)
@click.option("--source", "source_id", help="Add an integration that delivers the events of this source.")
@click.option(
    "--ad-account", "ad_account_id", help="Its id. Without it, the ad accounts are listed to choose from."
)
def connect_command(integration_id: str | None, source_id: str | None, ad_account_id: str | None) -> None:
    """Sign in at Pinterest in any browser, and deliver to one of your ad accounts.

    Prints an address. Open it, give access, and paste the address of the next page.
    """
    if bool(integration_id) == bool(source_id):
        raise click.UsageError("Give either --integration or --source.")
    config = settings()
    app = PinterestApp(
        config.pinterest_api_url, config.pinterest_app_id, config.pinterest_app_secret, config.management_url
    )
    url = connect.begin_connecting(cli_caller(), app, _SESSION, integration_id or "")
    click.echo(f"Open this address and give access:\n\n{url}\n")
    pasted = click.prompt("Then paste the address of the next page, or the code in it", err=True)
    answer = connect.read_redirect(app, pasted, url)
    result = connect.finish_connecting(cli_caller(), app, _SESSION, answer)
    if result.missing:
        click.echo(
            f"Pinterest gave access without {' and '.join(result.missing)}: it creates no token for events."
        )
    if integration_id:
        click.echo("Connected." + " The token for events is new." * result.has_new_token)
    elif source_id:
        _add(app, result.login_id, source_id, ad_account_id or _choose(app, result.login_id))


def _choose(app: PinterestApp, login_id: int) -> str:
    while True:
        text = click.prompt("Name or id of the ad account (part of it is enough)", default="", err=True)
        accounts = connect.ad_account_choices(cli_caller(), app, login_id, text)
        if len(accounts) == 1:
            return accounts[0].id
        for account in accounts[:_MOST_SHOWN]:
            click.echo(f"{account.id:<20}{account.name}, {account.country} {account.currency}")
        if not accounts:
            click.echo("No ad account's name or id contains this text.")


def _add(app: PinterestApp, login_id: int, source_id: str, ad_account_id: str) -> None:
    account, defaults = connect.ad_account_defaults(cli_caller(), app, login_id, ad_account_id)
    config = {"ad_account_id": account.id, "access_token": connect.TO_BE_MADE}
    record = connect.create_connected_integration(
        cli_caller(),
        app,
        AccountRateLimit(settings().rate_limit_rps, settings().rate_limit_burst),
        login_id,
        source_id=source_id,
        vendor="pinterest",
        name=f"Pinterest: {account.name}"[:200],
        config=config | defaults,
    )
    click.echo(f"{record['id']} delivers to {account.name} ({account.id}).")
