"""Read a file's lines as text, whatever encoding it was written in."""

import codecs
from collections.abc import Iterable, Iterator
from itertools import chain

_UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class NotInEncodingError(Exception):
    """Say from where on the bytes are not in the encoding that they should be in."""


def decoded(raw: Iterator[bytes], encoding: str | None) -> Iterator[str]:
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
        raise NotInEncodingError(f"is not in {encoding}, or breaks off.") from None


def is_whole(text: str) -> bool:
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
