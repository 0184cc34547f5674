"""Read messages that carry an id and nothing else."""

from base64 import b64decode
from collections.abc import Container
from typing import Any

import orjson
from kombu.message import Message

# Each of these makes a message more than a hint, so that it is run for itself.
_OWN_RUN_HEADERS = ("eta", "expires", "retries", "group", "shadow", "stamped_headers", "compression")


def as_ids(argument: object) -> list[int]:
    """Return the ids of a message's argument, each once.

    Raises:
        TypeError: it is neither a whole number nor a list of them.
    """
    ids = argument if isinstance(argument, list | tuple) else [argument]
    for id_ in ids:
        if not isinstance(id_, int) or isinstance(id_, bool):
            raise TypeError(f"neither an id nor a list of ids: {type(argument).__name__}")
    return list(dict.fromkeys(ids))


def gatherable_ids(message: Message, revoked: Container[str]) -> list[int] | None:
    """Return the ids that a message carries, or None if it has to go the usual way."""
    headers: Any = message.headers
    return None if _is_more_than_a_hint(headers, revoked) else _ids_of(message.payload)


def stored_ids(stored: bytes, task: str, revoked: Container[str]) -> list[int] | None:
    """Return the ids of a message as it lies in Redis or Valkey, or None if kombu and Celery have to look.

    That is whatever is not a hint for this very task: they know how to run it, or how to report it.
    """
    try:
        message = orjson.loads(stored)
        headers = message["headers"]
        written = (headers["task"], message["content-type"], message["properties"]["body_encoding"])
        if written != (task, "application/json", "base64") or _is_more_than_a_hint(headers, revoked):
            return None
        return _ids_of(orjson.loads(b64decode(message["body"], validate=True)))
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def _is_more_than_a_hint(headers: dict[str, Any], revoked: Container[str]) -> bool:
    if any(headers.get(name) for name in _OWN_RUN_HEADERS) or any(headers.get("timelimit") or ()):
        return True
    return headers.get("id") in revoked


def _ids_of(payload: Any) -> list[int] | None:
    if not isinstance(payload, list | tuple):
        return None
    args, kwargs, embed = payload
    if len(args) != 1 or kwargs or any((embed or {}).values()):
        return None
    try:
        return as_ids(args[0])
    except TypeError:
        return None
