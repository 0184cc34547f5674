"""The schema of an incoming event."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from marshmallow import INCLUDE, Schema, ValidationError, fields, validate, validates_schema

from worker.event import json_text
from worker.event.times import parse_time

_DEEPEST = 32
_LARGEST_INTEGER = 2**63

_DEPTH = f"is nested more than {_DEEPEST} levels deep."
_NUMBER = "must be a finite number."
_INTEGER = "is a whole number of more than 18 digits: send it as text."
_CHARACTERS = "has a null byte or half a surrogate pair in it."
_KEY = "has a key with a null byte or half a surrogate pair in it."
_TYPE = "is of a type that JSON does not have."


def _is_storable(root: Any) -> bool:
    """Say whether a decoded JSON value holds nothing that ``find_flaw`` would name.

    Written as JSON, it shows at a glance that there is nothing to look for, in most cases; in the others,
    such as a text with thirty brackets in it, ``find_flaw`` has the last word.
    """
    return json_text.is_surely_storable(root, _DEEPEST) or _find_flaw(root) is None


def _find_flaw(root: Any) -> tuple[str, str] | None:
    """Return the path of the first value that cannot be kept, and what is wrong with it."""
    found = _find_flaw_at(root, 0)
    if found is None:
        return None
    # Only the path of a flaw is written: each path of an object with a long key would repeat that key.
    steps, flaw = found
    path = "".join(reversed(steps)).lstrip(".")
    if flaw is _DEPTH:
        path = path.split(".", maxsplit=1)[0].split("[", maxsplit=1)[0]
    return path or "event", flaw


def _find_flaw_at(value: Any, depth: int) -> tuple[list[str], str] | None:
    """Return the steps of a flaw's path, the last one first, and the flaw."""
    kind = type(value)
    flaw = None
    if kind is dict or kind is list:
        return _find_below(value, depth)
    if kind is str:
        flaw = None if _are_valid_texts([value]) else _CHARACTERS
    elif kind is int:
        flaw = None if _is_valid_number(value) else _INTEGER
    elif kind is float:
        flaw = None if _is_valid_number(value) else _NUMBER
    elif value is not None and kind is not bool:
        flaw = _TYPE
    return ([], flaw) if flaw else None


def _find_below(container: Any, depth: int) -> tuple[list[str], str] | None:
    if depth > _DEEPEST:
        return [], _DEPTH
    is_object = type(container) is dict
    for key, value in container.items() if is_object else enumerate(container):
        if is_object and not (type(key) is str and _are_valid_texts([key])):
            return [], _KEY
        found = _find_flaw_at(value, depth + 1)
        if found:
            found[0].append(f".{key}" if is_object else f"[{key}]")
            return found
    return None


def _is_valid_number(value: Any) -> bool:
    if type(value) is float:
        return math.isfinite(value)
    return type(value) is int and -_LARGEST_INTEGER < value < _LARGEST_INTEGER


def _are_valid_texts(texts: list[str]) -> bool:
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


_EVENT_TYPES = ("track", "page", "identify", "group")
_LONGEST_NAME = 256
_LONGEST_ID = 256

_NOT_A_TYPE = f"must be one of {', '.join(_EVENT_TYPES)}."
_NOT_AN_OBJECT = "must be an object."
_NOT_AN_ID = f"must be a text of at most {_LONGEST_ID} characters or a whole number."
_NOT_A_TIME = "must be a time in ISO 8601, like 2024-01-29T14:53:20.000Z."
_NOT_A_NAME = f"must be a text of at most {_LONGEST_NAME} characters."
_NO_EVENT = f"must be a text of 1 to {_LONGEST_NAME} characters in a track call."


