"""Explain what would be sent for an event."""

import json
from typing import IO, Any, Literal

import click

from worker.cli.common import cli_caller
from worker.event.received import Received
from worker.operations.deliveries import explain as explaining
from worker.operations.deliveries.explain import EXAMPLE_IP, EXAMPLE_USER_AGENT
from worker.pinterest.user_data.countries import country_code


def _country(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    code = country_code(value) if value else None
    if value and code is None:
        raise click.BadParameter(f"{value} is not a country. Use two letters, like US.")
    return code.upper() if code else None


@click.command("explain")
@click.argument("file", type=click.File("rb"), default="-")
@click.option(
    "--source",
    help="Explain for this source's integrations; without it, for an integration with default settings.",
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
    caller = cli_caller(checked=bool(source) or show_personal)
    received = Received(channel, caller.now, ip, user_agent, None, pin_unauth, epik)
    explanations = explaining.explain(
        caller, events, received, source_id=source, country=country, show_personal=show_personal
    )
    for number, event in enumerate(explanations, 1):
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
