"""Render the page that shows what the sandbox received."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="5">
<title>Pinterest sandbox</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; margin: 0 0 2rem; }}
caption {{ text-align: left; font-weight: 600; padding: .5rem 0; }}
th, td {{ text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #8885; }}
td {{ overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }}
</style>
</head>
<body>
<h1>Pinterest sandbox</h1>
<p>A stand-in for Pinterest's Conversions API on this machine. It checks every request against the published
contract, answers as Pinterest does and remembers what came; nothing leaves for Pinterest.
<a href="/received">/received</a> has all of this as JSON, <a href="/behave">/behave</a> the script of faults
in force. <a href="/shop">/shop</a> is a sample shop that sends events.</p>
{tables}
</body>
</html>
"""


def render(
    summary: Mapping[str, Any], last: Iterable[Mapping[str, Any]], tallies: Sequence[Mapping[str, int]]
) -> str:
    """Build the page; `last` holds the newest events, newest first."""
    totals = ("requests", "events", "accepted", "tested", "unique_ids", "repeated_ids", "extra_copies")
    tables = [
        _table("Totals", ("", ""), [(name.replace("_", " "), summary[name]) for name in totals]),
        _table("Answers", ("Status", "Requests"), summary["statuses"].items()),
        _table("Accepted", ("Ad account", "Event", "Events"), _count_rows(summary["counts"])),
        _table(
            "Last accepted events",
            ("Received", "Ad account", "Event", "Event id", "Value"),
            map(_event_row, last),
        ),
    ]
    if tallies:
        rows = [(position, *tally.values()) for position, tally in enumerate(tallies)]
        tables.append(_table("Rules of the script", ("Rule", "Matched", "Applied"), rows))
    return _PAGE.format(tables="\n".join(tables))


def _count_rows(counts: Mapping[str, Mapping[str, int]]) -> Iterable[tuple[object, ...]]:
    for account, names in list(counts.items())[:100]:
        for name, count in sorted(names.items()):
            yield account, name, count


def _event_row(kept: Mapping[str, Any]) -> tuple[object, ...]:
    event = kept["event"]
    at = datetime.fromtimestamp(kept["received_at"], UTC).strftime("%H:%M:%S UTC")
    account = f"{kept['account']} (test)" if kept["test"] else kept["account"]
    order = event.get("custom_data", {})
    value = " ".join(order[key] for key in ("value", "currency") if order.get(key))
    return at, account, event["event_name"], event["event_id"][:100], value


def _table(caption: str, heads: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads) if any(heads) else ""
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>\n" for row in rows
    )
    none = f'<tr><td colspan="{len(heads)}">None yet.</td></tr>'
    return f"<table><caption>{caption}</caption><tr>{head}</tr>\n{body or none}</table>"
