"""Show the problems in a source's data."""

import click

from worker.cli.common import cli_caller, utc_time
from worker.formats import count_text
from worker.operations.reports.data_quality import data_quality
from worker.operations.reports.match_quality_advice import percent


@click.command("data-quality")
@click.argument("source_id")
def data_quality_command(source_id: str) -> None:
    """Show the problems in the data of SOURCE_ID, the most frequent first, with an example and what to do."""
    report = data_quality(cli_caller(), source_id)
    for row in report.rows:
        click.echo(click.style(f"{row.problem}: {row.text.title}", bold=True))
        for span, share in row.spans.items():
            affected = row.most_affected.get(span)
            worst = f", most affected {affected.event_name}: {percent(affected.share)}" if affected else ""
            click.echo(
                f"  {span:>4}  {share.n:,} of {count_text(share.events, 'event')} ({percent(share.share)}){worst}"
            )
        if row.examples:
            newest = row.examples[0]
            place = f"delivery {newest.delivery_id}" if newest.delivery_id else "delivery gone"
            click.echo(f"  example  {newest.event_name}, {place}, {utc_time(newest.at)}  {newest.sentence}")
        click.echo(f"  do       {row.what_to_do}")
    if not report.rows:
        n = report.events["30d"]
        click.echo(f"No problems in {count_text(n, 'event')} of the last 30 days.")
