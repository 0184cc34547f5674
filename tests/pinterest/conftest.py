"""Shared helpers for tests of the mapping: a visitor, a request, and functions that map a call."""

from hashlib import sha256
from typing import Any

import pytest

from tests.http.conftest import connect, serve  # noqa: F401 - fixtures of this package too
from worker.event.received import Received
from worker.pinterest.mapping.call import Options
from worker.pinterest.mapping.mapping import Mapped, Outcome, map_event
from worker.pinterest.user_data.visitor import Visitor, apply_identify

NOW = 1706540001.0
RECEIVED_AT = 1706540000.25
PIN_UNAUTH = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"
EPIK = "epik_abc123def456"
EM = "836f82db99121b3481011f16b49dfa5fbc714a0d1b1b9f784a1ebbbf5b39577f"


def sha(text: str) -> str:
    """Return the SHA-256 of a text, in hex."""
    return sha256(text.encode()).hexdigest()


def browser(**changes: Any) -> Received:
    """Describe how a call from a browser was received."""
    defaults = {"ip": "203.0.113.50", "user_agent": "Mozilla/5.0 ...", "received_at": RECEIVED_AT}
    return Received(channel="browser", **{**defaults, **changes})


def server(**changes: Any) -> Received:
    """Describe how a call from a server was received."""
    return Received(channel="server", **{"received_at": RECEIVED_AT, **changes})


def track(name: str = "Order Completed", properties: Any = None, **fields: Any) -> dict[str, Any]:
    """Return a track call."""
    return {"type": "track", "event": name, "messageId": "evt_1", "properties": properties or {}} | fields


def run(event: dict[str, Any], **changes: Any) -> list[Outcome]:
    """Map an event of a browser, by default without required consent."""
    arguments: dict[str, Any] = {
        "received": browser(),
        "visitor": Visitor.EMPTY,
        "options": Options(),
        "now": NOW,
        "default_consent": "drop",
    }
    return map_event(event, **(arguments | changes))


def payload(event: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Map an event that must become exactly one payload."""
    (outcome,) = run(event, **changes)
    assert isinstance(outcome, Mapped), outcome
    return outcome.payload


def custom_data(properties: dict[str, Any], name: str = "Product Added", **changes: Any) -> dict[str, Any]:
    """Map an event with these properties and return its custom data."""
    return payload(track(name, properties), **changes).get("custom_data", {})


@pytest.fixture
def john() -> Visitor:
    """Return a visitor who was identified by e-mail earlier."""
    identify = {"type": "identify", "traits": {"email": "john.doe@example.com"}}
    return apply_identify(Visitor.EMPTY, identify, browser(), None)
