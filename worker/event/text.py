"""Clean text from senders, and fold names to a common spelling."""

import re
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, TypeVar

_T = TypeVar("_T")

_LONGEST_TEXT = 1024

# Placeholders of templates, JavaScript and spreadsheets for a missing value.
_PLACEHOLDERS = (
    "null",
    "undefined",
    "none",
    "nan",
    "n/a",
    "(null)",
    "(none)",
    "(not set)",
    "[object object]",
    "infinity",
)
JUNK = frozenset(_PLACEHOLDERS)
_JUNK_BEGINS = frozenset(letter for word in JUNK for letter in word[0] + word[0].upper())
_LARGEST_ID = 10**19
_INVISIBLE = re.compile("[\u00ad\u200b\u2060\ufeff]+")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


def clean_text(value: object, longest: int = _LONGEST_TEXT) -> str | None:
    """Return a text or a whole number as trimmed, printable text.

    None for a placeholder such as "undefined", for more than ``longest`` characters and for any other type.
    """
    if type(value) is str:
        text = value.strip()
        if not text.isprintable():
            text = _UNPRINTABLE.sub(" ", _INVISIBLE.sub("", text)).strip()
        if not text or len(text) > longest or (text[0] in _JUNK_BEGINS and text.lower() in JUNK):
            return None
        return text
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is int and -_LARGEST_ID < value < _LARGEST_ID:
        return str(value)
    return None


# No known property has a longer key, and longer keys must not fill the cache below.
_LONGEST_KEY = 64
_LONGEST_CACHED = 256
_MOST_KEYS, _MOST_CHARACTERS = 50, 1000


def fold_key(name: str) -> str:
    """Return a name's letters and digits in lower case, so that Title Case, snake_case and camelCase are equal."""
    return _fold(name) if len(name) <= _LONGEST_CACHED else _fold.__wrapped__(name)


@lru_cache(maxsize=16_384)
def _fold(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))


def cached_by_keys(
    limit: int,
) -> Callable[[Callable[[tuple[str, ...]], _T]], Callable[[tuple[str, ...]], _T]]:
    """Return a decorator that keeps what a function returns for the keys of an object: a sender's events share them.

    Many or long keys are not kept, so that they do not fill the memory.
    """

    def decorate(function: Callable[[tuple[str, ...]], _T]) -> Callable[[tuple[str, ...]], _T]:
        results: dict[tuple[str, ...], _T] = {}

        @wraps(function)
        def get(keys: tuple[str, ...]) -> _T:
            try:
                return results[keys]
            except KeyError:
                result = function(keys)
            if len(keys) <= _MOST_KEYS and len("".join(keys)) <= _MOST_CHARACTERS:
                if len(results) >= limit:
                    results.clear()
                results[keys] = result
            return result

        return get

    return decorate


def fold_keys(properties: object) -> dict[str, Any]:
    """Return a dict's entries under folded keys, without nulls; the first of two spellings counts.

    Any other type gives an empty dict.
    """
    if not isinstance(properties, dict):
        return {}
    if (names := _folded_names(tuple(properties))) is not None:
        # The names are one for each key; "strict" would take as long as the rest.
        folded = dict(zip(names, properties.values()))  # noqa: B905
        return folded if None not in folded.values() else _without_nulls(folded)
    folded = {}
    for key, value in properties.items():
        if value is not None and len(key) <= _LONGEST_KEY:
            folded.setdefault(fold_key(key), value)
    return folded


@cached_by_keys(1024)
def _folded_names(keys: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the folded keys; None if two are equal or one is too long, so that some do not count."""
    names = tuple(map(fold_key, keys))
    return names if len(set(names)) == len(names) and max(map(len, keys), default=0) <= _LONGEST_KEY else None


def _without_nulls(folded: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in folded.items() if value is not None}


# Shown where a key is longer, or could be an address, a phone number or a sentence.
_UNSHOWN_KEY = "(key)"
_SHOWN_KEY = re.compile(r"(?!.*[0-9]{5})[A-Za-z_$][A-Za-z0-9_$.-]{0,39}")


def shown_key(key: object) -> str:
    """Return a sender's key as a message may show it: as it is where it looks like a field's name, else "(key)"."""
    text = str(key)
    return text if isinstance(key, int) or _SHOWN_KEY.fullmatch(text) else _UNSHOWN_KEY
