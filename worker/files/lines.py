"""Read a file's events line by line, so that one bad line costs no good one."""

import codecs
import csv
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import IO, Any, Literal, NamedTuple

from worker.event.envelope import EnvelopeError, decode_json
from worker.files.columns import Columns, ColumnsError, TimeFormat

_UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class _EncodingError(Exception):
    """Say from where on the bytes are not in the encoding that they should be in."""


def _decode_lines(raw: Iterator[bytes], encoding: str | None) -> Iterator[str]:
    """Yield lines with their ends; without an encoding given it is UTF-8, or UTF-16 behind its mark.

    A byte that the encoding does not know comes through as half a surrogate pair, so that it costs its own line
    alone. In UTF-16 and UTF-32, whose lines cannot be told apart behind such a byte, it ends the file.

    Raises:
        NotInEncodingError: a file in UTF-16 or UTF-32 breaks off, or is none.
    """
    first = next(raw, b"")
    if encoding is None:
        encoding = "utf-16" if first.startswith(_UTF_16_MARKS) else "utf-8"
    name = codecs.lookup(encoding).name
    # A mark at the beginning is no part of the first column's name.
    name = "utf-8-sig" if name == "utf-8" else name
    errors = "strict" if name.startswith(("utf-16", "utf-32")) else "surrogateescape"
    try:
        yield from _lines(codecs.iterdecode(chain([first], raw), name, errors))
    except UnicodeError:
        raise _EncodingError(f"is not in {encoding}, or breaks off.") from None


def _is_decodable(text: str) -> bool:
    """Say whether every byte of a decoded text was one of its encoding."""
    return text.isascii() or not any("\udc80" <= character <= "\udcff" for character in text)


def _lines(chunks: Iterable[str]) -> Iterator[str]:
    kept = ""
    for chunk in chunks:
        *whole, kept = (kept + chunk).split("\n")
        for line in whole:
            yield f"{line}\n"
    if kept:
        yield kept


_DELIMITERS = ",;\t|"
_QUOTED = re.compile(r'"[^"]*"')


class _Row(NamedTuple):
    """Hold the cells of a row that begins in line ``number``, or why it is none."""

    number: int
    cells: list[str]
    error: str | None = None


def _find_delimiter(header: str) -> str:
    """Return what divides the cells of a header; what stands in quotes divides nothing."""
    return max(_DELIMITERS, key=_QUOTED.sub("", header).count)


class _Rows:
    """Yield rows, and say where each began; ``width`` is how many cells the header has.

    A cell in quotes may go over several lines. One whose closing quote is missing would swallow the lines behind
    it: such a row is told of as one wrong line, and what follows its first line is read again.
    """

    def __init__(self, lines: Iterator[str], delimiter: str, number: int, width: int) -> None:
        self._lines = lines
        self._delimiter = delimiter
        self._number = number
        self._width = width
        self._taken: list[str] = []
        self._again: deque[str] = deque()

    def __iter__(self) -> Iterator[_Row]:
        """Yield rows to the end of the file; one without anything in it is none."""
        reader = self._reader()
        while True:
            try:
                cells = self._trimmed(next(reader))
            except StopIteration:
                return
            except csv.Error as error:
                yield _Row(self._number + 1, [], f"is no CSV: {error}.")
                reader = self._begin_again()
                continue
            if any(map(str.strip, cells)):
                yield _Row(self._number + 1, cells)
            if len(self._taken) > 1 and len(cells) != self._width:
                reader = self._begin_again()
            else:
                self._number += len(self._taken)
                self._taken.clear()

    def _reader(self) -> Iterator[list[str]]:
        return csv.reader(self._noted(), delimiter=self._delimiter, strict=True)

    def _noted(self) -> Iterator[str]:
        while (line := self._next_line()) is not None:
            self._taken.append(line)
            yield line

    def _next_line(self) -> str | None:
        return self._again.popleft() if self._again else next(self._lines, None)

    def _begin_again(self) -> Iterator[list[str]]:
        """Go on behind the first line of a row."""
        self._again.extendleft(reversed(self._taken[1:]))
        self._number += 1
        self._taken.clear()
        return self._reader()

    def _trimmed(self, cells: list[str]) -> list[str]:
        """Leave out blank cells beyond the header's: spreadsheets write them."""
        while len(cells) > self._width and not cells[-1].strip():
            cells = cells[:-1]
        return cells


Format = Literal["auto", "jsonl", "csv"]

# Excel reads, and some programs write, a line before the header that names the delimiter.
_SEPARATOR = re.compile(r"sep=(.)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Say how a file is to be read; ``renamed`` maps a column's name to the name that it stands for."""

    form: Format = "auto"
    encoding: str | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    moments: TimeFormat = field(default_factory=TimeFormat)

    def of_csv_alone(self) -> bool:
        """Say whether something is told that JSON lines have no use for."""
        return bool(self.renamed) or self.moments != TimeFormat()


@dataclass(frozen=True, slots=True)
class Line:
    """Hold one line's event, or what is wrong with it; ``number`` counts from 1."""

    number: int
    event: Any = None
    error: str | None = None


class FileError(Exception):
    """Say in a sentence why nothing of a file, or nothing more of it, can be read."""


def read_lines(file: IO[bytes], reading: ReadOptions, count: Callable[[int], object]) -> Iterator[Line]:
    """Yield a file's events in order; ``count`` is told how many bytes were read.

    Without a form given, a file whose first line begins with ``{`` holds JSON lines, and any other is CSV.

    Raises:
        FileError: the header cannot be read, the file is of another kind, or it breaks off.
    """
    try:
        yield from _read(_decode_lines(_counted(file, count), reading.encoding), reading)
    except _EncodingError as error:
        raise FileError(str(error)) from None


def _read(texts: Iterator[str], reading: ReadOptions) -> Iterator[Line]:
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
    if not _is_decodable(text):
        return Line(number, error=_not_in("line", encoding))
    try:
        return Line(number, decode_json(text.strip().encode()))
    except EnvelopeError as error:
        # A reader's place in its text says nothing here: each line is a text of its own.
        return Line(number, error=f"the line {error.message}".replace(" at line 1,", " at"))


def _rows(first: str, rest: Iterator[str], number: int, reading: ReadOptions) -> Iterator[Line]:
    told = _SEPARATOR.fullmatch(first)
    if told:
        number, first = number + 1, next(rest, "")
    delimiter = told[1] if told else _find_delimiter(first)
    if not _is_decodable(first):
        raise FileError(_not_in("header", reading.encoding))
    try:
        header = next(csv.reader([first], delimiter=delimiter, strict=True), [])
        columns = Columns(header, reading.renamed, reading.moments)
    except (ColumnsError, csv.Error) as error:
        raise FileError(str(error)) from None
    for row in _Rows(rest, delimiter, number, columns.width):
        yield _line(row, columns, reading.encoding)


def _line(row: _Row, columns: Columns, encoding: str | None) -> Line:
    if row.error is not None:
        return Line(row.number, error=row.error)
    if not all(map(_is_decodable, row.cells)):
        return Line(row.number, error=_not_in("row", encoding))
    try:
        return Line(row.number, columns.event(row.cells))
    except ColumnsError as error:
        return Line(row.number, error=str(error))


def _not_in(what: str, encoding: str | None) -> str:
    if encoding is not None:
        return f"the {what} is not in {encoding}."
    return f"the {what} is not in UTF-8: say with --encoding what it is in, like cp1252."
