"""Read a file's events line by line, so that one bad line costs no good one."""

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, Literal

from worker.events.envelope import EnvelopeError, decode_json
from worker.files.columns import Columns, ColumnsError
from worker.files.moments import Moments
from worker.files.rows import Row, Rows, delimiter_of
from worker.files.texts import NotInEncodingError, decoded, is_whole

Format = Literal["auto", "jsonl", "csv"]

# Excel reads, and some programs write, a line before the header that names the delimiter.
_SEPARATOR = re.compile(r"sep=(.)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reading:
    """Say how a file is to be read; ``renamed`` maps a column's name to the name that it stands for."""

    form: Format = "auto"
    encoding: str | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    moments: Moments = field(default_factory=Moments)

    def of_csv_alone(self) -> bool:
        """Say whether something is told that JSON lines have no use for."""
        return bool(self.renamed) or self.moments != Moments()


@dataclass(frozen=True, slots=True)
class Line:
    """Hold one line's event, or what is wrong with it; ``number`` counts from 1."""

    number: int
    event: Any = None
    error: str | None = None


class FileError(Exception):
    """Say in a sentence why nothing of a file, or nothing more of it, can be read."""


def read(file: IO[bytes], reading: Reading, count: Callable[[int], object]) -> Iterator[Line]:
    """Yield a file's events in order; ``count`` is told how many bytes were read.

    Without a form given, a file whose first line begins with ``{`` holds JSON lines, and any other is CSV.

    Raises:
        FileError: the header cannot be read, the file is of another kind, or it breaks off.
    """
    try:
        yield from _read(decoded(_counted(file, count), reading.encoding), reading)
    except NotInEncodingError as error:
        raise FileError(str(error)) from None


def _read(texts: Iterator[str], reading: Reading) -> Iterator[Line]:
    number, first = next(((number, line) for number, line in enumerate(texts, 1) if line.strip()), (0, ""))
    if not first:
        return
    if first.lstrip().startswith("["):
        raise FileError("holds a list in JSON: write one event a line, without brackets and commas around.")
    if reading.form == "csv" or (reading.form == "auto" and not first.lstrip().startswith("{")):
        yield from _rows(first, texts, number, reading)
    elif reading.of_csv_alone():
        raise FileError("holds JSON lines: columns can only be renamed, and times read, in CSV.")
    else:
        yield from _objects(first, texts, number, reading.encoding)


def _counted(file: IO[bytes], count: Callable[[int], object]) -> Iterator[bytes]:
    for line in file:
        count(len(line))
        yield line


def _objects(first: str, rest: Iterator[str], number: int, encoding: str | None) -> Iterator[Line]:
    yield _object(number, first, encoding)
    for later, text in enumerate(rest, number + 1):
        if text.strip():
            yield _object(later, text, encoding)


def _object(number: int, text: str, encoding: str | None) -> Line:
    if not is_whole(text):
        return Line(number, error=_not_in("line", encoding))
    try:
        return Line(number, decode_json(text.strip().encode()))
    except EnvelopeError as error:
        # A reader's place in its text says nothing here: each line is a text of its own.
        return Line(number, error=f"the line {error.message}".replace(" at line 1,", " at"))


def _rows(first: str, rest: Iterator[str], number: int, reading: Reading) -> Iterator[Line]:
    told = _SEPARATOR.fullmatch(first)
    if told:
        number, first = number + 1, next(rest, "")
    delimiter = told[1] if told else delimiter_of(first)
    if not is_whole(first):
        raise FileError(_not_in("header", reading.encoding))
    try:
        header = next(csv.reader([first], delimiter=delimiter, strict=True), [])
        columns = Columns(header, reading.renamed, reading.moments)
    except (ColumnsError, csv.Error) as error:
        raise FileError(str(error)) from None
    for row in Rows(rest, delimiter, number, columns.width):
        yield _line(row, columns, reading.encoding)


def _line(row: Row, columns: Columns, encoding: str | None) -> Line:
    if row.error is not None:
        return Line(row.number, error=row.error)
    if not all(map(is_whole, row.cells)):
        return Line(row.number, error=_not_in("row", encoding))
    try:
        return Line(row.number, columns.event(row.cells))
    except ColumnsError as error:
        return Line(row.number, error=str(error))


def _not_in(what: str, encoding: str | None) -> str:
    if encoding is not None:
        return f"the {what} is not in {encoding}."
    return f"the {what} is not in UTF-8: say with --encoding what it is in, like cp1252."
