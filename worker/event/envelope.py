"""Validate an incoming event."""

import json
import math
from collections.abc import Callable
from typing import Any

from worker.event import json_text
from worker.event.text import shown_key
from worker.event.times import parse_time

_MAX_DEPTH = 32
_LARGEST_INTEGER = 2**63
_LONGEST_PATH = 200

_DEPTH = f"is nested more than {_MAX_DEPTH} levels deep."
_NUMBER = "must be a finite number."
_INTEGER = "is a whole number of more than 18 digits: send it as text."
_CHARACTERS = "has a null byte or half a surrogate pair in it."
_KEY = "has a key with a null byte or half a surrogate pair in it."
_TYPE = "is not a JSON type."


def find_flaw(root: Any) -> tuple[str, str] | None:
    """Return the path of the first value that cannot be stored, and the reason."""
    steps_and_flaw = _find_flaw_at(root, 0)
    if steps_and_flaw is None:
        return None
    # Build the path only when there is a flaw: a long key would be copied into the path of every value below it.
    steps, flaw = steps_and_flaw
    path = "".join(reversed(steps)).lstrip(".")
    if flaw is _DEPTH:
        path = path.split(".", maxsplit=1)[0].split("[", maxsplit=1)[0]
    if len(path) > _LONGEST_PATH:
        path = path[: _LONGEST_PATH - 1] + "…"
    return path or "event", flaw


def _find_flaw_at(value: Any, depth: int) -> tuple[list[str], str] | None:
    """Return the steps of the path to a flaw, the last step first, and the flaw."""
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
    if depth > _MAX_DEPTH:
        return [], _DEPTH
    is_object = type(container) is dict
    for key, value in container.items() if is_object else enumerate(container):
        if is_object and not (type(key) is str and _are_valid_texts([key])):
            return [], _KEY
        steps_and_flaw = _find_flaw_at(value, depth + 1)
        if steps_and_flaw:
            steps_and_flaw[0].append(f".{shown_key(key)}" if is_object else f"[{key}]")
            return steps_and_flaw
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
    """An event is invalid; ``message`` says why, ``field`` says where."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        self.message = message
        super().__init__(f"{field} {message}")


def check_envelope(raw: object) -> bytes:
    """Check the type, the names, the ids and the times of an event, and return it as compact JSON in UTF-8.

    A field that is null counts as absent. Unknown fields are accepted.

    Raises:
        EnvelopeError: names the first invalid field.
    """
    if type(raw) is not dict:
        raise EnvelopeError("event", _NOT_AN_OBJECT)
    kind = raw.get("type")
    if type(kind) is not str or kind not in _EVENT_TYPES:
        raise EnvelopeError("type", _NOT_A_TYPE)
    for field, is_valid, message in _OPTIONAL_FIELDS:
        value = raw.get(field)
        if value is not None and not is_valid(value):
            raise EnvelopeError(field, message)
    if kind == "track" and not (raw.get("event") or "").strip():
        raise EnvelopeError("event", _NO_EVENT)
    # The fast check reports some storable events as doubtful: the full one decides about those.
    text = json_text.format_storable(raw, _MAX_DEPTH)
    if text is not None:
        return text
    if flaw := find_flaw(raw):
        raise EnvelopeError(*flaw)
    return json_text.format_json(raw)


def _is_name(value: object) -> bool:
    return type(value) is str and len(value) <= _LONGEST_NAME


def _is_object(value: object) -> bool:
    return type(value) is dict


def _is_id(value: object) -> bool:
    return (type(value) is str and len(value) <= _LONGEST_ID) or type(value) is int


def _is_time(value: object) -> bool:
    # An empty text is a missing time.
    return parse_time(value) is not None or (type(value) is str and not value.strip())


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


def decode_json(body: bytes) -> object:
    """Parse a request body strictly. If an object repeats a key, the last value counts.

    Raises:
        EnvelopeError: the body is not one JSON value in UTF-8, has NaN or Infinity, is nested too deeply, or has a
            number with too many digits.
    """
    try:
        return json_text.parse_json(body)
    except UnicodeDecodeError:
        raise EnvelopeError("body", "must be JSON in UTF-8.") from None
    except RecursionError:
        raise EnvelopeError("body", "is nested too deeply.") from None
    except json.JSONDecodeError as error:
        raise EnvelopeError("body", f"is not JSON: {_describe(error)}.") from None
    except ValueError:
        raise EnvelopeError("body", "has a number with too many digits.") from None


def _describe(error: json.JSONDecodeError) -> str:
    if isinstance(error, json_text.NotANumberError):
        return error.msg
    return f"{error.msg.lower()} at line {error.lineno}, column {error.colno}"
