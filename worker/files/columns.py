"""Make an event of a row, by the names of its columns."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from worker.event.text import fold_key
from worker.pinterest.user_data.visitor import collect_traits

_EXCEL = "excel"
# Excel counts days from here; it holds 1900 for a leap year, which the day before the first makes good.
_EXCEL_BEGAN = datetime(1899, 12, 30)  # noqa: DTZ001 - the zone is the file's own
_EXAMPLE = datetime(2030, 1, 29, 14, 53, 20, tzinfo=UTC)


class TimeFormatError(Exception):
    """Say in a sentence why a text is no time of the form that was told."""


@dataclass(frozen=True, slots=True)
class TimeFormat:
    """Know how a file writes its times, and in which zone where a time does not say.

    ``form`` is one of ``strptime``, or ``excel`` for Excel's bare number of days; None stands for ISO 8601.
    """

    form: str | None = None
    zone: ZoneInfo | None = None

    def __post_init__(self) -> None:
        """Refuse a form that no time can be written in.

        Raises:
            MomentError: saying what a form looks like.
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
        """Return the time in ISO 8601; one that is in ISO 8601 already may say its zone itself.

        Raises:
            MomentError: naming the form.
        """
        if self.form is None:
            return text if self.zone is None else self._iso(text)
        try:
            return self._placed(self._parsed(text, self.form))
        except (ValueError, OverflowError):
            raise TimeFormatError(f"must be a time like {self.form}.") from None

    def _parsed(self, text: str, form: str) -> datetime:
        if form == _EXCEL:
            return _EXCEL_BEGAN + timedelta(seconds=round(float(text.replace(",", ".")) * 86_400))
        return datetime.strptime(text, form)  # noqa: DTZ007 - the zone is added where there is none

    def _iso(self, text: str) -> str:
        try:
            return self._placed(datetime.fromisoformat(text))
        except ValueError:
            # Seconds since 1970 name no zone; what is no time at all is told of by whoever checks the event.
            return text

    def _placed(self, moment: datetime) -> str:
        return (moment if moment.tzinfo else moment.replace(tzinfo=self.zone or UTC)).isoformat()


_Path = tuple[str, ...]

# Folded spellings: case, spaces and underscores make no difference.
_PLACES: dict[str, _Path] = {
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
}
_PREFIXES: dict[str, _Path] = {
    "properties": ("properties",),
    "context": ("context",),
    "traits": ("context", "traits"),
    "consent": ("context", "consent"),
}
# A cell of these columns may hold a list or an object in JSON.
_NESTED = ("[", "{")
_TRUTHS = {"true": True, "false": False}


class ColumnsError(Exception):
    """Say in a sentence what is wrong with a header or a row."""


class Columns:
    """Know where each cell of a row belongs in an event.

    ``renamed`` maps a column's name in the file to the name that it stands for. Blank names at the end of a header
    are none: spreadsheets write them.
    """

    def __init__(
        self, header: Sequence[str], renamed: Mapping[str, str], moments: TimeFormat | None = None
    ) -> None:
        names = [name.strip() for name in header]
        while names and not names[-1]:
            names.pop()
        for name in names:
            if not name or names.count(name) > 1:
                what = f"names {name!r} twice" if name else "has a column without a name"
                raise ColumnsError(f"the header {what}.")
        unknown = [name for name in renamed if name not in names]
        if unknown:
            raise ColumnsError(f"the header has no column {unknown[0]!r}; it has {', '.join(names)}.")
        self._paths = [column_path(renamed.get(name, name)) for name in names]
        self._moments = moments or TimeFormat()
        _refuse_clashes(names, self._paths)

    @property
    def width(self) -> int:
        """Return how many cells a row has."""
        return len(self._paths)

    def event(self, cells: Sequence[str]) -> dict[str, Any]:
        """Return the event of a row; an empty cell says nothing.

        Raises:
            ColumnsError: the row has another number of cells than the header, or JSON in it is broken.
        """
        if len(cells) != len(self._paths):
            raise ColumnsError(f"the row has {len(cells)} cells, and the header {len(self._paths)}.")
        event: dict[str, Any] = {}
        for path, cell in zip(self._paths, cells, strict=True):
            text = cell.strip()
            if text:
                _put(event, path, self._value(path, text))
        return event

    def _value(self, path: _Path, text: str) -> Any:
        if path != _PLACES["timestamp"]:
            return _value(path, text)
        try:
            return self._moments.read(text)
        except TimeFormatError as error:
            raise ColumnsError(f"timestamp {error}") from None


def column_path(name: str) -> _Path:
    """Return where a column of this name belongs in an event.

    ``properties.…``, ``context.…``, ``traits.…`` and ``consent.…`` say so themselves. A name that a visitor's
    identifier goes by is a trait, and every other name is a property.
    """
    first, dot, rest = name.partition(".")
    prefix = _PREFIXES.get(fold_key(first))
    if dot and prefix and rest:
        return (*prefix, *rest.split("."))
    known = _PLACES.get(fold_key(name))
    if known:
        return known
    return ("context", "traits", name) if collect_traits({name: name}) else ("properties", name)


def _refuse_clashes(names: Iterable[str], paths: Sequence[_Path]) -> None:
    taken: dict[_Path, str] = {}
    for name, path in zip(names, paths, strict=True):
        for length in range(1, len(path) + 1):
            other = taken.get(path[:length])
            if other is not None:
                raise ColumnsError(f"the columns {other!r} and {name!r} both stand for {'.'.join(path)}.")
        if any(one[: len(path)] == path for one in taken):
            raise ColumnsError(
                f"the column {name!r} stands for {'.'.join(path)}, which others are a part of."
            )
        taken[path] = name


def _put(event: dict[str, Any], path: _Path, value: Any) -> None:
    for name in path[:-1]:
        event = event.setdefault(name, {})
    event[path[-1]] = value


def _value(path: _Path, text: str) -> Any:
    if text.startswith(_NESTED):
        try:
            return json.loads(text)
        except ValueError:
            raise ColumnsError(f"{'.'.join(path)} begins like JSON, and is none.") from None
    return _TRUTHS.get(text.lower(), text)
