"""List, retry and discard failed deliveries."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, TypeVar

import click
from tqdm import tqdm

from worker import formats
from worker.cli.common import CommandGroup, cli_caller, utc_time
from worker.event.problem_texts import problem_text
from worker.formats import count_text
from worker.ledger.delivery.failure_groups import GroupState
from worker.ledger.delivery.failures import Failure, FailureFilter
from worker.ledger.rows import LARGEST_ID
from worker.monitoring.measures_as_metrics import CLASSES
from worker.operations.caller import Caller
from worker.operations.deliveries import failed as operations
from worker.operations.deliveries.failed import BulkResult, Extent
from worker.operations.deliveries.selection import integration_number

Command = TypeVar("Command", bound=Callable[..., Any])


def _known_class(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """Refuse a class that no delivery can have failed with, unless one has in another version."""
    if value is None or value in CLASSES:
        return value
    classes = {group.reason_class for group in operations.group_failed(cli_caller(), FailureFilter())}
    if value not in classes:
        raise click.BadParameter(
            f"{value} is not a class. Use one of {', '.join(sorted({*CLASSES, *classes}))}."
        )
    return value


def _since_option(_context: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    """Read 90m, 24h, 7d or an ISO 8601 time as Unix seconds."""
    if text is None:
        return None
    try:
        return formats.parse_since(text, time.time())
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None


def _filters(command: Command) -> Command:
    options = (
        click.option("--ad-account", "ad_account_id", help="Only deliveries of this ad account."),
        click.option(
            "--class",
            "reason_class",
            callback=_known_class,
            help="Only of this class, as `failed list` shows it.",
        ),
        click.option("--integration", "integration_id", help="Only deliveries of this int_… ."),
        click.option("--event-name", help="Only deliveries with this Pinterest event name."),
        click.option("--event-id", help="Only deliveries with this event id."),
        click.option(
            "--since",
            callback=_since_option,
            help="Only deliveries that failed since then: 90m, 24h, 7d or a time.",
        ),
    )
    for option in options:
        command = option(command)
    return command


@click.group("failed", cls=CommandGroup)
def failed_group() -> None:
    """List, show, retry and discard failed deliveries."""


@failed_group.command(name="list")
@_filters
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--json-lines", is_flag=True, help="One JSON object a line, for other programs.")
def _list_failed_command(limit: int, json_lines: bool, **filters: Any) -> None:
    """List failed deliveries, grouped by reason first."""
    caller = cli_caller()
    criteria = _filter(caller, **filters)
    if json_lines:
        for line in operations.export_failed(caller, criteria, limit):
            click.echo(line, nl=False)
        return
    groups, failures = (
        operations.group_failed(caller, criteria),
        operations.list_failed(caller, criteria, limit),
    )
    for group in groups:
        click.echo(
            f"{group.n:>8,}  {group.reason_class:<18} {group.event_name or '-':<14} "
            f"ad account {group.ad_account_id}  {utc_time(group.first_at)} to {utc_time(group.last_at)}"
            f"{'' if group.state is GroupState.OPEN else f'  {group.state} by {group.decided_by}'}"
        )
    for failure in failures:
        click.echo(
            f"{failure.id:>8}  {utc_time(failure.failed_at)}  {failure.event_name or '-':<14} {failure.event_id}  "
            f"{failure.reason}{_flags(failure, caller.now)}"
        )
    if not failures:
        click.echo("No failed deliveries.")


def _flags(failure: Failure, now: float) -> str:
    """Return a warning about an old event."""
    if failure.is_stale(now):
        return "  [stale: over 7 days old]"
    return "  [late: over an hour old]" if failure.is_late(now) else ""


@failed_group.command("export")
@_filters
@click.option(
    "--output",
    default="-",
    type=click.File("w", "utf-8", atomic=True),
    help="A file. [default: standard output]",
)
def _export_command(output: TextIO, **filters: Any) -> None:
    """Write all failed deliveries that the filters select, one JSON object a line.

    Payloads are left out: they hold hashes, IP addresses and user agents.
    """
    caller, count = cli_caller(), 0
    for line in operations.export_failed(caller, _filter(caller, **filters)):
        output.write(line)
        count += 1
    click.echo(f"{count_text(count, 'failed delivery', 'failed deliveries')}.", err=True)


@failed_group.command("show")
@click.argument("number", type=int)
@click.option("--payload", is_flag=True, help="Also print the payload: hashes, IP address and user agent.")
def _show_command(number: int, payload: bool) -> None:
    """Show one failed delivery with its history."""
    caller = cli_caller()
    failure, tries = operations.get_failed(caller, number)
    for name, value in operations.as_json(failure, caller.now).items():
        shown = utc_time(getattr(failure, name)) if name in ("failed_at", "event_time") else value
        click.echo(f"{name:<18}{'-' if shown in (None, '') else shown}")
    click.echo(f"{'what_to_do':<18}{problem_text(failure.reason_class).what_to_do}")
    for attempt in tries:
        status = attempt["http_status"] or "no status"
        click.echo(
            f"try {attempt['number']:<4} {utc_time(attempt['at'])}  {status}  "
            f"{attempt['reason_class']}: {attempt['reason']}"
        )
    text = operations.show_payload(caller, number) if payload else None
    if text is not None:
        click.echo(text)


@failed_group.command("retry")
@click.argument("numbers", nargs=-1, type=click.IntRange(1, LARGEST_ID))
@_filters
@click.option("--all", "everything", is_flag=True, help="All that the filters select.")
@click.option("--dry-run", is_flag=True, help="Only report what would happen.")
@click.option(
    "--force", is_flag=True, help="Include events older than 7 days, though Pinterest refuses them."
)
def _retry_command(
    numbers: tuple[int, ...], everything: bool, dry_run: bool, force: bool, **filters: Any
) -> None:
    """Send failed deliveries again: the given NUMBERS, or --all of a filter. Safe to repeat: nothing is sent twice."""
    caller = cli_caller()
    criteria = _criteria(caller, numbers, everything, filters)
    with _extent(caller, criteria, "retry", dry_run) as extent:
        result = operations.retry_failed(caller, criteria, force=force, extent=extent)
    click.echo(
        f"{'Would retry' if dry_run else 'Retried'} {count_text(result.moved, 'delivery', 'deliveries')}."
    )
    _show_rest(result)


@failed_group.command("discard")
@click.argument("numbers", nargs=-1, type=click.IntRange(1, LARGEST_ID))
@_filters
@click.option("--all", "everything", is_flag=True, help="All that the filters select.")
@click.option("--reason", required=True, help="Why they are discarded; written to the audit log.")
@click.option("--dry-run", is_flag=True, help="Only report what would happen.")
def _discard_command(
    numbers: tuple[int, ...], everything: bool, reason: str, dry_run: bool, **filters: Any
) -> None:
    """Discard failed deliveries permanently: the given NUMBERS, or --all of a filter."""
    caller = cli_caller()
    criteria = _criteria(caller, numbers, everything, filters)
    with _extent(caller, criteria, "discard", dry_run) as extent:
        result = operations.discard_failed(caller, criteria, reason, extent=extent)
    click.echo(
        f"{'Would discard' if dry_run else 'Discarded'} {count_text(result.moved, 'delivery', 'deliveries')}."
    )
    _show_rest(result)


def _show_rest(result: BulkResult) -> None:
    for sentence in result.warnings():
        click.echo(sentence)
    for reason, n in result.in_vain.items():
        click.echo(f"{n:,} will not be delivered by a retry alone: {reason}.")
    for reason, n in result.left_alone.items():
        click.echo(f"{n:,} skipped: {reason}.")


@failed_group.command("mark")
@click.argument("state", type=click.Choice([state.value for state in GroupState]))
@click.option("--ad-account", "ad_account_id", required=True, help="The ad account of the group.")
@click.option("--event-name", required=True, help="Its Pinterest event name; empty for none.")
@click.option("--class", "reason_class", required=True, help="Its class, as `failed list` shows it.")
def _mark_command(state: str, **key: str) -> None:
    """Resolve or ignore a group of failed deliveries, or open it again. A new failure opens a resolved one."""
    group = operations.mark_group(cli_caller(), state=state, **key)
    click.echo(f"{count_text(group.n, 'failed delivery is', 'failed deliveries are')} {group.state}.")


@failed_group.command("parked")
def _parked_command() -> None:
    """Count accepted events that could not be processed, by reason. They are kept complete; `unpark` retries them."""
    groups = operations.list_parked(cli_caller())
    for group in groups:
        click.echo(f"{group.events:>8,}  since {utc_time(group.oldest_at)}  {group.reason}")
    if not groups:
        click.echo("No parked events.")


@failed_group.command("unpark")
def _unpark_command() -> None:
    """Process every parked event again, once the cause is fixed."""
    result = operations.unpark(cli_caller(), limit=None)
    click.echo(f"{count_text(result.unparked, 'event is', 'events are')} processed again within two minutes.")


def _criteria(
    caller: Caller, numbers: tuple[int, ...], everything: bool, filters: dict[str, Any]
) -> FailureFilter:
    if bool(numbers) == everything:
        raise click.UsageError("Give the numbers of deliveries, or --all with or without filters.")
    return _filter(caller, ids=numbers, **filters)


def _filter(caller: Caller, integration_id: str | None, **filters: Any) -> FailureFilter:
    return FailureFilter(integration_number=integration_number(caller, integration_id), **filters)


@contextmanager
def _extent(caller: Caller, criteria: FailureFilter, word: str, dry_run: bool) -> Iterator[Extent]:
    """Yield an extent without a limit, with a progress bar on a terminal."""
    total = operations.count_failed(caller, criteria)
    with tqdm(total=total, desc=word, unit=" deliveries", disable=None) as bar:
        yield Extent(most=None, dry_run=dry_run, progress=bar.update)
