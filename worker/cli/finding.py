"""Find an order, an event or a visitor."""

import time

import click

from worker.cli.opening import moment, opened
from worker.stages import searching


@click.command()
@click.argument("what")
def find(what: str) -> None:
    """Say where WHAT is: an order id, an event id or an anonymous id."""
    found = searching.search(opened(), what)
    for one in found:
        waited = (
            moment(one.ended_at) if one.ended_at else f"waiting for {time.time() - one.accepted_at:.0f} s"
        )
        click.echo(
            f"{one.id:>8}  {one.stands:<10} {one.source_name} → {one.event_name or '-'}  event {one.event_id}  "
            f"ad account {one.ad_account_id}  accepted {moment(one.accepted_at)}  {waited}"
        )
        for words in filter(None, (one.reason, one.warning)):
            click.echo(f"          {words}")
    if not found:
        click.echo(
            "Nothing is known of it: it never came in, still waits in the inbox, or is beyond retention."
        )
