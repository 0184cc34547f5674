"""Read since when, as people write it."""

from datetime import UTC, datetime

_UNITS = {"m": 60, "h": 3_600, "d": 86_400}
# A million days is before all history, and still a time that can be written.
_MOST_DIGITS = 5


def parse_since(text: str, now: float) -> float:
    """Read 90m, 24h, 7d or an ISO 8601 time (UTC where it names no zone) as Unix seconds, not before 1970.

    Raises:
        ValueError: in words.
    """
    number, unit = text[:-1], text[-1:]
    if unit in _UNITS and number.isascii() and number.isdigit() and len(number) <= _MOST_DIGITS:
        return max(0.0, now - int(number) * _UNITS[unit])
    try:
        moment = datetime.fromisoformat(text)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, aware.timestamp())
    except (ValueError, OverflowError):
        raise ValueError("must be like 90m, 24h, 7d or 2030-01-29T14:53:20Z") from None
