"""Durations, counts and times as people read and type them."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))
_UNIT_SECONDS = {"m": 60, "h": 3_600, "d": 86_400}


def format_duration(seconds: float) -> str:
    """Write a duration in its largest whole unit: "3 hours"."""
    for unit_seconds, unit in _UNITS:
        if seconds >= unit_seconds:
            return count_text(int(seconds // unit_seconds), unit)
    return "less than a second"


def count_text(n: int, one: str, many: str | None = None, *, cap: int | None = None) -> str:
    """Write a count with its noun, or with what follows it: "1 order", "2 orders".

    ``many`` is the plural if it is not ``one`` with an s. A count that stopped at a cap: "1,000 or more orders".
    """
    more = " or more" if cap is not None and n >= cap else ""
    return f"{n:,}{more} {one if n == 1 else many or one + 's'}"


def amount_text(thousandths: int | Decimal) -> str:
    """Write an amount with two decimals, or three if the third is not 0: "1,299.50"."""
    text = f"{Decimal(thousandths) / 1_000:,.3f}"
    return text[:-1] if text.endswith("0") else text


def parse_since(text: str, now: float) -> float:
    """Read 90m, 24h, 7d or an ISO 8601 time (UTC if it names no zone) as Unix seconds, not before 1970.

    Raises:
        ValueError: with a message for the person who typed it.
    """
    number, unit = text[:-1], text[-1:]
    # More digits could overflow; 99,999 days are 273 years.
    if unit in _UNIT_SECONDS and number.isascii() and number.isdigit() and len(number) <= 5:
        return max(0.0, now - int(number) * _UNIT_SECONDS[unit])
    try:
        time = datetime.fromisoformat(text)
        return max(0.0, (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        raise ValueError("must be like 90m, 24h, 7d or 2030-01-29T14:53:20Z") from None


# A spreadsheet takes such a cell for a formula, unless it is a plain number.
_FORMULA = re.compile(r"[\s\x00]*[=+\-@\t\r\n]")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def csv_text(header: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """Write a table as CSV. A cell that a spreadsheet would take for a formula gets an apostrophe in front."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(header)
    table.writerows([_without_formula(cell) for cell in line] for line in lines)
    return text.getvalue()


def _without_formula(cell: Any) -> Any:
    is_risky = isinstance(cell, str) and _FORMULA.match(cell) and not _NUMBER.fullmatch(cell)
    return f"'{cell}" if is_risky else cell
