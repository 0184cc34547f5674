"""What the mapping's tests share: a visitor, a request, and a way to map one call."""

from typing import Any

import pytest

from tests.http.conftest import connect, serve  # noqa: F401 - fixtures of this room as well
from worker.event.received import Received
from worker.pinterest.mapping.call import Options
from worker.pinterest.mapping.mapping import Mapped, Outcome, map_event
from worker.pinterest.user_data.visitor import Visitor, apply_identify

NOW = 1706540001.0
RECEIVED_AT = 1706540000.25
PIN_UNAUTH = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"
EPIK = "epik_abc123def456"
EM = "836f82db99121b3481011f16b49dfa5fbc714a0d1b1b9f784a1ebbbf5b39577f"


def browser(**changes: Any) -> Received:
    """Return how a browser's call comes in."""
    known: dict[str, Any] = {
        "ip": "203.0.113.50",
        "user_agent": "Mozilla/5.0 ...",
        "received_at": RECEIVED_AT,
    }
    return Received(channel="browser", **{**known, **changes})


def server(**changes: Any) -> Received:
    """Return how a server's call comes in."""
    return Received(channel="server", **{"received_at": RECEIVED_AT, **changes})


def track(name: str = "Order Completed", properties: Any = None, **fields: Any) -> dict[str, Any]:
    """Return a track call."""
    made: dict[str, Any] = {
        "type": "track",
        "event": name,
        "messageId": "evt_1",
        "properties": properties or {},
    }
    return made | fields


def run(event: dict[str, Any], **changes: Any) -> list[Outcome]:
    """Map an event of a browser, with consent asked for nothing unless told so."""
    arguments: dict[str, Any] = {
        "received": browser(),
        "visitor": Visitor.EMPTY,
        "options": Options(),
        "now": NOW,
        "default_consent": "drop",
    }
    return map_event(event, **(arguments | changes))


def payload(event: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Map an event that has to become exactly one payload."""
    (outcome,) = run(event, **changes)
    assert isinstance(outcome, Mapped), outcome
    return outcome.payload


def custom_data(properties: dict[str, Any], name: str = "Product Added", **changes: Any) -> dict[str, Any]:
    """Map an event with these properties and return its custom data."""
    return payload(track(name, properties), **changes).get("custom_data", {})


@pytest.fixture
def john() -> Visitor:
    """Return a visitor who was identified earlier by e-mail."""
    identify = {"type": "identify", "traits": {"email": "john.doe@example.com"}}
    return apply_identify(Visitor.EMPTY, identify, browser(), None)
