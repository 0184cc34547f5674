"""Keep an event whole, with each decision about it, while its source is debugged."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from worker.event import json_text
from worker.event.received import Received
from worker.ledger.delivery.deliveries import NewDelivery
from worker.ledger.intake.debug_inputs import INPUT, RETENTION_SECONDS, Input, NewInput
from worker.ledger.vault import Vault
from worker.pinterest.mapping.call import Explanation
from worker.pipeline.ingest.accepting import OpenedEvent
from worker.pipeline.ingest.outcomes import Destination


@dataclass(frozen=True, slots=True)
class Decision:
    """Hold how one integration decided about an event, step by step."""

    integration_id: str
    integration: str
    lines: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class DebuggedEvent:
    """Hold an event as it came in, and what was decided."""

    event: Mapping[str, Any]
    received: Received
    decisions: list[Decision]


def decision_of(target: Destination, explanation: Explanation) -> Decision:
    """Note what one integration decided."""
    return Decision(target.integration.id, target.integration.name, explanation.to_dict())


def seal_debug_input(
    one: OpenedEvent,
    outcome: str,
    decisions: Sequence[Decision],
    made: Sequence[NewDelivery],
    vault: Vault,
    debug_until: float,
) -> NewInput:
    """Seal an event with what was decided about it."""
    event = one.event
    body = {
        "event": event,
        "received": one.received.to_dict(),
        "decisions": [asdict(decided) for decided in decisions],
    }
    name = event.get("event") if event.get("type") == "track" else event.get("type")
    return NewInput(
        source_id=one.row.source_id,
        event_id=made[0].event_id if made else str(event.get("messageId") or ""),
        name=str(name),
        outcome=outcome,
        received_at=one.row.received_at,
        forget_at=debug_until + RETENTION_SECONDS,
        body=vault.seal(json_text.format_json(body), INPUT),
        anonymous_key=one.row.anonymous_key,
        user_key=one.row.user_key,
        trust=one.row.trust,
    )


def open_debug_input(vault: Vault, kept: Input) -> DebuggedEvent:
    """Open what was kept.

    Raises:
        SealError: the key is not in the ring any more.
    """
    body = json_text.parse_json(vault.open(kept.body, INPUT))
    decisions = [Decision(**decided) for decided in body["decisions"]]
    return DebuggedEvent(body["event"], Received.from_dict(body["received"]), decisions)
