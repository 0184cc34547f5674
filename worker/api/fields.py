"""Strict marshmallow fields with readable messages."""

# marshmallow keeps its messages in plain class attributes, and calls its hooks with more than each one needs.
# ruff: noqa: ARG002, RUF012

import re
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate
from marshmallow.types import ErrorMessages

from worker.event.times import iso

_HOST = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\Z"
)


class Shape(Schema):
    """Take an object with the declared fields and no others."""

    error_messages = {"unknown": "is not a known field", "type": "must be an object"}


class _Plain:
    default_error_messages: ErrorMessages = {
        "required": "is required",
        "null": "must not be null",
    }


class Text(_Plain, fields.String):
    """Accept a string and strip it."""

    default_error_messages: ErrorMessages = {"invalid": "must be a string"}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        return str(super()._deserialize(value, attr, data, **kwargs)).strip()


class Boolean(_Plain, fields.Boolean):
    """Accept true or false only, not 1 or "yes"."""

    default_error_messages: ErrorMessages = {"invalid": "must be true or false"}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid")
        return value


class Number(_Plain, fields.Float):
    """Accept a number, not a string."""

    default_error_messages: ErrorMessages = {
        "invalid": "must be a number",
        "too_large": "is too large",
        "special": "must be a number",
    }

    def _validated(self, value: Any) -> float:
        if isinstance(value, bool | str):
            raise self.make_error("invalid")
        return float(super()._validated(value))


class Integer(_Plain, fields.Integer):
    """Accept an integer, not a string."""

    default_error_messages: ErrorMessages = {
        "invalid": "must be a whole number",
        "too_large": "is too large",
    }

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.make_error("invalid")
        return value


class ListOf(_Plain, fields.List[Any]):
    """Take a list."""

    default_error_messages: ErrorMessages = {"invalid": "must be a list"}


class Nested(_Plain, fields.Nested):
    """Take an object of another shape."""

    default_error_messages: ErrorMessages = {"type": "must be an object"}


class Object(_Plain, fields.Dict):
    """Take an object whose fields others check."""

    default_error_messages: ErrorMessages = {"invalid": "must be an object"}


class Timestamp(fields.String):
    """Show Unix seconds as ISO 8601 in UTC."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else iso(value)


class Host(Text):
    """Take a host name in its ASCII form, and keep it in lower case."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        host = super()._deserialize(value, attr, data, **kwargs).lower()
        if not _HOST.match(host):
            raise ValidationError("must be a host name like shop.example.com, without scheme, port or path")
        return host


def one_of_words(*words: str) -> validate.OneOf:
    """Allow only these words."""
    return validate.OneOf(words, error=f"must be one of: {', '.join(words)}")


def between(least: float, most: float) -> validate.Range:
    """Allow only numbers in a range."""
    return validate.Range(least, most, error=f"must be between {least:,} and {most:,}")


def length(least: int, most: int) -> validate.Length:
    """Allow only texts with a number of characters in a range."""
    return validate.Length(least, most, error=f"must be {least} to {most} characters")


def at_most(most: int, what: str) -> validate.Length:
    """Allow only lists with at most ``most`` items."""
    return validate.Length(max=most, error=f"must be at most {most} {what}")


def matching(pattern: str, rule: str) -> validate.Regexp:
    """Allow only texts that match a pattern as a whole."""
    return validate.Regexp(rf"(?:{pattern})\Z", error=rule)
