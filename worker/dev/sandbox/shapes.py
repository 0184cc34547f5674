"""Check JSON values by key, type, length and range."""

from collections.abc import Callable, Collection, Mapping
from types import NoneType
from typing import Any, NamedTuple

# Of Pinterest's API, whose fields are known here.
_VERSION = "5.28"

Check = Callable[[Any], str | None]
"""Checks a value of the right type; returns the problem, starting with its path, or None."""


class Field(NamedTuple):
    """What a key may hold."""

    types: tuple[type, ...]
    words: str
    inside: Check | None = None


def object_check(
    fields: Mapping[str, Field],
    *,
    required: Collection[str] = (),
    closed: bool = True,
    rule: Callable[[Collection[str]], str | None] | None = None,
) -> Check:
    """Check an object key by key; `rule` has a last word on which keys are there.

    A closure over one plain table, because this runs for every key of every event.
    """
    needed = frozenset(required)
    # Nearly every value is of its key's first type; what is not listed here has an inside to check.
    plain = {key: field.types[0] for key, field in fields.items() if not field.inside}

    def mismatch(key: str, held: object) -> str | None:
        field = fields.get(key)
        if field is None:
            return f" has an unknown field {quoted(key)} (version {_VERSION})" if closed else None
        if type(held) not in field.types:
            return f".{key} must be {field.words}"
        problem = field.inside(held) if field.inside else None
        return problem and f".{key}{problem}"

    def check(value: dict[str, Any]) -> str | None:
        for key, held in value.items():
            if type(held) is not plain.get(key):
                problem = mismatch(key, held)
                if problem:
                    return problem
        if needed and not needed <= value.keys():
            return f".{min(needed - value.keys())} is required"
        return rule(value.keys()) if rule else None

    return check


def quoted(text: str) -> str:
    """Quote untrusted text for a message, cut to a suitable length."""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def text_field(max_length: int | None = None) -> Field:
    """Describe a string of at most ``max_length`` code points."""

    def too_long(value: str) -> str | None:
        return f" must have at most {max_length} characters" if len(value) > (max_length or 0) else None

    return Field((str,), "a string", too_long if max_length else None)


def integer_field(minimum: int, maximum: int | None = None) -> Field:
    """Describe an integer within a range. Booleans and 1.0 are not integers."""

    def out_of_range(value: int) -> str | None:
        if value < minimum:
            return f" must be at least {minimum}"
        return f" must be at most {maximum}" if maximum is not None and value > maximum else None

    return Field((int,), "an integer", out_of_range)


def enum_field(*choices: str) -> Field:
    """Describe a string out of a closed list."""
    known = frozenset(choices)

    def unknown(value: str) -> str | None:
        return None if value in known else f" must be one of {', '.join(choices)}"

    return Field((str,), "a string", unknown)


def strings(max_items: int | None = None) -> Field:
    """Describe a list of strings."""

    def not_strings(values: list[Any]) -> str | None:
        if max_items is not None and len(values) > max_items:
            return f" must have at most {max_items} items"
        for value in values:
            if type(value) is not str:
                return f"[{values.index(value)}] must be a string"
        return None

    return Field((list,), "a list of strings", not_strings)


def list_of(check: Check) -> Check:
    """Check each item of a list to be an object of a kind."""

    def not_objects(values: list[Any]) -> str | None:
        for position, value in enumerate(values):
            if type(value) is not dict:
                return f"[{position}] must be an object"
            problem = check(value)
            if problem is not None:
                return f"[{position}]{problem}"
        return None

    return not_objects


def objects(check: Check) -> Field:
    """Describe a list of objects."""
    return Field((list,), "a list of objects", list_of(check))


def object_(check: Check) -> Field:
    """Describe an object."""
    return Field((dict,), "an object", check)


STRING = text_field()
STRING_OR_NULL = Field((str, NoneType), "a string or null")
INTEGER = Field((int,), "an integer")
INTEGER_OR_NULL = Field((int, NoneType), "an integer or null")
BOOLEAN = Field((bool,), "true or false")
STRINGS = strings()
