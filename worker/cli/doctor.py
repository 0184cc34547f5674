"""Check that this host has everything it needs."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict

import click

from worker import runtime
from worker.formats import count_text
from worker.monitoring.checks import Finding, State, worst_state
from worker.settings import settings

_MARKS = {State.OK: "ok  ", State.DEGRADED: "WARN", State.FAILED: "FAIL"}


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of lines for people.")
@click.option(
    "--tokens/--no-tokens",
    default=True,
    show_default=True,
    help="Try each integration's access token with one test event, which Pinterest checks and does not record.",
)
def doctor_command(as_json: bool, tokens: bool) -> None:
    """Check everything that this host needs. Exits with status 1 if a check fails.

    Broker settings, database, migrations, keys, clocks, disk, workers on each queue, beat, the web processes,
    Flower and the access tokens are checked; each line names the problem and the action.
    """
    # The Celery app reads its settings when it is imported.
    from worker.app import app
    from worker.doctor.checkup import Checkup

    visit = Checkup(settings(), runtime.ledger(), app, runtime.free_bytes)
    findings = (
        list(visit.findings(with_tokens=tokens))
        if as_json
        else list(_printed(visit.findings(with_tokens=tokens)))
    )
    state = worst_state(findings)
    if as_json:
        click.echo(
            json.dumps({"status": state.value, "checks": [asdict(finding) for finding in findings]}, indent=1)
        )
    else:
        click.echo(_summary(findings))
    sys.exit(1 if state is State.FAILED else 0)


def _printed(findings: Iterator[Finding]) -> Iterator[Finding]:
    """Print each finding at once: some checks take seconds."""
    for finding in findings:
        click.echo(f"{_MARKS[finding.state]}  {finding.check}: {finding.message}")
        yield finding


def _summary(findings: list[Finding]) -> str:
    failed = sum(finding.state is State.FAILED for finding in findings)
    degraded = sum(finding.state is State.DEGRADED for finding in findings)
    if failed:
        warned = count_text(degraded, "has a warning", "have a warning")
        return f"{failed} of {len(findings)} checks failed, {warned}."
    return f"All {len(findings)} checks passed" + (f", {degraded} with a warning." if degraded else ".")
