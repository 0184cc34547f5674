"""Compare names and property keys without regard to their spelling."""

from functools import lru_cache
from typing import Any

# Longer keys are no property that anybody knows, and must not fill the cache below.
_LONGEST_KEY = 64
_LONGEST_CACHED = 256
_MOST_KEYS, _MOST_CHARACTERS = 50, 1000


def fold(name: str) -> str:
    """Return a name's letters and digits in lower case: Title Case, snake_case and camelCase become one."""
    return _fold(name) if len(name) <= _LONGEST_CACHED else _fold.__wrapped__(name)


@lru_cache(maxsize=16_384)
def _fold(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))


def are_ordinary(keys: tuple[str, ...]) -> bool:
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
            found.setdefault(fold(key), value)
    return found
