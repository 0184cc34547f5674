"""Explain what would be sent for an event, find events, and show what is wrong with them."""

import json
import sys
from typing import IO, Any, Literal

import click

from worker.cli.common import cli_caller, utc_time
from worker.event.received import Received
from worker.operations.deliveries import explain as explaining
from worker.operations.deliveries.explain import EXAMPLE_IP, EXAMPLE_USER_AGENT
from worker.operations.deliveries.search import MOST_FOUND, MOST_OPENED, search
from worker.operations.reports.match_quality_advice import percent
from worker.operations.reports.problem_report import data_quality
from worker.pinterest.user_data.countries import country_code


def _country(_context: click.Context, _option: click.Parameter, given: str | None) -> str | None:
    code = country_code(given) if given else None
    if given and code is None:
        raise click.BadParameter(f"{given} is not a country. Use two letters, like US.")
    return code.upper() if code else None


@click.command("explain")
@click.argument("file", type=click.File("rb"), default="-")
@click.option(
    "--source", help="Explain for this source's integrations; without it, for one with every default."
)
@click.option(
    "--country",
    callback=_country,
    help="Country of national phone numbers, without --source: two letters, like US.",
)
@click.option("--channel", type=click.Choice(["browser", "server"]), default="browser", show_default=True)
@click.option("--ip", default=EXAMPLE_IP, show_default=True, help="The visitor's address.")
@click.option("--user-agent", default=EXAMPLE_USER_AGENT, show_default=True)
@click.option("--pin-unauth", help="The visitor's _pin_unauth cookie.")
@click.option("--epik", help="The visitor's _epik cookie.")
@click.option("--show-personal", is_flag=True, help="Print personal data unhashed too.")
def explain_command(
    file: IO[bytes],
    source: str | None,
    country: str | None,
    channel: Literal["browser", "server"],
    ip: str,
    user_agent: str,
    pin_unauth: str | None,
    epik: str | None,
    show_personal: bool,
) -> None:
    """Explain step by step what would be sent for the events in FILE (default: standard input).

    FILE has one event as the collector takes it, or {"batch": [events]} of one visitor in order; an event without a
    type is a track call. Nothing is stored and nothing is sent.
    """
    events = explaining.parse_events(file.read())
    # Without a source the explanation needs no ledger, unless it has to record who read personal data.
    who = cli_caller(checked=bool(source) or show_personal)
    received = Received(channel, who.now, ip, user_agent, None, pin_unauth, epik)
    explained = explaining.explain(
        who, events, received, source_id=source, country=country, show_personal=show_personal
    )
    for number, event in enumerate(explained, 1):
        click.echo(click.style(f"Event {number}: {event['name'] or event['type']}", bold=True))
        for result in event["results"]:
            _print(result)


def _print(result: dict[str, Any]) -> None:
    click.echo(f"  For {result['integration']}")
    for line in result["lines"]:
        click.echo(f"    {line['step']:<12} {line['text']}")
    if not result["outcomes"]:
        click.echo("    nothing is sent: the event only describes its visitor")
    for outcome in result["outcomes"]:
        word = outcome.pop("outcome")
        payload = outcome.pop("payload", None)
        click.echo(f"    {word}: {outcome.get('reason') or outcome.get('event_name')}")
        if payload is not None:
            click.echo("      " + json.dumps(payload, indent=2, ensure_ascii=False).replace("\n", "\n      "))


@click.command("find")
@click.argument("what")
def find_command(what: str) -> None:
    """Find the deliveries and waiting events of WHAT: an order, event or visitor id.

    Ends with status 1 if nothing is found.
    """
    who = cli_caller()
    found = search(who, what)
    for row in found.waiting:
        why = row.parked_reason or "not mapped yet"
        click.echo(f"   inbox  {row.name}  event {row.event_id}  accepted {utc_time(row.received_at)}  {why}")
    for one in found.deliveries:
        waited = utc_time(one.ended_at) if one.ended_at else f"waiting for {who.now - one.accepted_at:.0f} s"
        click.echo(
            f"{one.id:>8}  {one.stands:<10} {one.source_name} → {one.event_name or '-'}  event {one.event_id}  "
            f"ad account {one.ad_account_id}  accepted {utc_time(one.accepted_at)}  {waited}"
        )
        for words in filter(None, (one.reason, one.warning)):
            click.echo(f"          {words}")
    if found.has_more:
        click.echo(f"There are more than these {MOST_FOUND}.")
    if found.waits_more:
        click.echo(f"Of the events that wait to be mapped only the newest {MOST_OPENED:,} were searched.")
    if not found.deliveries and not found.waiting:
        click.echo("Not found: it was never received, no integration uses it, or its retention has ended.")
        sys.exit(1)


@click.command("data-quality")
@click.argument("source_id")
def data_quality_command(source_id: str) -> None:
    """Show the problems in the data of SOURCE_ID, the most frequent first, with an example and what to do."""
    report = data_quality(cli_caller(), source_id)
    for row in report.rows:
        click.echo(click.style(f"{row.problem}: {row.text.title}", bold=True))
        for span, share in row.spans.items():
            most = row.most_affected.get(span)
            worst = f", most affected {most.event_name}: {percent(most.share)}" if most else ""
            click.echo(f"  {span:>4}  {share.n:,} of {share.events:,} events ({percent(share.share)}){worst}")
        if row.examples:
            newest = row.examples[0]
            which = f"delivery {newest.delivery_id}" if newest.delivery_id else "delivery gone"
            click.echo(f"  example  {newest.event_name}, {which}, {utc_time(newest.at)}  {newest.sentence}")
        click.echo(f"  do       {row.what_to_do}")
    if not report.rows:
        n = report.events["30d"]
        click.echo(f"No problems in {n:,} event{'s' * (n != 1)} of the last 30 days.")
