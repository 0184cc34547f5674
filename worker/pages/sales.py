"""Show delivered counts and values by day, to compare with the shop's records."""

import csv
import io
from datetime import timedelta
from typing import Any

from flask import Response, render_template, request

from worker.api import context
from worker.ledger.delivery.deliveries import SalesLine
from worker.operations.deliveries.selection import all_sources
from worker.operations.reports.reports import FIRST_DAY, report_sales
from worker.pages.base import blueprint

SPANS = {"7d": ("7 days", 7), "30d": ("30 days", 30), "92d": ("92 days", 92), "1y": ("a year", 366)}


@blueprint.get("/sales")
def sales_page() -> str:
    """Show delivered counts and values by day, event name and currency."""
    return render_template("sales.html", spans=SPANS, **_chosen())


@blueprint.get("/sales/export")
def sales_export() -> Response:
    """Export the same as CSV."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["day", "event_name", "currency", "delivered", "value"])
    for line in _chosen()["lines"]:
        value = _amount_text(line) if line.currency else ""
        table.writerow([_day_text(line.day), line.event_name, line.currency, line.n, value])
    answer = Response(text.getvalue(), mimetype="text/csv")
    answer.headers["Content-Disposition"] = 'attachment; filename="delivered-by-day.csv"'
    return answer


def _day_text(number: int) -> str:
    """Write a day as its date."""
    return (FIRST_DAY + timedelta(days=number)).isoformat()


def _amount_text(line: SalesLine, thousands: str = "") -> str:
    """Write a value with two decimals, or three if the third is not 0."""
    text = f"{line.value:,.3f}".replace(",", thousands)
    return text[:-1] if text.endswith("0") else text


def _chosen() -> dict[str, Any]:
    key = request.args.get("span", "")
    key = key if key in SPANS else "30d"
    label, days = SPANS[key]
    source_id, event_name = request.args.get("source_id", ""), request.args.get("event_name", "")
    caller = context.request_caller()
    known, found = all_sources(caller), report_sales(caller, days, source_id or None)
    return {
        "lines": [line for line in found if event_name in ("", line.event_name)],
        "names": sorted({line.event_name for line in found} | ({event_name} - {""})),
        "sources": known,
        "zones": sorted({one.options.get("time_zone") or "UTC" for one in known}) or ["UTC"],
        "given": {"span": key, "source_id": source_id, "event_name": event_name},
        "label": label,
        "day": _day_text,
        "amount": _amount_text,
    }
