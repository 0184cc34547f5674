"""Find an order, an event or a visitor."""

import click

from worker.cli.opening import caller, moment
from worker.operations.searching import MOST_FOUND, MOST_OPENED, search


@click.command()
@click.argument("what")
def find(what: str) -> None:
    """Say where WHAT is: the id of an order, an event or a visitor."""
    who = caller()
    found = search(who, what)
    for row in found.waiting:
        why = row.parked_reason or "not mapped yet"
        click.echo(f"   inbox  {row.name}  event {row.event_id}  accepted {moment(row.received_at)}  {why}")
    for one in found.deliveries:
        waited = moment(one.ended_at) if one.ended_at else f"waiting for {who.now - one.accepted_at:.0f} s"
        click.echo(
            f"{one.id:>8}  {one.stands:<10} {one.source_name} → {one.event_name or '-'}  event {one.event_id}  "
            f"ad account {one.ad_account_id}  accepted {moment(one.accepted_at)}  {waited}"
        )
        for words in filter(None, (one.reason, one.warning)):
            click.echo(f"          {words}")
    if found.has_more:
        click.echo(f"There are more than these {MOST_FOUND}.")
    if found.waits_more:
        click.echo(f"Of the events that wait to be mapped only the newest {MOST_OPENED:,} were looked at.")
    if not found.deliveries and not found.waiting:
        click.echo("Nothing is known of it: it never came in, nobody wants it, or it is beyond retention.")
