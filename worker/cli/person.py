"""Export, erase or suppress what is kept of a person."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import click
from tqdm import tqdm

from worker.cli.common import CommandGroup, cli_caller
from worker.event.times import iso
from worker.formats import count_text
from worker.operations.errors import InvalidError
from worker.operations.person import person_requests
from worker.operations.person.erasing import ErasureReport
from worker.operations.person.person_requests import PersonIdentifiers

_LONGEST_WAIT_SECONDS = 3_600
_OPTIONS = {
    "emails": ("--email", "An e-mail address. It is hashed first."),
    "email_hashes": ("--email-sha256", "The SHA-256 of a trimmed, lower-cased e-mail address."),
    "external_ids": ("--external-id", "The shop's own id of the person (userId)."),
    "external_id_hashes": ("--external-id-sha256", "The SHA-256 of that id."),
    "anonymous_ids": ("--anonymous-id", "The id of a browser or device (anonymousId)."),
}
_MOST_SHOWN = 1_000_000

_wait = click.option(
    "--wait",
    "wait_seconds",
    default=60,
    show_default=True,
    type=click.IntRange(0, _LONGEST_WAIT_SECONDS),
    help="Seconds to wait for batches that are being sent.",
)
_yes = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")


def _identified(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each kind of identifier."""
    for kind, (option, text) in reversed(_OPTIONS.items()):
        names = (option, "--user-id") if kind == "external_ids" else (option,)
        command = click.option(*names, kind, multiple=True, help=text)(command)
    return command


def _request(options: dict[str, tuple[str, ...]]) -> PersonIdentifiers:
    try:
        return person_requests.read_request(**options)
    except InvalidError as error:
        ((field, problem),) = error.errors.items()
        raise click.UsageError(f"{_OPTIONS[field][0]} {problem}") from None


@click.group("person", cls=CommandGroup)
def person_group() -> None:
    """Export, erase or suppress the stored data of one person.

    Give all identifiers of the person that you know; each option may be given several times.
    A phone number is not accepted: look up the person's e-mail address or user id in the shop.
    """


@person_group.command("export")
@_identified
def _export_command(**options: tuple[str, ...]) -> None:
    """Print a person's stored data as JSON."""
    export = person_requests.export_person(cli_caller(), _request(options))
    click.echo(json.dumps(export, indent=2, ensure_ascii=False))


@person_group.command("erase")
@_identified
@click.option("--dry-run", is_flag=True, help="Only report what would be erased.")
@_yes
@_wait
def erase_command(dry_run: bool, yes: bool, wait_seconds: int, **options: tuple[str, ...]) -> None:
    """Erase the stored data of one person, in every state, while the service runs.

    Give all identifiers of the person that you know; each option may be given several times.
    A phone number is not accepted: look up the person's e-mail address or user id in the shop.
    It cannot be undone.
    Exits with status 1 if a delivery was still being sent when --wait ended. Then run it again.
    """
    caller, request = cli_caller(), _request(options)
    if not (dry_run or yes):
        click.confirm("Erase this person's data? This cannot be undone.", abort=True)
    with tqdm(total=person_requests.count_rows(caller), desc="erase", unit=" rows", disable=None) as bar:
        report = person_requests.erase_person(
            caller, request, dry_run=dry_run, wait_seconds=float(wait_seconds), progress=bar.update
        )
    _show(report, dry_run)
    sys.exit(1 if report.being_sent and not dry_run else 0)


@person_group.command("suppress")
@_identified
@_yes
@_wait
def _suppress_command(yes: bool, wait_seconds: int, **options: tuple[str, ...]) -> None:
    """Erase a person, and delete their new events until they consent again.

    Exits with status 1 if a delivery was still being sent when --wait ended. Then run it again.
    """
    caller, request = cli_caller(), _request(options)
    if not yes:
        click.confirm("Erase and suppress this person's data? This cannot be undone.", abort=True)
    report = person_requests.suppress_person(caller, request, wait_seconds=float(wait_seconds))
    _show(report)
    sys.exit(1 if report.being_sent else 0)


@person_group.command("allow")
@_identified
def _allow_command(**options: tuple[str, ...]) -> None:
    """Store new events of a suppressed person again, because they consented."""
    count = person_requests.allow_person(cli_caller(), _request(options))
    click.echo("New events of this person are stored again." if count else "This person was not suppressed.")


@person_group.command("requests")
@_identified
def _requests_command(**options: tuple[str, ...]) -> None:
    """Print the recorded requests as JSON lines, the oldest first; with identifiers, only this person's."""
    identifiers = _request(options) if any(options.values()) else None
    for request in reversed(person_requests.list_requests(cli_caller(), _MOST_SHOWN, None, identifiers)):
        click.echo(json.dumps({"time": iso(request.at)} | asdict(request)))


@person_group.command("repeat")
@click.argument("file", type=click.File("r", encoding="utf-8"))
def _repeat_command(file: Any) -> None:
    """Carry out the recorded requests in FILE that a restored copy of the ledger lacks."""
    try:
        requests = [json.loads(line) for line in file if line.strip()]
    except ValueError:
        raise click.UsageError("FILE must have the lines that `person requests` prints.") from None
    counts = person_requests.repeat_requests(cli_caller(), requests)
    click.echo(", ".join(f"{n:,} {kind}" for kind, n in sorted(counts.items())) or "Nothing was missing.")


def _show(report: ErasureReport, dry_run: bool = False) -> None:
    word = "Would erase" if dry_run else "Erased"
    click.echo(f"{word} {report.sentence_part()}.")
    for state, n in sorted(report.deliveries_by_state.items()):
        click.echo(f"  {n:>8,} {state}")
    if report.reduced:
        n = len(report.reduced)
        word = "would be kept" if dry_run else "was kept" if n == 1 else "were kept"
        text = count_text(n, "signed delivery", "signed deliveries")
        click.echo(f"{text} {word} without data that only public calls gave.")
    if report.debugged:
        entries = "entry" if report.debugged == 1 else "entries"
        click.echo(f"  {report.debugged:>8,} {entries} of the live debugger, of all persons")
    if report.being_sent:
        click.echo(
            f"{count_text(report.being_sent, 'delivery is', 'deliveries are')} being sent to Pinterest and cannot be "
            "recalled; repeat the request in a minute."
        )
    if report.unreadable:
        rows = count_text(report.unreadable, "row")
        click.echo(f"{rows} cannot be decrypted, so it is unknown whose data this is.")
