"""Read the known keys of untrusted JSON, and report the others."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

_T = TypeVar("_T")
_D = TypeVar("_D")
Reads = Callable[[Any], _T]
"""Converts a JSON value, or raises a ValueError that says what the value must be."""


class ScriptError(Exception):
    """A script that cannot be followed; the message is one sentence that names the key."""


class Reader:
    """An object whose keys are taken one by one; what is left over is an error."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise ScriptError(f"{where} must be an object.")
        self._rest = dict(value)
        self.where = where

    def take(self, key: str, reads: Reads[_T], default: _D) -> _T | _D:
        """Take a key out, or the default where it is absent."""
        if key not in self._rest:
            return default
        value = self._rest.pop(key)
        try:
            return reads(value)
        except ValueError as wrong:
            raise ScriptError(f"{self.where}.{key} {wrong}.") from None

    def finish(self) -> None:
        """Raise an error about the first key that was not taken."""
        for key in self._rest:
            raise ScriptError(f"{self.where} has an unknown key {key[:60]!r}.")


def read_flag(value: object) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def read_text(value: object) -> str:
    """Read a string."""
    if not isinstance(value, str):
        raise ValueError("must be a string")
    return value


def read_header_text(value: object) -> str:
    """Read a string that is valid in an HTTP header."""
    string = str(value) if isinstance(value, int) and not isinstance(value, bool) else read_text(value)
    if not (string.isascii() and string.isprintable()):
        raise ValueError("must be printable ASCII")
    return string


def read_texts(value: object) -> frozenset[str]:
    """Read a string or a list of strings."""
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not values or not all(isinstance(item, str) for item in values):
        raise ValueError("must be a string or a list of strings")
    return frozenset(values)


def read_list(value: object) -> list[Any]:
    """Read a list."""
    if not isinstance(value, list):
        raise ValueError("must be a list")
    return value


def read_object(value: object) -> dict[str, Any]:
    """Read an object as it is."""
    if not isinstance(value, dict):
        raise ValueError("must be an object")
    return value


def read_number(minimum: float, maximum: float) -> Reads[float]:
    """Read a number within a range."""

    def reads(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not minimum <= value <= maximum:
            raise ValueError(f"must be a number from {minimum:g} to {maximum:g}")
        return float(value)

    return reads


def read_integer(minimum: int, maximum: int) -> Reads[int]:
    """Read an integer within a range."""

    def reads(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            raise ValueError(f"must be an integer from {minimum} to {maximum}")
        return value

    return reads


def read_choice(choices: Sequence[_T]) -> Reads[_T]:
    """Read one of the given values; true does not count as 1."""

    def reads(value: object) -> _T:
        for known in choices:
            if type(value) is type(known) and value == known:
                return known
        raise ValueError(f"must be one of {', '.join(map(repr, choices))}")

    return reads
