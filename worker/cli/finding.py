"""Find an order, an event or a visitor."""

import time

import click

from worker.cli.opening import moment, opened
from worker.stages import searching


@click.command()
@click.argument("what")
def find(what: str) -> None:
    """Say where WHAT is: the id of an order, an event or a visitor."""
    ledger = opened()
    found, waiting = searching.search(ledger, what), searching.search_inbox(ledger, what)
    for row in waiting:
        why = row.parked_reason or "not mapped yet"
        click.echo(f"   inbox  {row.name}  event {row.event_id}  accepted {moment(row.received_at)}  {why}")
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
    if not found and not waiting:
        click.echo("Nothing is known of it: it never came in, nobody wants it, or it is beyond retention.")
