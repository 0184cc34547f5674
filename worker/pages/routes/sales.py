"""Show delivered counts and values by day, to compare with the shop's records."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from flask import Response, render_template, request

from worker.api import context
from worker.formats import amount_text, csv_text
from worker.ledger.reports.sales_by_day import SalesLine
from worker.operations.deliveries.selection import (
    FIRST_DAY,
    account_names,
    all_sources,
    last_days,
    time_zones,
)
from worker.operations.reports.sales import report_sales
from worker.pages.base import blueprint
from worker.pages.charts import draw_counts
from worker.pages.forms import source_choices
from worker.pages.words import with_id

_MOST_BARS = 92
_SPANS = {"7d": ("7 days", 7), "30d": ("30 days", 30), "92d": ("92 days", 92), "1y": ("a year", 366)}


@blueprint.get("/sales")
def _sales_page() -> str:
    """Show delivered counts and values by day, event name and currency."""
    return render_template(
        "sales.html", spans=[(key, name) for key, (name, _) in _SPANS.items()], **_page_values()
    )


@blueprint.get("/sales/export")
def _sales_export() -> Response:
    """Export the same as CSV."""
    header = ("day", "event_name", "currency", "delivered", "value", "ad_account_id", "ad_account_name")
    names = account_names(context.request_caller())
    lines = (
        (
            _day_text(line.day),
            line.event_name,
            line.currency,
            line.n,
            amount_text(line.value * 1_000).replace(",", "") if line.currency else "",
            line.ad_account_id,
            names.get(line.ad_account_id, ""),
        )
        for line in _page_values()["lines"]
    )
    answer = Response(csv_text(header, lines), mimetype="text/csv")
    answer.headers["Content-Disposition"] = 'attachment; filename="delivered-by-day.csv"'
    return answer


def _day_text(number: int) -> str:
    """Write a day as its date."""
    return (FIRST_DAY + timedelta(days=number)).isoformat()


def _totals(lines: Sequence[SalesLine]) -> list[SalesLine]:
    """Sum the lines of all days, separately for each ad account: it would count an order of two accounts twice."""
    sums: dict[tuple[str, str, str], SalesLine] = {}
    for line in lines:
        key = (line.ad_account_id, line.event_name, line.currency)
        before = sums.get(key)
        sums[key] = line._replace(n=line.n + before.n, value=line.value + before.value) if before else line
    return [sums[key] for key in sorted(sums)]


def _orders_a_day(lines: Sequence[SalesLine], first_day: int, last_day: int) -> list[tuple[str, int]]:
    """Return the orders of each day, of the ad account that has most: the others repeat its orders."""
    counts = Counter[tuple[int, str]]()
    for line in lines:
        if line.event_name == "checkout":
            counts[line.day, line.ad_account_id] += line.n
    accounts = {account for _, account in counts}
    return [
        (_day_text(day), max((counts[day, account] for account in accounts), default=0))
        for day in range(first_day, last_day + 1)
    ]


def _page_values() -> dict[str, Any]:
    key = request.args.get("span", "")
    key = key if key in _SPANS else "30d"
    label, days = _SPANS[key]
    parameters = {name: request.args.get(name, "") for name in ("source_id", "event_name", "ad_account_id")}
    source_id, event_name, account = parameters.values()
    caller = context.request_caller()
    names = account_names(caller)
    source_list, all_lines = all_sources(caller), report_sales(caller, days, source_id or None)
    of_account = [line for line in all_lines if account in ("", line.ad_account_id)]
    lines = [line for line in of_account if event_name in ("", line.event_name)]
    return {
        "lines": lines,
        "totals": _totals(lines),
        "accounts": [
            (account_id, with_id(names, account_id))
            for account_id in sorted({line.ad_account_id for line in all_lines} | {account})
            if account_id
        ],
        "orders": _orders_a_day(of_account, *last_days(caller, days, source_id or None))
        if days <= _MOST_BARS
        else [],
        "names": [
            (name, name) for name in sorted({line.event_name for line in all_lines} | {event_name}) if name
        ],
        "sources": source_choices(source_list),
        "zones": time_zones(source_list, source_id or None),
        "given": {"span": key} | parameters,
        "label": label,
        "day": _day_text,
        "draw_counts": draw_counts,
    }
