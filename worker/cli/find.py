"""Find the deliveries and waiting events of an order, an event or a visitor."""

import sys

import click

from worker.cli.common import cli_caller, utc_time
from worker.event.problem_texts import problem_text
from worker.operations.deliveries.find import MOST_FOUND, MOST_OPENED, find_by_id


@click.command("find")
@click.argument("what")
def find_command(what: str) -> None:
    """Find the deliveries and waiting events of WHAT: an order, event or visitor id.

    Ends with status 1 if nothing is found.
    """
    caller = cli_caller()
    matches = find_by_id(caller, what)
    for row in matches.waiting:
        cause = (
            f"set aside: {row.parked_reason}. Once the cause is fixed, `failed unpark` processes it again."
            if row.parked_reason
            else "not mapped yet"
        )
        click.echo(
            f"   inbox  {row.name}  event {row.event_id}  accepted {utc_time(row.received_at)}  {cause}"
        )
    for delivery in matches.deliveries:
        ending = (
            utc_time(delivery.ended_at)
            if delivery.ended_at
            else f"waiting for {caller.now - delivery.accepted_at:.0f} s"
        )
        click.echo(
            f"{delivery.id:>8}  {delivery.state:<10} {delivery.source_name} → {delivery.event_name or '-'}  "
            f"event {delivery.event_id}  ad account {delivery.ad_account_id}  "
            f"accepted {utc_time(delivery.accepted_at)}  {ending}"
        )
        for words in filter(None, (delivery.reason, delivery.warning)):
            click.echo(f"          {words}")
        what_to_do = problem_text(delivery.reason_class).what_to_do
        if what_to_do:
            click.echo(f"          What to do: {what_to_do}")
    if matches.has_more:
        click.echo(f"There are more than these {MOST_FOUND}.")
    if matches.waits_more:
        click.echo(f"Of the events that wait to be mapped only the newest {MOST_OPENED:,} were searched.")
    if not matches.deliveries and not matches.waiting:
        click.echo(
            "Not found: it was never received, no integration uses it, or it was deleted, after its retention or at "
            "the person's request."
        )
        sys.exit(1)
