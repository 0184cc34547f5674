"""Find the events of a batch that could count twice if they are sent again."""

from collections.abc import Sequence

from worker.ledger.delivery.batches import UNKNOWN_OUTCOME, Member, MemberResult

# Pinterest may not deduplicate a second copy of an older event.
_DEDUP_SECONDS = 3_600


def events_at_risk(members: Sequence[Member], then: float, *, offline: bool) -> list[Member]:
    """Return the events that could count twice if they are sent again at `then`."""
    return [member for member in members if offline or member.event_time < then - _DEDUP_SECONDS]


def ids_without(members: Sequence[Member], risky: Sequence[Member]) -> list[int]:
    """Return the ids of the members that are not at risk."""
    risky_ids = {member.id for member in risky}
    return [member.id for member in members if member.id not in risky_ids]


def unknown_outcomes(risky: Sequence[Member], reason: str) -> list[MemberResult]:
    """Return results for events that an operator has to retry or discard."""
    message = f"Pinterest may have it already, and a second copy could count twice. {reason}"
    return [MemberResult(member.id, UNKNOWN_OUTCOME, message) for member in risky]
