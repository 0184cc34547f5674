"""What can become of an event for one integration."""

from dataclasses import dataclass
from typing import Any


# Freezing it would cost as much as hashing four values.
@dataclass(slots=True)
class Mapped:
    """Hold an event as Pinterest accepts it.

    ``offline`` events cannot be deduplicated; ``late`` ones are over an hour old. ``identifiers`` names those
    that were present, with ``ip_ua`` for the pair of address and user agent.
    """

    event_name: str
    event_id: str
    event_time: int
    action_source: str
    payload: dict[str, Any]
    source_name: str
    custom_event_name: str | None
    late: bool
    offline: bool
    computed: tuple[str, ...]
    warnings: tuple[str, ...]
    identifiers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """Hold an event that may not be sent, and why; with its payload if that would pass by force."""

    event_name: str | None
    event_id: str
    source_name: str
    reason_class: str
    reason: str
    payload: dict[str, Any] | None = None
    custom_event_name: str | None = None
    event_time: int | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Filtered:
    """Hold an event that consent or the bot filter stopped."""

    event_id: str
    source_name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """Hold an event that an override dropped, or that counts only when it is signed."""

    event_id: str
    source_name: str
    reason: str
    reason_class: str = "override"


Outcome = Mapped | Failed | Filtered | Dropped