class EnvelopeError(Exception):
    """Say in a sentence what is wrong with an event, and in which field."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        self.message = message
        super().__init__(f"{field} {message}")


def check_envelope(raw: object) -> None:
    """Refuse an event that breaks ``EnvelopeSchema``, many times faster than the schema does.

    Null stands for a field that is left out.

    Raises:
        EnvelopeError: naming the first field that is wrong.
    """
    if type(raw) is not dict:
        raise EnvelopeError("event", _NOT_AN_OBJECT)
    kind = raw.get("type")
    if type(kind) is not str or kind not in _EVENT_TYPES:
        raise EnvelopeError("type", _NOT_A_TYPE)
    for field, holds, message in _OPTIONAL_FIELDS:
        value = raw.get(field)
        if value is not None and not holds(value):
            raise EnvelopeError(field, message)
    if kind == "track" and not (raw.get("event") or "").strip():
        raise EnvelopeError("event", _NO_EVENT)
    if not _is_storable(raw):
        raise EnvelopeError(*(_find_flaw(raw) or ("event", "cannot be stored.")))


def _is_name(value: object) -> bool:
    return type(value) is str and len(value) <= _LONGEST_NAME


def _is_object(value: object) -> bool:
    return type(value) is dict


def _is_id(value: object) -> bool:
    return (type(value) is str and len(value) <= _LONGEST_ID) or type(value) is int


def _is_time(value: object) -> bool:
    return parse_time(value) is not None


_OPTIONAL_FIELDS: tuple[tuple[str, Callable[[object], bool], str], ...] = (
    ("event", _is_name, _NOT_A_NAME),
    ("name", _is_name, _NOT_A_NAME),
    ("properties", _is_object, _NOT_AN_OBJECT),
    ("traits", _is_object, _NOT_AN_OBJECT),
    ("context", _is_object, _NOT_AN_OBJECT),
    ("userId", _is_id, _NOT_AN_ID),
    ("anonymousId", _is_id, _NOT_AN_ID),
    ("messageId", _is_id, _NOT_AN_ID),
    ("timestamp", _is_time, _NOT_A_TIME),
    ("sentAt", _is_time, _NOT_A_TIME),
)


def _must(holds: Callable[[Any], bool], message: str) -> Callable[[object], None]:
    def check(value: object) -> None:
        if not holds(value):
            raise ValidationError(message)

    return check


def _optional(holds: Callable[[Any], bool], message: str) -> fields.Raw:
    return fields.Raw(allow_none=True, validate=_must(holds, message))


class EnvelopeSchema(Schema):
    """Own the shape of an incoming event; fields beyond it are kept and ignored."""

    class Meta:
        unknown = INCLUDE

    type = fields.String(
        required=True,
        validate=validate.OneOf(_EVENT_TYPES, error=_NOT_A_TYPE),
        error_messages={"invalid": _NOT_A_TYPE, "required": _NOT_A_TYPE, "null": _NOT_A_TYPE},
    )
    event = _optional(_is_name, _NOT_A_NAME)
    name = _optional(_is_name, _NOT_A_NAME)
    properties = fields.Dict(allow_none=True, error_messages={"invalid": _NOT_AN_OBJECT})
    traits = fields.Dict(allow_none=True, error_messages={"invalid": _NOT_AN_OBJECT})
    context = fields.Dict(allow_none=True, error_messages={"invalid": _NOT_AN_OBJECT})
    userId = _optional(_is_id, _NOT_AN_ID)  # noqa: N815  # the sender's spelling
    anonymousId = _optional(_is_id, _NOT_AN_ID)  # noqa: N815
    messageId = _optional(_is_id, _NOT_AN_ID)  # noqa: N815
    timestamp = _optional(_is_time, _NOT_A_TIME)
    sentAt = _optional(_is_time, _NOT_A_TIME)  # noqa: N815

    @validates_schema(skip_on_field_errors=True)
    def _a_track_call_has_a_name(self, data: Mapping[str, Any], **_: Any) -> None:
        if data["type"] == "track" and not (data.get("event") or "").strip():
            raise ValidationError(_NO_EVENT, "event")

    @validates_schema(pass_original=True)
    def _can_be_stored(self, _data: object, original: object, **_: Any) -> None:
        flaw = _find_flaw(original)
        if flaw:
            raise ValidationError(flaw[1], flaw[0])


def decode_json(body: bytes) -> object:
    """Parse a request's body strictly.

    Of a key that an object has twice the last value counts, as JSON parsers commonly do.

    Raises:
        EnvelopeError: on anything but one JSON value in UTF-8, on NaN and Infinity, on nesting or numbers that
            no event needs.
    """
    try:
        return json_text.parse_json(body)
    except UnicodeDecodeError:
        raise EnvelopeError("body", "must be JSON in UTF-8.") from None
    except RecursionError:
        raise EnvelopeError("body", "is nested too deeply.") from None
    except json.JSONDecodeError as error:
        raise EnvelopeError("body", f"is not JSON: {_in_words(error)}.") from None
    except ValueError:
        raise EnvelopeError("body", "has a number with too many digits.") from None


def _in_words(error: json.JSONDecodeError) -> str:
    if isinstance(error, json_text.NotANumberError):
        return error.msg
    return f"{error.msg.lower()} at line {error.lineno}, column {error.colno}"
