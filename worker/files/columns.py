"""Build events from CSV rows, by column name."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from worker.event.text import fold_key
from worker.formats import count_text
from worker.pinterest.custom_data.custom_data import PROPERTY_KEYS
from worker.pinterest.custom_data.money import AmountError, settle_cell
from worker.pinterest.user_data.traits import collect_traits

_EXCEL = "excel"
# Day 0 of Excel, which wrongly counts 1900 as a leap year, so it is one day earlier.
_EXCEL_BEGAN = datetime(1899, 12, 30)  # noqa: DTZ001 - the zone is the file's own
_EXAMPLE = datetime(2030, 1, 29, 14, 53, 20, tzinfo=UTC)


class TimeFormatError(Exception):
    """A time or its format is invalid; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class TimeFormat:
    """Hold the time format of a file, and the zone of times without one.

    ``form`` is a format of ``strptime``, ``excel`` for Excel's number of days, or None for ISO 8601.
    """

    form: str | None = None
    zone: ZoneInfo | None = None

    def __post_init__(self) -> None:
        """Check the format.

        Raises:
            TimeFormatError: the format cannot hold a date.
        """
        if self.form in (None, _EXCEL):
            return
        try:
            fits = self._parsed(_EXAMPLE.strftime(self.form), self.form).date() == _EXAMPLE.date()
        except ValueError:
            fits = False
        if not fits:
            raise TimeFormatError("must be like '%d.%m.%Y %H:%M', with day, month and year, or excel.")

    def read(self, text: str) -> str:
        """Return the time in ISO 8601; a time that has a zone keeps it.

        Raises:
            TimeFormatError: the text does not match the format.
        """
        if self.form is None:
            return text if self.zone is None else self._iso(text)
        try:
            return self._with_zone(self._parsed(text, self.form))
        except (ValueError, OverflowError):
            raise TimeFormatError(f"must be a time like {self.form}.") from None

    def _parsed(self, text: str, form: str) -> datetime:
        if form == _EXCEL:
            return _EXCEL_BEGAN + timedelta(seconds=round(float(text.replace(",", ".")) * 86_400))
        return datetime.strptime(text, form)  # noqa: DTZ007 - the zone is added later

    def _iso(self, text: str) -> str:
        try:
            return self._with_zone(datetime.fromisoformat(text))
        except ValueError:
            # Seconds since 1970 need no zone; the envelope check reports invalid times.
            return text

    def _with_zone(self, time: datetime) -> str:
        return (time if time.tzinfo else time.replace(tzinfo=self.zone or UTC)).isoformat()


_Path = tuple[str, ...]

# Case, spaces and underscores in names are ignored.
_PATHS: dict[str, _Path] = {
    "type": ("type",),
    "event": ("event",),
    "eventname": ("event",),
    "timestamp": ("timestamp",),
    "time": ("timestamp",),
    "date": ("timestamp",),
    "datetime": ("timestamp",),
    "eventtime": ("timestamp",),
    "userid": ("userId",),
    "customerid": ("userId",),
    "anonymousid": ("anonymousId",),
    "messageid": ("messageId",),
    "ip": ("context", "ip"),
    "useragent": ("context", "userAgent"),
    "actionsource": ("context", "action_source"),
    "consent": ("context", "consent"),
    "marketingconsent": ("context", "consent", "marketing"),
    "advertisingconsent": ("context", "consent", "advertising"),
}
_PREFIXES: dict[str, _Path] = {
    "properties": ("properties",),
    "context": ("context",),
    "traits": ("context", "traits"),
    "consent": ("context", "consent"),
}
# A cell that begins like this holds JSON.
_NESTED = ("[", "{")
_TRUTHS = {"true": True, "false": False}


class ColumnsError(Exception):
    """A header or row is invalid; the message is a sentence."""


