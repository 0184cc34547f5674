"""Compare the shop's own orders with the deliveries."""

import json
import sys
from typing import IO

import click

from worker.cli.common import CommandGroup, cli_caller, utc_time
from worker.cli.send import offering, reading_options
from worker.files.lines import ReadOptions
from worker.formats import count_text
from worker.ledger.reports.shop_orders import Fate
from worker.operations.deliveries.imports import choose_source
from worker.operations.reports import orders as operations
from worker.settings import settings

_MOST_ERRORS_SHOWN = 100
_days = click.option(
    "--days",
    default=7,
    show_default=True,
    type=click.IntRange(1, operations.MAX_DAYS),
    help="Orders of the last DAYS days.",
    metavar="DAYS",
)
_source = click.option("--source", "source_id", help="Only orders of this source.")


@click.group("orders", cls=CommandGroup)
def orders_group() -> None:
    """Record the shop's own orders, and show which are missing at Pinterest, and why."""


@orders_group.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--source", "source_id", help="The source of the orders. Not needed if there is only one.")
@reading_options
@click.option(
    "--send-missing", is_flag=True, help="Also send the orders of the last 7 days that never arrived."
)
def _import_command(file: IO[bytes], source_id: str | None, send_missing: bool, reading: ReadOptions) -> None:
    """Record the orders of FILE (- for standard input), the export of the shop.

    It is read as by `send`: each line has order_id, timestamp, total and currency. No customer data is kept. With
    --send-missing an order without a delivery is sent as an event: its line also needs email and num_items, and an
    order that does not state consent is sent only if the source's rule for servers allows it.
    """
    caller = cli_caller()
    source = choose_source(caller, source_id)
    with offering(not send_missing) as offer:
        result = operations.import_orders(
            caller,
            source,
            file,
            settings().retention_days,
            reading=reading,
            send_missing=offer if send_missing else None,
        )
    for number, sentence in sorted(result.wrong.items())[:_MOST_ERRORS_SHOWN]:
        click.echo(f"line {number}: {sentence}", err=True)
    click.echo(
        f"Recorded {count_text(result.new, 'new order')}; {count_text(result.known, 'was known', 'were known')}."
    )
    _echo_missing(result, is_sent=send_missing)
    if result.wrong:
        click.echo(f"{count_text(len(result.wrong), 'line is', 'lines are')} wrong.")
    if result.wrong or (send_missing and result.incomplete):
        sys.exit(1)


def _echo_missing(result: operations.OrderCounts, *, is_sent: bool) -> None:
    """Say how many of the file's orders never arrived, and what can be done about them."""
    not_sendable = (
        f"{count_text(result.denied, 'lacks consent', 'lack consent')}, "
        f"{count_text(len(result.incomplete), 'lacks', 'lack')} data that Pinterest requires"
    )
    if is_sent:
        for number, sentence in sorted(result.incomplete.items())[:_MOST_ERRORS_SHOWN]:
            click.echo(f"line {number}: not sent: {sentence}", err=True)
        too_old = count_text(result.too_old, "is older than 7 days", "are older than 7 days")
        click.echo(f"Sent {count_text(result.sent, 'order')} that had not arrived; {too_old}.")
        if result.denied or result.incomplete:
            click.echo(f"Not sent: {not_sendable}.")
    elif result.sendable or result.denied or result.incomplete:
        click.echo(
            f"Orders that never arrived: {result.sendable:,} can be sent with --send-missing, {not_sendable}."
        )


@orders_group.command("report")
@_days
@_source
def _report_command(days: int, source_id: str | None) -> None:
    """Show the orders by result, day, source and ad account, and their accuracy."""
    report = operations.reconcile(cli_caller(), days, source_id)
    for line in operations.lines_of(report.sums):
        fates = ", ".join(
            f"{n:,} {fate.name.lower().replace('_', ' ')}" for fate, n in sorted(line.n.items())
        )
        click.echo(
            f"{line.day}  {line.source_id}  ad account {line.ad_account_id or '-'}  "
            f"{line.ordered:,} ordered: {fates}  {line.value(None)} {line.currency}".rstrip()
        )
    percent, before = report.accuracy.percent, report.before.percent
    if percent is None:
        click.echo("No order with consent is recorded. Record orders with `orders import`.")
        sys.exit(1)
    compared = f" ({before:.1f} % in the {count_text(days, 'day')} before)" if before is not None else ""
    click.echo(
        f"Accuracy: {percent:.1f} % of {count_text(report.accuracy.expected, 'order')} with consent{compared}."
    )


@orders_group.command("missing")
@_days
@_source
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--json-lines", is_flag=True, help="One JSON object a line, for other programs.")
def _missing_command(days: int, source_id: str | None, limit: int, json_lines: bool) -> None:
    """List the orders that an ad account does not have, each with its reason.

    Ends with status 1 if no order is missing.
    """
    missing = operations.list_undelivered(cli_caller(), days, limit, source_id=source_id)
    for entry in missing:
        if json_lines:
            click.echo(json.dumps(operations.plain_of(entry)))
            continue
        delivery = f"delivery {entry.delivery.id}: " if entry.delivery else ""
        fate = Fate(entry.row.fate).name.lower().replace("_", " ")
        order, account = entry.row.order, entry.row.ad_account_id or "-"
        click.echo(
            f"{utc_time(order.ordered_at)}  {order.order_id}  ad account {account}  {fate}  {delivery}{entry.reason}"
        )
    if not missing:
        click.echo("No order is missing.", err=json_lines)
        sys.exit(1)
