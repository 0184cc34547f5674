"""Take the rows of a CSV file apart, so that a quote which is never closed costs its own line alone."""

import csv
import re
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

_DELIMITERS = ",;\t|"
_QUOTED = re.compile(r'"[^"]*"')


class Row(NamedTuple):
    """Hold the cells of a row that begins in line ``number``, or why it is none."""

    number: int
    cells: list[str]
    error: str | None = None


def delimiter_of(header: str) -> str:
    """Return what divides the cells of a header; what stands in quotes divides nothing."""
    return max(_DELIMITERS, key=_QUOTED.sub("", header).count)


class Rows:
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

    def __iter__(self) -> Iterator[Row]:
        """Yield rows to the end of the file; one without anything in it is none."""
        reader = self._reader()
        while True:
            try:
                cells = self._trimmed(next(reader))
            except StopIteration:
                return
            except csv.Error as error:
                yield Row(self._number + 1, [], f"is no CSV: {error}.")
                reader = self._begin_again()
                continue
            if any(map(str.strip, cells)):
                yield Row(self._number + 1, cells)
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