class Columns:
    """Map the cells of a row to paths in an event.

    ``renamed`` maps column names of the file to the names to use. Blank names at the end of a header, which
    spreadsheets write, are ignored.
    """

    def __init__(
        self, header: Sequence[str], renamed: Mapping[str, str], time_format: TimeFormat | None = None
    ) -> None:
        names = [name.strip() for name in header]
        while names and not names[-1]:
            names.pop()
        for name in names:
            if not name or names.count(name) > 1:
                problem = f"names {name!r} twice" if name else "has a column without a name"
                raise ColumnsError(f"the header {problem}.")
        unknown = [name for name in renamed if name not in names]
        if unknown:
            raise ColumnsError(f"the header has no column {unknown[0]!r}; it has {', '.join(names)}.")
        self._paths = [_column_path(renamed.get(name, name)) for name in names]
        self._time_format = time_format or TimeFormat()
        _refuse_clashes(names, self._paths)

    @property
    def width(self) -> int:
        """Return how many cells a row has."""
        return len(self._paths)

    def event(self, cells: Sequence[str]) -> dict[str, Any]:
        """Return the event of a row; empty cells are left out.

        Raises:
            ColumnsError: the number of cells differs from the header, or a cell has invalid JSON.
        """
        if len(cells) != len(self._paths):
            raise ColumnsError(
                f"the row has {count_text(len(cells), 'cell')}, and the header {len(self._paths)}."
            )
        event: dict[str, Any] = {}
        for path, cell in zip(self._paths, cells, strict=True):
            text = cell.strip()
            if text:
                _put(event, path, self._value(path, text))
        return event

    def _value(self, path: _Path, text: str) -> Any:
        if path != _PATHS["timestamp"]:
            return _value(path, text)
        try:
            return self._time_format.read(text)
        except TimeFormatError as error:
            raise ColumnsError(f"timestamp {error}") from None


def _column_path(name: str) -> _Path:
    """Return the path of a column in an event.

    ``properties.…``, ``context.…``, ``traits.…`` and ``consent.…`` name their path. The name of a visitor's
    identifier is a trait; any other name is a property.
    """
    first, dot, rest = name.partition(".")
    prefix = _PREFIXES.get(fold_key(first))
    if dot and prefix and rest:
        return (*prefix, *rest.split("."))
    path = _PATHS.get(fold_key(name))
    if path:
        return path
    return ("context", "traits", name) if collect_traits({name: name}) else ("properties", name)


def _refuse_clashes(names: Iterable[str], paths: Sequence[_Path]) -> None:
    owners: dict[_Path, str] = {}
    for name, path in zip(names, paths, strict=True):
        for length in range(1, len(path) + 1):
            other = owners.get(path[:length])
            if other is not None:
                raise ColumnsError(f"the columns {other!r} and {name!r} both mean {'.'.join(path)}.")
        if any(other[: len(path)] == path for other in owners):
            raise ColumnsError(
                f"the column {name!r} means {'.'.join(path)}, which other columns are part of."
            )
        owners[path] = name


def _put(event: dict[str, Any], path: _Path, value: Any) -> None:
    for name in path[:-1]:
        event = event.setdefault(name, {})
    event[path[-1]] = value


def _value(path: _Path, text: str) -> Any:
    if text.startswith(_NESTED):
        try:
            return json.loads(text)
        except ValueError:
            raise ColumnsError(f"{'.'.join(path)} begins like JSON, but is invalid.") from None
    return _TRUTHS.get(text.lower(), text)


_CURRENCY_KEYS = frozenset(PROPERTY_KEYS["currency"])
_AMOUNT_KEYS = frozenset((*PROPERTY_KEYS["value"], "price", "itemprice", "unitprice"))


def settle_cells(event: dict[str, Any]) -> dict[str, Any]:
    """Return the event of a row with points that separate thousands removed from its amounts.

    Raises:
        ColumnsError: a point in an amount could separate thousands or decimals.
    """
    properties = event.get("properties") or {}
    currency = next((value for name, value in properties.items() if fold_key(name) in _CURRENCY_KEYS), None)
    cells = dict(properties)
    for name, value in properties.items():
        if type(value) is str and fold_key(name) in _AMOUNT_KEYS:
            try:
                cells[name] = settle_cell(value, currency)
            except AmountError as error:
                raise ColumnsError(f"properties.{name} {error}.") from None
    return event | {"properties": cells} if cells != properties else event
