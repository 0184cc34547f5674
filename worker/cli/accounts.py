"""See, pause, resume and slow down ad accounts."""

import time

import click

from worker.alerts import token_ends
from worker.cli.opening import cli_caller, utc_time
from worker.operations.setup import accounts as operations
from worker.operations.setup.accounts import (
    BREAKER_OPEN,
    DEFAULT_REASON,
    HIGHEST_RATE,
    LARGEST_BURST,
    LOWEST_RATE,
    PAUSED,
    SMALLEST_BURST,
    CredentialStatus,
)


@click.group("accounts")
def accounts_group() -> None:
    """See, pause, resume and slow down ad accounts."""


@accounts_group.command(name="list")
def list_accounts_command() -> None:
    """List ad accounts with their rate limits, whether they are paused, and when their access tokens end."""
    found = operations.list_accounts(cli_caller())
    for account in found:
        for credential in account.credentials:
            click.echo(
                f"{account.ad_account_id:<20} credential {credential.id:<5} {account.rate_limit_rps:g} requests/s, "
                f"burst {account.rate_limit_burst}, {_state(credential)}"
            )
            if credential.token_expires_at is not None:
                click.echo(
                    f"{'':<20} {token_ends.describe_token_end(credential.token_expires_at, time.time())}"
                )
    if not found:
        click.echo("No integration delivers anywhere yet.")


def _state(credential: CredentialStatus) -> str:
    if credential.state == PAUSED:
        since = utc_time(credential.paused_at)
        return f"paused since {since} by {credential.paused_by}: {credential.paused_reason}"
    if credential.state == BREAKER_OPEN:
        until = utc_time(credential.breaker_open_until)
        return f"breaker open after {credential.breaker_failures} failures, probing from {until}"
    return credential.state


@accounts_group.command("pause")
@click.argument("ad_account_id", required=False)
@click.option(
    "--all", "everything", is_flag=True, help="Every ad account: nothing goes to Pinterest any more."
)
@click.option("--reason", default=DEFAULT_REASON, show_default=True)
def pause_command(ad_account_id: str | None, everything: bool, reason: str) -> None:
    """Stop sending to an ad account, or to --all of them; events are taken as ever, and wait.

    A new token does not end it.
    """
    _check_choice(ad_account_id, everything)
    if ad_account_id is None:
        click.echo(f"Paused {operations.pause_all_accounts(cli_caller(), reason):,} ad accounts.")
    else:
        paused = operations.pause_account(cli_caller(), ad_account_id, reason)
        click.echo("Paused." if paused else "It was paused already.")


@accounts_group.command("resume")
@click.argument("ad_account_id", required=False)
@click.option("--all", "everything", is_flag=True, help="Every ad account that was paused by hand.")
def resume_command(ad_account_id: str | None, everything: bool) -> None:
    """Send to an ad account again, or to --all that were paused by hand."""
    _check_choice(ad_account_id, everything)
    if ad_account_id is None:
        resumed = operations.resume_all_accounts(cli_caller())
        click.echo(f"Resumed {resumed:,} ad accounts; what waits goes out within seconds.")
    elif operations.resume_account(cli_caller(), ad_account_id):
        click.echo("Resumed; what waits goes out within seconds.")
    else:
        click.echo("It was running already.")


@accounts_group.command("rate")
@click.argument("ad_account_id")
@click.argument("rps", type=click.FloatRange(LOWEST_RATE, HIGHEST_RATE))
@click.argument("burst", type=click.IntRange(SMALLEST_BURST, LARGEST_BURST))
def rate_command(ad_account_id: str, rps: float, burst: int) -> None:
    """Set an ad account's rate: RPS requests a second, BURST at once after a rest."""
    operations.set_account_rate(cli_caller(), ad_account_id, rps=rps, burst=burst)
    click.echo("Set; it holds from the next request on.")


def _check_choice(ad_account_id: str | None, everything: bool) -> None:
    if (ad_account_id is None) != everything:
        raise click.UsageError("Name an ad account, or say --all.")
