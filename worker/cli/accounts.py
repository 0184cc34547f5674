"""List ad accounts, pause and resume them, set their rates."""

import time

import click

from worker.cli.common import CommandGroup, cli_caller, utc_time
from worker.formats import count_text
from worker.operations.setup import accounts as operations
from worker.operations.setup import token_expiry
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


@click.group("accounts", cls=CommandGroup)
def accounts_group() -> None:
    """List ad accounts, pause and resume them, set their rates."""


@accounts_group.command(name="list")
def _list_accounts_command() -> None:
    """List ad accounts with their rate limits, whether they are paused, and when their access tokens end."""
    accounts = operations.list_accounts(cli_caller())
    for account in accounts:
        for credential in account.credentials:
            click.echo(
                f"{account.ad_account_id:<20} credential {credential.id:<5} {account.rate_limit_rps:g} requests/s, "
                f"burst {account.rate_limit_burst}, {_state(credential)}"
            )
            if credential.token_expires_at is not None:
                click.echo(
                    f"{'':<20} {token_expiry.describe_token_end(credential.token_expires_at, time.time())}"
                )
    if not accounts:
        click.echo("There are no integrations yet.")


def _state(credential: CredentialStatus) -> str:
    if credential.state == PAUSED:
        since = utc_time(credential.paused_at)
        return f"paused since {since} by {credential.paused_by}: {credential.paused_reason}"
    if credential.state == BREAKER_OPEN:
        until = utc_time(credential.breaker_open_until)
        return (
            f"breaker open after {count_text(credential.breaker_failures, 'failure')}, probing from {until}"
        )
    return credential.state


@accounts_group.command("pause")
@click.argument("ad_account_id", required=False)
@click.option("--all", "everything", is_flag=True, help="Every ad account: nothing is sent to Pinterest.")
@click.option("--reason", default=DEFAULT_REASON, show_default=True)
def _pause_command(ad_account_id: str | None, everything: bool, reason: str) -> None:
    """Stop sending to an ad account, or to --all. Its events are accepted and wait.

    A new access token does not end the pause.
    """
    _check_choice(ad_account_id, everything)
    if ad_account_id is None:
        click.echo(f"Paused {count_text(operations.pause_all_accounts(cli_caller(), reason), 'ad account')}.")
    else:
        paused = operations.pause_account(cli_caller(), ad_account_id, reason)
        click.echo("Paused." if paused else "Already paused.")


@accounts_group.command("resume")
@click.argument("ad_account_id", required=False)
@click.option("--all", "everything", is_flag=True, help="Every ad account that was paused manually.")
def _resume_command(ad_account_id: str | None, everything: bool) -> None:
    """Send to an ad account again, or to --all that were paused manually."""
    _check_choice(ad_account_id, everything)
    if ad_account_id is None:
        resumed = operations.resume_all_accounts(cli_caller())
        click.echo(f"Resumed {count_text(resumed, 'ad account')}; waiting events are sent within seconds.")
    elif operations.resume_account(cli_caller(), ad_account_id):
        click.echo("Resumed; waiting events are sent within seconds.")
    else:
        click.echo("Already running.")


@accounts_group.command("rate")
@click.argument("ad_account_id")
@click.argument("rps", type=click.FloatRange(LOWEST_RATE, HIGHEST_RATE))
@click.argument("burst", type=click.IntRange(SMALLEST_BURST, LARGEST_BURST))
def _rate_command(ad_account_id: str, rps: float, burst: int) -> None:
    """Set an ad account's rate: RPS requests a second, with a burst of BURST requests."""
    operations.set_account_rate(cli_caller(), ad_account_id, rps=rps, burst=burst)
    click.echo("Rate set. It applies from the next request.")


def _check_choice(ad_account_id: str | None, everything: bool) -> None:
    if (ad_account_id is None) != everything:
        raise click.UsageError("Give an ad account, or --all.")
