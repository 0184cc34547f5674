"""Read a file's events line by line, so that one bad line costs no good one."""

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, Literal

from worker.events.envelope import EnvelopeError, decode_json
from worker.files.columns import Columns, ColumnsError

Format = Literal["auto", "jsonl", "csv"]

_BOM = b"\xef\xbb\xbf"
_DELIMITERS = ",;\t|"


@dataclass(frozen=True, slots=True)
class Line:
    """Hold one line's event, or what is wrong with it; ``number`` counts from 1."""

    number: int
    event: Any = None
    error: str | None = None


class FileError(Exception):
    """Say in a sentence why nothing of a file can be read."""


def read(
    file: IO[bytes], form: Format, renamed: Mapping[str, str], count: Callable[[int], object]
) -> Iterator[Line]:
    """Yield a file's events in order; ``count`` is told how many bytes were read.

    Without a form given, a file whose first line begins with ``{`` holds JSON lines, and any other is CSV.

    Raises:
        FileError: the header cannot be read, or the file is of another kind.
    """
    raw = _counted(file, count)
    number, first = next(((number, line) for number, line in enumerate(raw, 1) if line.strip()), (0, b""))
    if not first:
        return
    first = first.removeprefix(_BOM)
    if first.lstrip().startswith(b"["):
        raise FileError("holds a list in JSON: write one event a line, without brackets and commas around.")
    if form == "csv" or (form == "auto" and not first.lstrip().startswith(b"{")):
        yield from _rows(first, raw, number, renamed)
    elif renamed:
        raise FileError("holds JSON lines: columns can only be renamed in CSV.")
    else:
        yield from _objects(first, raw, number)


def _counted(file: IO[bytes], count: Callable[[int], object]) -> Iterator[bytes]:
    for line in file:
        count(len(line))
        yield line


def _objects(first: bytes, rest: Iterator[bytes], number: int) -> Iterator[Line]:
    yield _object(number, first)
    for later, text in enumerate(rest, number + 1):
        if text.strip():
            yield _object(later, text)


def _object(number: int, text: bytes) -> Line:
    try:
        return Line(number, decode_json(text.strip()))
    except EnvelopeError as error:
        # A reader's place in its text says nothing here: each line is a text of its own.
        return Line(number, error=f"the line {error.message}".replace(" at line 1,", " at"))


def _rows(first: bytes, rest: Iterator[bytes], number: int, renamed: Mapping[str, str]) -> Iterator[Line]:
    header = _text(first)
    delimiter = max(_DELIMITERS, key=header.count)
    try:
        columns = Columns(next(csv.reader([header], delimiter=delimiter, strict=True)), renamed)
    except (ColumnsError, csv.Error) as error:
        raise FileError(str(error)) from None
    reader = csv.reader(map(_text, rest), delimiter=delimiter, strict=True)
    while True:
        began = number + reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield Line(began, error=f"is no CSV: {error}.")
            continue
        if cells is None:
            return
        if cells:
            yield _row(began, cells, columns)


def _row(number: int, cells: list[str], columns: Columns) -> Line:
    # A byte that is no UTF-8 came through as half a surrogate pair, which no text has.
    if any("\udc80" <= character <= "\udcff" for cell in cells for character in cell):
        return Line(number, error="the row is not in UTF-8.")
    try:
        return Line(number, columns.event(cells))
    except ColumnsError as error:
        return Line(number, error=str(error))


def _text(line: bytes) -> str:
    return line.decode("utf-8", "surrogateescape")
