"""Events of many visitors, valid and invalid, with the expected outcome of each."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

ITEM = {"product_id": "SKU-A", "name": "Widget", "price": 49.99, "quantity": 1}
ORDER = {"total": 49.99, "currency": "USD", "products": [ITEM]}

# How an event ends: in Pinterest's name for it, or in one of these.
REFUSED, CONSUMED, FILTERED, FAILED = "refused", "consumed", "filtered", "failed"

Make = Callable[[dict[str, Any]], dict[str, Any]]


def _track(name: str, properties: dict[str, Any] | None = None, **more: Any) -> Make:
    def make(base: dict[str, Any]) -> dict[str, Any]:
        return base | {"type": "track", "event": name, "properties": properties or {}} | more

    return make


def _of_type(kind: str, **more: Any) -> Make:
    return lambda base: base | {"type": kind} | more


def _of_a_user(kind: str, traits: dict[str, Any]) -> Make:
    # One user for each browser: a single id for everybody would make all workers wait for one row.
    return lambda base: base | {"type": kind, "userId": f"user of {base['anonymousId']}", "traits": traits}


def _without_consent(base: dict[str, Any]) -> dict[str, Any]:
    return _track("Signed Up")(base | {"context": base["context"] | {"consent": {"advertising": False}}})


def _with_consent_unknown(base: dict[str, Any]) -> dict[str, Any]:
    return _of_type("page")(base | {"context": {"page": base["context"]["page"]}})


def _days_ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="milliseconds")


# Each kind of event, and how it ends.
KINDS: tuple[tuple[Make, str], ...] = (
    (_of_type("page"), "page_visit"),
    (_track("Product Added", ITEM | {"currency": "USD"}), "add_to_cart"),
    (_track("Order Completed", ORDER), "checkout"),
    (_track("Product Viewed", ITEM | {"currency": "USD"}), "view_category"),
    (_track("Signed Up"), "signup"),
    (_track("Lead Generated", {"lead_type": "newsletter"}), "lead"),
    (_track("Products Searched", {"query": "lamp"}), "search"),
    (_track("Newsletter Opened", {"edition": 7}), "custom"),
    (_track("Wurst Gebraten", {"anzahl": 3}), "custom"),
    (_of_type("page", timestamp=_days_ago(0.5)), "page_visit"),
    (_of_a_user("identify", {"email": "someone@example.org"}), CONSUMED),
    (_of_a_user("group", {"name": "Buyers"}), CONSUMED),
    (_without_consent, FILTERED),
    (_with_consent_unknown, FILTERED),
    (_track("Order Completed", {"order_id": "ORD-without-value", "currency": "USD"}), FAILED),
    (_track("Signed Up", timestamp=_days_ago(8)), FAILED),
    (_of_type("wave"), REFUSED),
    (_track(""), REFUSED),
    (_of_type("page", timestamp="yesterday"), REFUSED),
    (_of_type("page", context="none"), REFUSED),
)


@dataclass(slots=True)
class Crowd:
    """Events in the order of sending, and what is expected of them."""

    events: list[dict[str, Any]] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    delivered: set[tuple[str, str]] = field(default_factory=set)


def crowd(n: int, seed: int, duplicates: float = 0.1) -> Crowd:
    """Create ``n`` events; some of them are copies of an earlier one."""
    chance = random.Random(seed)
    made = Crowd()
    good: list[dict[str, Any]] = []
    for number in range(n):
        if good and chance.random() < duplicates:
            made.events.append(chance.choice(good))
            made.ends["duplicate"] += 1
            continue
        make, end = chance.choice(KINDS)
        event = make(_base(chance, f"evt_{seed}_{number}"))
        made.events.append(event)
        if end == REFUSED:
            made.refused.append(number)
        elif end in (CONSUMED, FILTERED, FAILED):
            made.ends[end] += 1
        else:
            good.append(event)
            made.ends["delivered"] += 1
            made.delivered.add((event["messageId"], end))
    return made


def _base(chance: random.Random, message_id: str) -> dict[str, Any]:
    return {
        "messageId": message_id,
        # So few visitors that they return while their earlier events are still being processed.
        "anonymousId": str(UUID(int=chance.randrange(200), version=4)),
        "context": {"page": {"url": "https://example.com/p"}, "consent": {"advertising": True}},
    }
