"""Parse the time formats of senders, and format times as ISO 8601."""

import re
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_ISO = re.compile(
    r"\d{4}-?\d\d-?\d\d([Tt ]\d\d(:?\d\d(:?\d\d([.,]\d{1,9})?)?)?( ?([Zz]|UTC|GMT|[+-]\d\d(:?\d\d)?))?)?",
    re.ASCII,
)
_ZONE_NAME = re.compile("z|UTC|GMT")
# The form of HTTP and e-mail: Mon, 29 Jan 2024 14:53:20 GMT.
_RFC_2822 = re.compile(
    r"([A-Z][a-z]{2}, ?)?\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d(:\d\d)?( ([A-Z]{1,4}|[+-]\d{4})( \([A-Z]{1,5}\))?)?",
    re.ASCII,
)
# JavaScript's Date as a text, Java's zoned time, and a date with slashes that begins with the year.
_JAVASCRIPT = re.compile(
    r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) (\d\d) (\d{4} \d\d:\d\d:\d\d) GMT([+-]\d{4})(?: \([^()]{1,60}\))?",
    re.ASCII,
)
_ZONE_AFTER_OFFSET = re.compile(r"(?<=[Z0-9])\[[A-Za-z_/+-]{1,40}\]$")
_SLASHES = re.compile(r"(\d{4})/(\d\d)/(\d\d)(?=[ T]|$)", re.ASCII)
# The years 1 to 9999, in UTC.
EARLIEST_SECONDS, _LATEST_SECONDS = -62_135_596_800, 253_402_300_799
_EPOCH_DIGITS = re.compile(r"\d{9,19}(\.\d{1,9})?", re.ASCII)


def parse_time(value: object) -> float | None:
    """Return the Unix time in seconds of an ISO 8601 or RFC 2822 text or an epoch number, or None.

    The size of an epoch number decides between seconds, milliseconds, microseconds and nanoseconds. A time without
    an offset is UTC.
    """
    if type(value) is str:
        return _from_text(value)
    if type(value) is int or type(value) is float:
        return _from_epoch(value)
    return None


def iso(seconds: float) -> str:
    """Format Unix seconds as ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _from_text(text: str) -> float | None:
    # The output of JavaScript's toISOString needs no check by pattern.
    if not (len(text) == 24 and text[10] == "T" and text[23] == "Z"):
        text = text.strip()
        if _EPOCH_DIGITS.fullmatch(text):
            return _from_epoch(float(text))
        if not _ISO.fullmatch(text):
            text = _SLASHES.sub(r"\1-\2-\3", _without_zone_name(text), count=1)
        if not _ISO.fullmatch(text):
            return _from_mail_form(_JAVASCRIPT.sub(r"\2 \1 \3 \4", text))
        if len(text) > 10:
            text = text[:11] + _ZONE_NAME.sub("Z", text[11:].replace(" ", ""))
    try:
        return _seconds_of(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return None


def _without_zone_name(text: str) -> str:
    zone = _ZONE_AFTER_OFFSET.search(text)
    if zone is None:
        return text
    time = text[: zone.start()]
    return time if time[-1] == "Z" or time[-6:-5] in ("+", "-") else text


def _from_mail_form(text: str) -> float | None:
    if not _RFC_2822.fullmatch(text):
        return None
    with suppress(ValueError, OverflowError):
        return _seconds_of(parsedate_to_datetime(text))
    return None


def _seconds_of(moment: datetime) -> float | None:
    """Return Unix seconds; None for a time that an offset moves out of the years that `iso` can format."""
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return seconds if EARLIEST_SECONDS <= seconds <= _LATEST_SECONDS else None


def _from_epoch(number: float) -> float | None:
    # Seconds from 1973 to 5138. A smaller number is most likely seconds divided by 1,000, and never a real time.
    for lowest, divisor in ((1e8, 1), (1e11, 1e3), (1e14, 1e6), (1e17, 1e9)):
        if lowest <= number < lowest * 1e3:
            return float(number / divisor)
    return None
