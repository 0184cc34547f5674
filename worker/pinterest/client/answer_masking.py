"""Mask values of a request in Pinterest's error messages, which echo names, ids and search terms."""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cached_property
from hashlib import sha256
from typing import Any

from worker.pinterest.event_names.event_names import PINTEREST_NAMES

_ECHOED = "[sent]"

# Fields with Pinterest's own vocabulary, which identify no one.
_OPEN_KEYS = frozenset({"event_name", "action_source", "currency", "partner_name"})
# Words of error messages and of field names are always shown, even if an event has them.
_ORDINARY = frozenset(
    """
    a account action ad ads advertiser after all already an and any api app are array as at attribution be
    because been before bid body boolean brand but by cannot category characters city click client code content
    contents could country currency custom data date day days db deduplication delivered did digits do does
    duplicate em email empty enum error errors event events exceed exceeded exceeds expected external failed
    field fields fn for format found from future ge hash hashed has have id ids if ignored in incorrect integer
    internal invalid ip is it item items json key know known last least length less limit list ln longer lower
    maximum may minimum missing more most must name names no not null num number object of old on one only opt
    or order our out page parameter parse past payload ph phone please price processed product properties
    property quantity rate read reason received refused required rejected request schema search sent server
    sha sha256 should signature source st status string supported text than that the there this time timestamp
    to token too try type unable unauthorized unexpected unknown unsupported update url user validation value
    values version view was web were while with within wrong you your zp
    """.split()  # noqa: SIM905 - a list of them would fill a page
) | frozenset(part for name in PINTEREST_NAMES for part in name.split("_"))
_SHORTEST_WORD = 2
# More than is kept of an answer's words.
_MOST_CHARACTERS = 4_000
_SHORTEST_NUMBER = 4
# Countries, states and genders are shorter.
_SHORTEST_HASHED = 3

_CHUNK = re.compile(r"[^\s\"'<>(){}\[\],;:=?&/]+")
_WORD = re.compile(r"[^\W_]+")
# Tried only where a word starts, so that a long word costs linear time.
_CUT_WORD = re.compile(r"(?<![^\W_])([^\W_]{2,})(?=…|\.{3})")
_REPEATED = re.compile(r"\[sent\](?:[ ,;_-]*\[sent\])+")


class Echo:
    """Mask the values of one request's events; the request is parsed only when there are words to mask."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        # Cached, because answers repeat the same words for each event.
        self._possible: dict[str, bool] = {}
        self._sent: dict[str, bool] = {}

    def mask(self, text: str) -> str:
        """Replace every value of the request, and every word of a value, by "[sent]"."""
        text = unicodedata.normalize("NFKC", text[:_MOST_CHARACTERS])
        if not any(map(self._may_be_sent, _WORD.findall(text))):
            return text
        text = _CHUNK.sub(self._put_for_chunk, text)
        text = _CUT_WORD.sub(self._put_for_cut_word, text)
        return _REPEATED.sub(_ECHOED, text)

    def _may_be_sent(self, word: str) -> bool:
        """Rule out words 100 times faster than by parsing the request; most answers echo nothing."""
        word = word.casefold()
        if word not in self._possible:
            self._possible[word] = _is_identifying(word) and (
                # An escape sequence may encode any character.
                "\\u" in self._lowered or word in self._lowered or self._is_hashed(word)
            )
        return self._possible[word]

    def _is_hashed(self, word: str) -> bool:
        """Return whether the request has the SHA-256 of a word; names and cities are sent as hashes."""
        return len(word) >= _SHORTEST_HASHED and sha256(word.encode()).hexdigest() in self._lowered

    @cached_property
    def _lowered(self) -> str:
        text = self._body.decode("utf-8", "replace")
        return (text if text.isascii() else unicodedata.normalize("NFKC", text)).casefold()

    @cached_property
    def _words(self) -> frozenset[str]:
        return frozenset(word for value in self._values() for word in _words(value))

    @cached_property
    def _chunks(self) -> frozenset[str]:
        return frozenset(
            chunk for value in self._values() for chunk in _CHUNK.findall(value) if _is_identifying(chunk)
        )

    def _values(self) -> Iterator[str]:
        try:
            root = json.loads(self._body)
        except (ValueError, RecursionError):
            return
        for text in _texts(root):
            yield unicodedata.normalize("NFKC", text).casefold()

    def _put_for_chunk(self, match: re.Match[str]) -> str:
        chunk = match[0]
        bare = chunk.rstrip(".!")
        if bare.casefold() in self._chunks:
            return _ECHOED + chunk[len(bare) :]
        return _WORD.sub(self._put_for_word, chunk)

    def _put_for_word(self, match: re.Match[str]) -> str:
        if not self._may_be_sent(match[0]):
            return match[0]
        word = match[0].casefold()
        if word not in self._sent:
            self._sent[word] = word in self._words or self._is_hashed(word)
        return _ECHOED if self._sent[word] else match[0]

    def _put_for_cut_word(self, match: re.Match[str]) -> str:
        start = match[0].casefold()
        is_part = start not in _ORDINARY and any(word.startswith(start) for word in self._words)
        return _ECHOED if is_part else match[0]


NOTHING_SENT = Echo(b"")


def _texts(root: Any) -> Iterator[str]:
    stack = [root]
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            stack += [inner for key, inner in value.items() if key not in _OPEN_KEYS]
        elif isinstance(value, list):
            stack += value


def _words(value: str) -> Iterable[str]:
    return filter(_is_identifying, _WORD.findall(value))


def _is_identifying(word: str) -> bool:
    """Return whether a word could identify the person or the products of an event."""
    least = _SHORTEST_NUMBER if word.isdecimal() else _SHORTEST_WORD
    return len(word) >= least and word not in _ORDINARY
