"""Find what no store and no receiver can take: odd characters, numbers and depths."""

import math
from typing import Any

from worker.events import json_text

DEEPEST = 32
LARGEST_INTEGER = 2**63

_DEPTH = f"is nested more than {DEEPEST} levels deep."
_NUMBER = "must be a finite number."
_INTEGER = "is a whole number of more than 18 digits: send it as text."
_CHARACTERS = "has a null byte or half a surrogate pair in it."
_KEY = "has a key with a null byte or half a surrogate pair in it."
_TYPE = "is of a type that JSON does not have."


def is_storable(root: Any) -> bool:
    """Say whether a decoded JSON value holds nothing that ``find_flaw`` would name.

    Written as JSON, it shows at a glance that there is nothing to look for, in most cases; in the others,
    such as a text with thirty brackets in it, ``find_flaw`` has the last word.
    """
    return json_text.shows_no_flaw(root, DEEPEST) or find_flaw(root) is None


def find_flaw(root: Any) -> tuple[str, str] | None:
    """Return the path of the first value that cannot be kept, and what is wrong with it."""
    found = _find(root, 0)
    if found is None:
        return None
    # Only the path of a flaw is written: each path of an object with a long key would repeat that key.
    steps, flaw = found
    path = "".join(reversed(steps)).lstrip(".")
    if flaw is _DEPTH:
        path = path.split(".", maxsplit=1)[0].split("[", maxsplit=1)[0]
    return path or "event", flaw


def _find(value: Any, depth: int) -> tuple[list[str], str] | None:
    """Return the steps of a flaw's path, the last one first, and the flaw."""
    kind = type(value)
    flaw = None
    if kind is dict or kind is list:
        return _find_below(value, depth)
    if kind is str:
        flaw = None if _are_good([value]) else _CHARACTERS
    elif kind is int:
        flaw = None if _is_good_number(value) else _INTEGER
    elif kind is float:
        flaw = None if _is_good_number(value) else _NUMBER
    elif value is not None and kind is not bool:
        flaw = _TYPE
    return ([], flaw) if flaw else None


def _find_below(container: Any, depth: int) -> tuple[list[str], str] | None:
    if depth > DEEPEST:
        return [], _DEPTH
    is_object = type(container) is dict
    for key, value in container.items() if is_object else enumerate(container):
        if is_object and not (type(key) is str and _are_good([key])):
            return [], _KEY
        found = _find(value, depth + 1)
        if found:
            found[0].append(f".{key}" if is_object else f"[{key}]")
            return found
    return None


def _is_good_number(value: Any) -> bool:
    if type(value) is float:
        return math.isfinite(value)
    return type(value) is int and -LARGEST_INTEGER < value < LARGEST_INTEGER


def _are_good(texts: list[str]) -> bool:
    joined = "".join(texts)
    if "\0" in joined:
        return False
    if joined.isascii():
        return True
    try:
        joined.encode()
    except UnicodeEncodeError:
        return False
    return True
