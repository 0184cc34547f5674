"""Read requests of Segment's and RudderStack's libraries, and translate their messages to events.

Formats: https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/ and
https://www.rudderstack.com/docs/api/http-api/. RudderStack's libraries send the same messages.
"""

import json
from collections.abc import Mapping
from math import inf
from typing import Any

from worker.collector.error_responses import RefusedError

# The last part of a path, and the type of its messages; None takes the type of each message.
CALLS: Mapping[str, str | None] = {
    "track": "track",
    "page": "page",
    "screen": "screen",
    "identify": "identify",
    "group": "group",
    "alias": "alias",
    "s": "screen",
    "a": "alias",
    "b": None,
    "import": None,
}
# Segment takes as many messages in 500 KB.
MAX_BATCH_EVENTS = 2_500
# Each event is stored with what its batch shares: a compressed request of 300 bytes could become 150 MB.
_MOST_COPIED_BYTES = 4 * 1024 * 1024

_UNUSED = frozenset(("integrations", "writeKey", "_metadata", "channel", "request_ip", "receivedAt"))


def key_in_body(body: object) -> str | None:
    """Return the write key of a message or a batch."""
    key = body.get("writeKey") if isinstance(body, dict) else None
    return key if isinstance(key, str) and key else None


def to_events(body: object, kind: str | None) -> list[object]:
    """Return the events of a request: of its ``batch``, or the one that it is. What is no message is left as it is.

    Raises:
        RefusedError: 413, the events would hold too many copies of what they share.
    """
    batch = body.get("batch") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(batch, list):
        return [_to_event(body, kind)]
    shared = {name: body[name] for name in ("sentAt", "context") if body.get(name) is not None}
    if shared and len(batch) * _size(shared) > _MOST_COPIED_BYTES:
        message = "context is too large for as many messages as the batch has; send fewer of them together."
        raise RefusedError(413, "BODY_TOO_LARGE", message)
    return [_to_event(message, kind, shared) for message in batch]


def _size(shared: Mapping[str, Any]) -> float:
    try:
        return len(json.dumps(shared))
    except RecursionError:
        return inf


def _to_event(message: object, kind: str | None, shared: Mapping[str, Any] | None = None) -> object:
    """Return a message as an event.

    A screen is a page. An alias is an identify call of the former id. ``originalTimestamp`` is the sender's time if
    there is no ``timestamp``. ``shared`` has the batch's ``sentAt`` and ``context``.
    """
    if not isinstance(message, dict):
        return message
    event = {name: value for name, value in message.items() if name not in _UNUSED}
    shared = shared or {}
    own_kind = kind or event.get("type")
    event["type"] = {"screen": "page", "alias": "identify"}.get(str(own_kind), own_kind)
    if own_kind == "alias":
        event["anonymousId"] = event.pop("previousId", None) or event.get("anonymousId")
    if not event.get("timestamp"):
        event["timestamp"] = event.get("originalTimestamp")
    if not event.get("sentAt"):
        event["sentAt"] = shared.get("sentAt")
    context = event.get("context")
    if own_kind in ("identify", "group") and event.get("traits") is None and isinstance(context, dict):
        # RudderStack's libraries put them there.
        event["traits"] = context.get("traits")
    if isinstance(shared.get("context"), dict) and (context is None or isinstance(context, dict)):
        event["context"] = shared["context"] | (context or {})
    return {name: value for name, value in event.items() if value is not None}


def source_config(source_id: str, name: str, key: str) -> dict[str, Any]:
    """Return the configuration that RudderStack's browser library asks for before it sends anything."""
    return {
        "source": {
            "id": source_id,
            "name": name,
            "writeKey": key,
            "enabled": True,
            "workspaceId": "signal",
            "config": {"statsCollection": {"errors": {"enabled": False}, "metrics": {"enabled": False}}},
            "connections": [],
            "destinations": [],
            "dataplanes": {},
        },
        "updatedAt": "1970-01-01T00:00:00.000Z",
    }
