"""Turn what senders write into text that is fit to keep, or into nothing."""

import re
from functools import lru_cache
from typing import Any

_LONGEST_TEXT = 1024

# What templates, JavaScript and spreadsheets leave behind where a value is missing.
JUNK = frozenset(
    (
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
)
_JUNK_BEGINS = frozenset(letter for word in JUNK for letter in word[0] + word[0].upper())
_LARGEST_ID = 10**19
_INVISIBLE = re.compile("[\u00ad\u200b\u2060\ufeff]+")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


def clean_text(value: object, longest: int = _LONGEST_TEXT) -> str | None:
    """Return a text or a whole number as trimmed, printable text, or None.

    None stands for junk, for more than ``longest`` characters and for every other type.
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


# Longer keys are no property that anybody knows, and must not fill the cache below.
_LONGEST_KEY = 64
_LONGEST_CACHED = 256
_MOST_KEYS, _MOST_CHARACTERS = 50, 1000


def fold_key(name: str) -> str:
    """Return a name's letters and digits in lower case: Title Case, snake_case and camelCase become one."""
    return _fold(name) if len(name) <= _LONGEST_CACHED else _fold.__wrapped__(name)


@lru_cache(maxsize=16_384)
def _fold(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))


def are_cacheable(keys: tuple[str, ...]) -> bool:
    """Say whether an object's keys are few and short enough to be remembered; others could fill the memory."""
    return len(keys) <= _MOST_KEYS and len("".join(keys)) <= _MOST_CHARACTERS


def fold_keys(properties: object) -> dict[str, Any]:
    """Return a mapping's entries under folded keys, without nulls; the first of two spellings stays.

    Anything but a mapping has no entries.
    """
    found: dict[str, Any] = {}
    if not isinstance(properties, dict):
        return found
    for key, value in properties.items():
        if value is not None and len(key) <= _LONGEST_KEY:
            found.setdefault(fold_key(key), value)
    return found
