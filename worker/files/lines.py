"""Read events from a file line by line; a bad line does not affect the others."""

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
    """The bytes are not in the encoding."""


def _decode_lines(raw: Iterator[bytes], encoding: str | None) -> Iterator[str]:
    """Yield lines with their ends; the default encoding is UTF-8, or UTF-16 after its byte order mark.

    An invalid byte becomes a lone surrogate and affects only its own line. In UTF-16 and UTF-32 it ends the file,
    because later line ends cannot be found.

    Raises:
        _EncodingError: a file in UTF-16 or UTF-32 is incomplete or has another encoding.
    """
    first = next(raw, b"")
    if encoding is None:
        encoding = "utf-16" if first.startswith(_UTF_16_MARKS) else "utf-8"
    name = codecs.lookup(encoding).name
    # The byte order mark is not part of the first column's name.
    name = "utf-8-sig" if name == "utf-8" else name
    errors = "strict" if name.startswith(("utf-16", "utf-32")) else "surrogateescape"
    try:
        yield from _lines(codecs.iterdecode(chain([first], raw), name, errors))
    except UnicodeError:
        raise _EncodingError(f"is not in {encoding}, or breaks off.") from None


def _is_decodable(text: str) -> bool:
    """Say whether every byte of a decoded text was valid."""
    return text.isascii() or not any("\udc80" <= character <= "\udcff" for character in text)


def _lines(chunks: Iterable[str]) -> Iterator[str]:
    tail = ""
    for chunk in chunks:
        *lines, tail = (tail + chunk).split("\n")
        for line in lines:
            yield f"{line}\n"
    if tail:
        yield tail


_DELIMITERS = ",;\t|"
_QUOTED = re.compile(r'"[^"]*"')


class _Row(NamedTuple):
    """Hold the cells of a row that begins in line ``number``, or its error."""

    number: int
    cells: list[str]
    error: str | None = None


def _find_delimiter(header: str) -> str:
    """Return the delimiter of a header; quoted text is ignored."""
    return max(_DELIMITERS, key=_QUOTED.sub("", header).count)


class _Rows:
    """Yield rows with the number of their first line; ``width`` is the number of cells of the header.

    A quoted cell may have several lines. Without its closing quote it would swallow the following lines: then
    only the first line is an error, and the others are read again.
    """

    def __init__(self, lines: Iterator[str], delimiter: str, number: int, width: int) -> None:
        self._lines = lines
        self._delimiter = delimiter
        self._number = number
        self._width = width
        self._taken: list[str] = []
        self._again: deque[str] = deque()

    def __iter__(self) -> Iterator[_Row]:
        """Yield rows to the end of the file, without blank ones."""
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
        """Continue after the first line of a row."""
        self._again.extendleft(reversed(self._taken[1:]))
        self._number += 1
        self._taken.clear()
        return self._reader()

    def _trimmed(self, cells: list[str]) -> list[str]:
        """Remove blank cells beyond the header, which spreadsheets write."""
        while len(cells) > self._width and not cells[-1].strip():
            cells = cells[:-1]
        return cells


Format = Literal["auto", "jsonl", "csv"]

# Excel accepts a line before the header that names the delimiter.
_SEPARATOR = re.compile(r"sep=(.)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Hold how to read a file; ``renamed`` maps column names of the file to the names to use."""

    form: Format = "auto"
    encoding: str | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    time_format: TimeFormat = field(default_factory=TimeFormat)


@dataclass(frozen=True, slots=True)
class Line:
    """Hold the event of a line, or its error; ``number`` counts from 1. ``cells``: its texts are cells of a table."""

    number: int
    event: Any = None
    error: str | None = None
    cells: bool = False


class FileError(Exception):
    """The file, or its rest, cannot be read; the message is a sentence."""


def read_lines(file: IO[bytes], options: ReadOptions, count: Callable[[int], object]) -> Iterator[Line]:
    """Yield the events of a file in order; ``count`` is called with the number of bytes read.

    By default a file whose first line begins with ``{`` has JSON lines; any other file is CSV.

    Raises:
        FileError: the header cannot be read, the file has another format, or it is incomplete.
    """
    try:
        yield from _read(_decode_lines(_count_bytes(file, count), options.encoding), options)
    except _EncodingError as error:
        raise FileError(str(error)) from None


def _read(texts: Iterator[str], options: ReadOptions) -> Iterator[Line]:
    number, first = next(((number, line) for number, line in enumerate(texts, 1) if line.strip()), (0, ""))
    if not first:
        return
    if first.lstrip().startswith("["):
        raise FileError("holds a list in JSON: write one event a line, without brackets and commas around.")
    if options.form == "csv" or (options.form == "auto" and not first.lstrip().startswith("{")):
        yield from _rows(first, texts, number, options)
    elif options.renamed or options.time_format != TimeFormat():
        # JSON lines do not have these options.
        raise FileError("holds JSON lines: columns can only be renamed, and times read, in CSV.")
    else:
        yield from _objects(first, texts, number, options.encoding)


def _count_bytes(file: IO[bytes], count: Callable[[int], object]) -> Iterator[bytes]:
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
        # Each line is parsed alone, so its position within the text is always line 1.
        return Line(number, error=f"the line {error.message}".replace(" at line 1,", " at"))


def _rows(first: str, rest: Iterator[str], number: int, options: ReadOptions) -> Iterator[Line]:
    separator = _SEPARATOR.fullmatch(first)
    if separator:
        number, first = number + 1, next(rest, "")
    delimiter = separator[1] if separator else _find_delimiter(first)
    if not _is_decodable(first):
        raise FileError(_not_in("header", options.encoding))
    try:
        header = next(csv.reader([first], delimiter=delimiter, strict=True), [])
        columns = Columns(header, options.renamed, options.time_format)
    except (ColumnsError, csv.Error) as error:
        raise FileError(str(error)) from None
    for row in _Rows(rest, delimiter, number, columns.width):
        yield _line(row, columns, options.encoding)


def _line(row: _Row, columns: Columns, encoding: str | None) -> Line:
    if row.error is not None:
        return Line(row.number, error=row.error)
    if not all(map(_is_decodable, row.cells)):
        return Line(row.number, error=_not_in("row", encoding))
    try:
        return Line(row.number, columns.event(row.cells), cells=True)
    except ColumnsError as error:
        return Line(row.number, error=str(error))


def _not_in(part: str, encoding: str | None) -> str:
    if encoding is not None:
        return f"the {part} is not in {encoding}."
    return f"the {part} is not in UTF-8: say with --encoding what it is in, like cp1252."
