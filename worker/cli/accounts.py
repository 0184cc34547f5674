"""See, pause, resume and slow down ad accounts."""

import time

import click

from worker.cli.opening import ACTOR, moment, opened
from worker.ledger import accounts as ledger_accounts
from worker.ledger import audit
from worker.ledger.accounts import BY_HAND, Credential, Rate
from worker.ledger.engine import Ledger
from worker.stages import token_ends


@click.group()
def accounts() -> None:
    """See, pause, resume and slow down ad accounts."""


@accounts.command(name="list")
def list_accounts() -> None:
    """List ad accounts with their rate limits, whether they are paused, and when their access tokens end."""
    with opened().read() as connection:
        known = ledger_accounts.in_use(connection)
        ends = token_ends.by_credential(connection)
    now = time.time()
    for one in known:
        state = "running"
        if one.paused_at is not None:
            state = f"paused since {moment(one.paused_at)} by {one.paused_by}: {one.paused_reason}"
        elif one.breaker_open_until is not None:
            state = f"breaker open after {one.breaker_failures} failures, probing from {moment(one.breaker_open_until)}"
        click.echo(
            f"{one.ad_account_id:<20} credential {one.id:<5} {one.rate_limit_rps:g} requests/s, "
            f"burst {one.rate_limit_burst}, {state}"
        )
        if one.id in ends:
            click.echo(f"{'':<20} {token_ends.in_words(ends[one.id], now)}")
    if not known:
        click.echo("No integration delivers anywhere yet.")


@accounts.command()
@click.argument("ad_account_id", required=False)
@click.option(
    "--all", "everything", is_flag=True, help="Every ad account: nothing goes to Pinterest any more."
)
@click.option("--reason", default="Paused by hand.", show_default=True)
def pause(ad_account_id: str | None, everything: bool, reason: str) -> None:
    """Stop sending to an ad account, or to --all of them; events are taken as ever, and wait.

    A new token does not end it.
    """
    paused = 0
    for name, credentials in _chosen(ad_account_id, everything).items():
        with opened().write() as connection:
            changed = [
                ledger_accounts.pause(connection, one.id, BY_HAND, reason, ACTOR, time.time())
                for one in credentials
            ]
            changes = {"reason": [None, reason]}
            audit.write(connection, time.time(), ACTOR, "account.pause", name, changes)
        paused += any(changed)
    if everything:
        click.echo(f"Paused {paused:,} ad accounts.")
    else:
        click.echo("Paused." if paused else "It was paused already.")


@accounts.command()
@click.argument("ad_account_id", required=False)
@click.option("--all", "everything", is_flag=True, help="Every ad account that was paused by hand.")
def resume(ad_account_id: str | None, everything: bool) -> None:
    """Send to an ad account again, or to --all that were paused by hand."""
    resumed = 0
    for name, credentials in _chosen(ad_account_id, everything).items():
        # What the delivery paused has a reason of its own, such as a token that was refused.
        wanted = [one for one in credentials if not everything or one.paused_class == BY_HAND]
        with opened().write() as connection:
            changed = [ledger_accounts.resume(connection, one.id, now=time.time()) for one in wanted]
            if wanted:
                audit.write(connection, time.time(), ACTOR, "account.resume", name, {})
        resumed += any(changed)
    if everything:
        click.echo(f"Resumed {resumed:,} ad accounts; what waits goes out within seconds.")
    else:
        click.echo("Resumed; what waits goes out within seconds." if resumed else "It was running already.")


@accounts.command()
@click.argument("ad_account_id")
@click.argument("rps", type=click.FloatRange(0.01, 100_000))
@click.argument("burst", type=click.IntRange(1, 100_000))
def rate(ad_account_id: str, rps: float, burst: int) -> None:
    """Set an ad account's rate: RPS requests a second, BURST at once after a rest."""
    ledger = opened()
    known = _of(ledger, ad_account_id)[0]
    changes = {"rps": [known.rate_limit_rps, rps], "burst": [known.rate_limit_burst, burst]}
    with ledger.write() as connection:
        ledger_accounts.set_rate(connection, known.ad_account, Rate(rps, burst))
        audit.write(connection, time.time(), ACTOR, "account.rate", ad_account_id, changes)
    click.echo("Set; it holds from the next request on.")


def _chosen(ad_account_id: str | None, everything: bool) -> dict[str, list[Credential]]:
    """Return the credentials in use of one ad account, or of all of them."""
    if (ad_account_id is None) != everything:
        raise click.UsageError("Name an ad account, or say --all.")
    ledger = opened()
    if ad_account_id is not None:
        return {ad_account_id: _of(ledger, ad_account_id)}
    found: dict[str, list[Credential]] = {}
    with ledger.read() as connection:
        for one in ledger_accounts.in_use(connection):
            found.setdefault(one.ad_account_id, []).append(one)
    return found


def _of(ledger: Ledger, ad_account_id: str) -> list[Credential]:
    with ledger.read() as connection:
        known = [one for one in ledger_accounts.in_use(connection) if one.ad_account_id == ad_account_id]
    if not known:
        raise click.ClickException(f"No integration delivers to ad account {ad_account_id}.")
    return known
