"""Find what no store and no receiver can take: odd characters, numbers and depths."""

import math
from typing import Any

DEEPEST = 32
LARGEST_INTEGER = 2**63

_DEPTH = f"is nested more than {DEEPEST} levels deep."
_NUMBER = "must be a finite number."
_INTEGER = "is a whole number of more than 18 digits: send it as text."
_CHARACTERS = "has a null byte or half a surrogate pair in it."
_TYPE = "is of a type that JSON does not have."


def is_storable(root: Any) -> bool:
    """Say whether a decoded JSON value holds nothing that ``find_flaw`` would name, in one flat pass."""
    texts: list[str] = []
    level = [root]
    for _ in range(DEEPEST + 1):
        deeper: list[Any] = []
        for container in level:
            if not _sort_values(container, texts, deeper):
                return False
        if not deeper:
            return _are_good(texts)
        level = deeper
    return False


def _sort_values(container: Any, texts: list[str], deeper: list[Any]) -> bool:
    """Put a container's texts and containers where they belong; false where it has a value that is no good."""
    if type(container) is dict:
        texts += container
        container = container.values()
    for value in container:
        kind = type(value)
        if kind is str:
            texts.append(value)
        elif kind is dict or kind is list:
            deeper.append(value)
        elif kind is int:
            if not -LARGEST_INTEGER < value < LARGEST_INTEGER:
                return False
        elif kind is float:
            # A float minus itself is zero, unless it is NaN or infinite.
            if value - value != 0:
                return False
        elif kind is not bool and value is not None:
            return False
    return True


def find_flaw(value: Any, path: str = "", depth: int = 0) -> tuple[str, str] | None:
    """Return the path of the first value that cannot be kept, and what is wrong with it."""
    kind = type(value)
    flaw = None
    if kind is dict or kind is list:
        return _find_below(value, path, depth)
    if kind is str:
        flaw = None if _are_good([value]) else _CHARACTERS
    elif kind is int:
        flaw = None if _is_good_number(value) else _INTEGER
    elif kind is float:
        flaw = None if _is_good_number(value) else _NUMBER
    elif value is not None and kind is not bool:
        flaw = _TYPE
    return (path or "event", flaw) if flaw else None


def _find_below(container: Any, path: str, depth: int) -> tuple[str, str] | None:
    if depth > DEEPEST:
        return path.split(".", maxsplit=1)[0].split("[", maxsplit=1)[0] or "event", _DEPTH
    is_object = type(container) is dict
    for key, value in container.items() if is_object else enumerate(container):
        if is_object and not (type(key) is str and _are_good([key])):
            return path or "event", "has a key with a null byte or half a surrogate pair in it."
        below = f"{path}.{key}".lstrip(".") if is_object else f"{path}[{key}]"
        flaw = find_flaw(value, below, depth + 1)
        if flaw:
            return flaw
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
