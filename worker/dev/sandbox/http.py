"""Requests and responses."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

HTML = "text/html; charset=utf-8"
_JSON = "application/json"
JSON_LINES = "application/x-ndjson"


@dataclass(frozen=True)
class Request:
    """A complete request; header names are case-insensitive."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Fault:
    """A fault on the network.

    `close` and `reset` send nothing, and end the connection in order or with a TCP reset. `truncate`
    announces the whole body and closes after `amount` bytes of it, always short of the end. `drip` sends
    `amount` bytes a second.
    """

    kind: str
    amount: float = 0.0


@dataclass(frozen=True)
class Response:
    """An answer; an iterator of bytes is sent in chunks, with a turn for other requests between them."""

    status: int
    body: bytes | Iterator[bytes]
    content_type: str = _JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    fault: Fault | None = None
