"""Look after failed deliveries."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, TextIO, TypeVar

import click
from tqdm import tqdm

from worker.cli.opening import ACTOR, moment, opened, parse_since
from worker.ledger import failures, inbox, integrations
from worker.ledger.deliveries import PAYLOAD
from worker.ledger.engine import Ledger
from worker.ledger.failures import Failure, Filter
from worker.ledger.vault import SealError
from worker.stages import parking, retrying
from worker.stages.retrying import Extent

Command = TypeVar("Command", bound=Callable[..., Any])


def _number_of(_context: click.Context, _option: click.Parameter, public_id: str | None) -> int | None:
    if public_id is None:
        return None
    with opened().read() as connection:
        found = integrations.find(connection, public_id)
    if found is None:
        raise click.BadParameter(f"there is no integration {public_id}")
    return found.number


def _filters(command: Command) -> Command:
    options = (
        click.option("--ad-account", "ad_account_id", help="Only of this ad account."),
        click.option("--class", "reason_class", help="Only of this class, as `failed list` shows it."),
        click.option("--integration", "integration_number", callback=_number_of, help="Only of this int_… ."),
        click.option("--event-name", help="Only of this Pinterest event name."),
        click.option("--event-id", help="Only of this event id."),
        click.option("--since", callback=parse_since, help="Only what failed since: 90m, 24h, 7d or a time."),
    )
    for option in options:
        command = option(command)
    return command


@click.group()
def failed() -> None:
    """List, show, retry and discard failed deliveries."""


@failed.command(name="list")
@_filters
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--json-lines", is_flag=True, help="One JSON object a line, for other programs.")
def list_failed(limit: int, json_lines: bool, **chosen: Any) -> None:
    """List failed deliveries, grouped by reason first."""
    wanted = Filter(**chosen)
    with opened().read() as connection:
        groups = failures.by_reason(connection, wanted)
        found = failures.page(connection, wanted, limit)
    now = time.time()
    if json_lines:
        for one in found:
            click.echo(_json_line(one, now))
        return
    for group in groups:
        click.echo(
            f"{group['n']:>8,}  {group['reason_class']:<18} {group['event_name'] or '-':<14} "
            f"ad account {group['ad_account_id']}  {moment(group['first_at'])} to {moment(group['last_at'])}"
        )
    for one in found:
        click.echo(
            f"{one.id:>8}  {moment(one.failed_at)}  {one.event_name or '-':<14} {one.event_id}  "
            f"{one.reason}{_flags(one, now)}"
        )
    if not found:
        click.echo("No failed deliveries.")


def _flags(one: Failure, now: float) -> str:
    """Say what is to be thought of before it is sent again."""
    if one.is_stale(now):
        return "  [stale: over 7 days old]"
    return "  [late: over an hour old]" if one.is_late(now) else ""


def _json_line(one: Failure, now: float) -> str:
    return json.dumps(
        asdict(one) | {"late": one.is_late(now), "stale": one.is_stale(now)}, ensure_ascii=False
    )


@failed.command()
@_filters
@click.option(
    "--output", default="-", type=click.File("w", "utf-8", atomic=True), help="A file; usual: here."
)
def export(output: TextIO, **chosen: Any) -> None:
    """Write out all failed deliveries that the filters choose, one JSON object a line.

    What would be sent is left out: it holds hashes, IP address and user agent.
    """
    now, written = time.time(), 0
    for step in retrying.steps(opened(), Filter(**chosen), Extent(most=None)):
        output.writelines(f"{_json_line(one, now)}\n" for one in step)
        written += len(step)
    click.echo(f"{written:,} failed deliveries.", err=True)


@failed.command()
@click.argument("number", type=int)
@click.option(
    "--payload", is_flag=True, help="Print also what would be sent: hashes, IP address and user agent."
)
def show(number: int, payload: bool) -> None:
    """Show one failed delivery with its history."""
    ledger = opened()
    with ledger.read() as connection:
        found = failures.page(connection, Filter(ids=(number,)), 1)
        if not found:
            raise click.ClickException(f"{number} is not a failed delivery.")
        history = failures.history(connection, found[0].batch_id)
        sealed = failures.payload(connection, number)
    for name, value in asdict(found[0]).items():
        click.echo(f"{name:<16}{moment(value) if name in ('failed_at', 'event_time') else value}")
    for one in history:
        status = one["http_status"] or "no status"
        click.echo(
            f"try {one['number']:<4} {moment(one['at'])}  {status}  {one['reason_class']}: {one['reason']}"
        )
    if payload and sealed is not None:
        click.echo(_opened_payload(ledger, sealed))


def _opened_payload(ledger: Ledger, sealed: bytes) -> str:
    try:
        return ledger.vault.open(sealed, PAYLOAD).decode()
    except SealError as error:
        raise click.ClickException(f"The payload cannot be opened: {error}.") from None


@failed.command()
@click.argument("numbers", nargs=-1, type=int)
@_filters
@click.option("--all", "everything", is_flag=True, help="All that the filters choose.")
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
@click.option("--force", is_flag=True, help="Also what is older than 7 days, though Pinterest refuses it.")
def retry(numbers: tuple[int, ...], everything: bool, dry_run: bool, force: bool, **chosen: Any) -> None:
    """Send failed deliveries again: the NUMBERS given, or --all of a filter. Doing it twice sends once."""
    ledger, wanted = opened(), _wanted(numbers, everything, chosen)
    with _extent(ledger, wanted, "retry", dry_run) as extent:
        done = retrying.retry(ledger, wanted, time.time(), ACTOR, force=force, extent=extent)
    click.echo(f"{'Would retry' if dry_run else 'Retried'} {done.moved:,} deliveries.")
    if done.late:
        click.echo(
            f"{done.late:,} are over an hour old: Pinterest counts them as offline and may not deduplicate them."
        )
    if done.offline:
        click.echo(f"{done.offline:,} are offline events: Pinterest deduplicates none of them.")
    for why, n in done.left_alone.items():
        click.echo(f"{n:,} left alone: {why}.")


@failed.command()
@click.argument("numbers", nargs=-1, type=int)
@_filters
@click.option("--all", "everything", is_flag=True, help="All that the filters choose.")
@click.option("--reason", required=True, help="Why they are given up; kept in the audit log.")
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
def discard(numbers: tuple[int, ...], everything: bool, reason: str, dry_run: bool, **chosen: Any) -> None:
    """Give failed deliveries up for good: the NUMBERS given, or --all of a filter."""
    ledger, wanted = opened(), _wanted(numbers, everything, chosen)
    with _extent(ledger, wanted, "discard", dry_run) as extent:
        done = retrying.discard(ledger, wanted, reason, time.time(), ACTOR, extent=extent)
    click.echo(f"{'Would discard' if dry_run else 'Discarded'} {done.moved:,} deliveries.")


@failed.command()
def parked() -> None:
    """List accepted events that could not be worked on, by reason; they wait, complete, for `unpark`."""
    with opened().read() as connection:
        groups = inbox.parked(connection)
    for group in groups:
        click.echo(f"{group.events:>8,}  since {moment(group.oldest_at)}  {group.reason}")
    if not groups:
        click.echo("No parked events.")


@failed.command()
def unpark() -> None:
    """Let every parked event be worked on again, once what was wrong is mended."""
    done = parking.unpark(opened(), time.time(), ACTOR, most=None)
    click.echo(f"{done.unparked:,} events are worked on again within a minute or two.")


def _wanted(numbers: tuple[int, ...], everything: bool, chosen: dict[str, Any]) -> Filter:
    if bool(numbers) == everything:
        raise click.UsageError("Name the deliveries by their numbers, or say --all, with filters or without.")
    return Filter(ids=numbers, **chosen)


@contextmanager
def _extent(ledger: Ledger, wanted: Filter, word: str, dry_run: bool) -> Iterator[Extent]:
    """Let a call go through all that is chosen, with a progress bar where there is a terminal."""
    with ledger.read() as connection:
        total = failures.count(connection, wanted)
    with tqdm(total=total, desc=word, unit=" deliveries", disable=None) as bar:
        yield Extent(most=None, dry_run=dry_run, progress=bar.update)
