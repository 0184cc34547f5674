"""Store events and the decisions about them while their source is debugged."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from worker import retention
from worker.event import json_text
from worker.event.received import Received
from worker.ledger.delivery.new_deliveries import NewDelivery
from worker.ledger.intake.debug_inputs import INPUT, Input, NewInput
from worker.ledger.vault import Vault
from worker.pipeline.ingest.accepting import OpenedEvent


@dataclass(frozen=True, slots=True)
class Decision:
    """Hold how one integration decided about an event, step by step."""

    integration_id: str
    integration: str
    lines: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _DebuggedEvent:
    """Hold an event as received, and the decisions about it."""

    event: Mapping[str, Any]
    received: Received
    decisions: list[Decision]


def seal_debug_input(
    opened: OpenedEvent,
    outcome: str,
    decisions: Sequence[Decision],
    deliveries: Sequence[NewDelivery],
    vault: Vault,
    debug_until: float,
) -> NewInput:
    """Seal an event with the decisions about it."""
    event = opened.event
    body = {
        "event": event,
        "received": opened.received.to_dict(),
        "decisions": [asdict(decision) for decision in decisions],
    }
    name = event.get("event") if event.get("type") == "track" else event.get("type")
    return NewInput(
        source_id=opened.row.source_id,
        event_id=deliveries[0].event_id if deliveries else str(event.get("messageId") or ""),
        name=str(name),
        outcome=outcome,
        received_at=opened.row.received_at,
        forget_at=debug_until + retention.DEBUG_INPUT_SECONDS,
        body=vault.seal(json_text.format_json(body), INPUT),
        anonymous_key=opened.row.anonymous_key,
        user_key=opened.row.user_key,
        trust=opened.row.trust,
    )


def open_debug_input(vault: Vault, row: Input) -> _DebuggedEvent:
    """Open a stored event.

    Raises:
        SealError: its key is no longer in the key ring.
    """
    body = json_text.parse_json(vault.open(row.body, INPUT))
    decisions = [Decision(**decision) for decision in body["decisions"]]
    return _DebuggedEvent(body["event"], Received.from_dict(body["received"]), decisions)
