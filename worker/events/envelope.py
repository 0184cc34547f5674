"""The schema of an incoming event."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from marshmallow import INCLUDE, Schema, ValidationError, fields, validate, validates_schema

from worker.events import json_text
from worker.events.storable import find_flaw, is_storable
from worker.events.times import parse_time

TYPES = ("track", "page", "identify", "group")
LONGEST_NAME = 256
LONGEST_ID = 256

_NOT_A_TYPE = f"must be one of {', '.join(TYPES)}."
_NOT_AN_OBJECT = "must be an object."
_NOT_AN_ID = f"must be a text of at most {LONGEST_ID} characters or a whole number."
_NOT_A_TIME = "must be a time in ISO 8601, like 2024-01-29T14:53:20.000Z."
_NOT_A_NAME = f"must be a text of at most {LONGEST_NAME} characters."
_NO_EVENT = f"must be a text of 1 to {LONGEST_NAME} characters in a track call."


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
    if type(kind) is not str or kind not in TYPES:
        raise EnvelopeError("type", _NOT_A_TYPE)
    for field, holds, message in _OPTIONAL_FIELDS:
        value = raw.get(field)
        if value is not None and not holds(value):
            raise EnvelopeError(field, message)
    if kind == "track" and not (raw.get("event") or "").strip():
        raise EnvelopeError("event", _NO_EVENT)
    if not is_storable(raw):
        raise EnvelopeError(*(find_flaw(raw) or ("event", "cannot be stored.")))


def _is_name(value: object) -> bool:
    return type(value) is str and len(value) <= LONGEST_NAME


def _is_object(value: object) -> bool:
    return type(value) is dict


def _is_id(value: object) -> bool:
    return (type(value) is str and len(value) <= LONGEST_ID) or type(value) is int


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
        validate=validate.OneOf(TYPES, error=_NOT_A_TYPE),
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
        flaw = find_flaw(original)
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
        return json_text.read(body)
    except UnicodeDecodeError:
        raise EnvelopeError("body", "must be JSON in UTF-8.") from None
    except RecursionError:
        raise EnvelopeError("body", "is nested too deeply.") from None
    except json.JSONDecodeError as error:
        raise EnvelopeError("body", f"is not JSON: {_in_words(error)}.") from None
    except ValueError:
        raise EnvelopeError("body", "has a number with too many digits.") from None


def _in_words(error: json.JSONDecodeError) -> str:
    if isinstance(error, json_text.NoNumberError):
        return error.msg
    return f"{error.msg.lower()} at line {error.lineno}, column {error.colno}"
