"""One event as the steps of its mapping see it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any

from worker.events.identity import page_url
from worker.events.keys import fold_keys
from worker.events.received import Received
from worker.events.redact import clean_free_text
from worker.events.text import clean_text
from worker.pinterest.options import Options

PAGE_NAME = "page"
_LONGEST_NAME = 256
_NOTHING: Mapping[str, Any] = {}


@dataclass(slots=True)
class Call:
    """Hold an event beside what follows from it; ``properties`` are under folded keys, without nulls."""

    event: Mapping[str, Any]
    received: Received
    options: Options
    context: Mapping[str, Any]
    properties: Mapping[str, Any]
    name: str
    event_id: str
    page_url: str | None


def read_call(event: Mapping[str, Any], received: Received, options: Options) -> Call:
    """Return a ``track`` or ``page`` call, whatever its fields hold."""
    context = event.get("context")
    properties = fold_keys(event.get("properties"))
    return Call(
        event=event,
        received=received,
        options=options,
        context=context if isinstance(context, dict) else _NOTHING,
        properties=properties,
        name=_name(event, options),
        event_id=_event_id(event, properties, received),
        page_url=page_url(event),
    )


def _name(event: Mapping[str, Any], options: Options) -> str:
    if event["type"] == "page":
        return PAGE_NAME
    raw = event.get("event")
    if type(raw) is str and len(raw) <= _LONGEST_NAME:
        return _clean_name(raw, options.clean_free_text)
    return ""


@lru_cache(maxsize=4096)
def _clean_name(raw: str, clean: bool) -> str:
    name = clean_text(raw) or ""
    return clean_free_text(name) if clean else name


def _event_id(event: Mapping[str, Any], properties: Mapping[str, Any], received: Received) -> str:
    """Return the id that Pinterest deduplicates by: the caller's, else the message's.

    An event without either has one made of its content and its receipt, the same at each attempt.
    """
    given = clean_text(properties.get("eventid"), _LONGEST_NAME)
    return given or clean_text(event.get("messageId"), _LONGEST_NAME) or _made_up_id(event, received)


def _made_up_id(event: Mapping[str, Any], received: Received) -> str:
    try:
        content = json.dumps(event, sort_keys=True, default=str)
    except (ValueError, RecursionError):
        # Numbers and depths that no accepted event has.
        content = str(len(event))
    return f"evt_{sha256(f'{received.received_at} {content}'.encode()).hexdigest()[:32]}"
