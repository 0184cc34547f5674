"""Erase a person."""

import sys

import click
from tqdm import tqdm

from worker.cli.opening import cli_caller
from worker.operations.erasure import erasures
from worker.operations.erasure.erasing import ErasureReport
from worker.operations.errors import InvalidError

_LONGEST_WAIT_SECONDS = 3_600
_OPTIONS = {
    "emails": "--email",
    "email_hashes": "--email-sha256",
    "external_ids": "--external-id",
    "external_id_hashes": "--external-id-sha256",
    "anonymous_ids": "--anonymous-id",
}


@click.command("erase")
@click.option("--email", "emails", multiple=True, help="An e-mail address. It is hashed first.")
@click.option(
    "--email-sha256",
    "email_hashes",
    multiple=True,
    help="The SHA-256 of a trimmed, lower-cased e-mail address.",
)
@click.option(
    "--external-id",
    "--user-id",
    "external_ids",
    multiple=True,
    help="The shop's own id of the person (userId).",
)
@click.option("--external-id-sha256", "external_id_hashes", multiple=True, help="The SHA-256 of that id.")
@click.option(
    "--anonymous-id", "anonymous_ids", multiple=True, help="The id of a browser or device (anonymousId)."
)
@click.option("--dry-run", is_flag=True, help="Only report what would be erased.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option(
    "--wait",
    "wait_seconds",
    default=60,
    show_default=True,
    type=click.IntRange(0, _LONGEST_WAIT_SECONDS),
    help="Seconds to wait for batches that are being sent.",
)
def erase_command(dry_run: bool, yes: bool, wait_seconds: int, **given: tuple[str, ...]) -> None:
    """Erase the stored data of one person, in every state, while the service runs.

    Give all that you know of the person; each option may be given several times. It cannot be undone. Status 1 where
    something was being sent to Pinterest all the time: run it again then.
    """
    who = cli_caller()
    try:
        request = erasures.read_request(**given)
    except InvalidError as error:
        ((field, why),) = error.errors.items()
        raise click.UsageError(f"{_OPTIONS[field]} {why}") from None
    if not (dry_run or yes):
        click.confirm("Erase this person's data? This cannot be undone.", abort=True)
    with tqdm(total=erasures.count_rows(who), desc="erase", unit=" rows", disable=None) as bar:
        report = erasures.erase_person(
            who, request, dry_run=dry_run, wait_seconds=float(wait_seconds), progress=bar.update
        )
    _show(report, dry_run)
    sys.exit(1 if report.being_sent and not dry_run else 0)


def _show(report: ErasureReport, dry_run: bool) -> None:
    word = "Would erase" if dry_run else "Erased"
    click.echo(
        f"{word} {report.events:,} waiting events, {report.visitors:,} visitors, {report.deliveries:,} deliveries."
    )
    for stood, n in sorted(report.stood.items()):
        click.echo(f"  {n:>8,} {stood}")
    if report.debugged:
        click.echo(f"  {report.debugged:>8,} entries of the live debugger, of all persons")
    if report.being_sent:
        click.echo(
            f"{report.being_sent:,} are being sent to Pinterest and cannot be recalled: "
            "run this again in a minute."
        )
    if report.unreadable:
        click.echo(f"{report.unreadable:,} rows cannot be decrypted, so it is unknown whose they are.")
