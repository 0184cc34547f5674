"""Read JSON that a sender put into a text."""

from typing import Any

from worker.event import json_text
from worker.event.envelope import find_flaw

# Tags and spreadsheets encode a value twice at most.
_MOST_LAYERS = 2
_LONGEST = 512 * 1024


def open_text(value: object) -> Any:
    """Return the object or the list that a text holds as JSON; any other value, and other text, unchanged."""
    if type(value) is not str or not looks_like_json(value):
        return value
    content: Any = value
    for _ in range(_MOST_LAYERS):
        if type(content) is not str or len(content) > _LONGEST:
            break
        try:
            content = json_text.parse_json(content.encode())
        except (ValueError, RecursionError):
            return value
    return content if type(content) in (dict, list) and find_flaw(content) is None else value


def looks_like_json(text: str) -> bool:
    """Return whether a text begins and ends like an object or a list in JSON, or like such a text encoded again."""
    inner = text.strip()
    if inner[:1] not in _STARTS:
        return False
    if inner[:1] == '"' and inner[-1:] == '"' and len(inner) > 2:
        inner = inner[1:-1].strip()
    return (inner[:1], inner[-1:]) in _BRACKETS


_BRACKETS = (("{", "}"), ("[", "]"))
_STARTS = frozenset('{["')


_OBJECT_FIELDS = ("properties", "traits", "context")


def with_opened_fields(event: Any) -> Any:
    """Return an event whose properties, traits and context, where they are objects in text, are objects."""
    if type(event) is not dict:
        return event
    fields = {field: open_text(event[field]) for field in _OBJECT_FIELDS if type(event.get(field)) is str}
    return event | fields if fields else event
