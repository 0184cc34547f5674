"""Set apart what Pinterest may have already, where a second copy could count twice."""

from collections.abc import Sequence

from worker.ledger.batches import UNKNOWN_OUTCOME, Ending, Member
from worker.pinterest.verdict import ReasonClass

# Beyond this age a second copy is counted as offline and may not be deduplicated.
DEDUP_SECONDS = 3_600


# After these Pinterest may have the events, whatever a later try said.
MAY_HAVE_ARRIVED = (
    ReasonClass.UNAVAILABLE,
    ReasonClass.NO_ANSWER,
    ReasonClass.UNREADABLE,
    ReasonClass.UNEXPECTED,
)
# Some of the events were processed, and the answer did not say which.
PARTLY_PROCESSED = 422


def at_risk(everyone: Sequence[Member], then: float, *, offline: bool) -> list[Member]:
    """Return the events of which a second copy, sent at a time, could count twice."""
    return [one for one in everyone if offline or one.event_time < then - DEDUP_SECONDS]


def without(everyone: Sequence[Member], risky: Sequence[Member]) -> list[int]:
    """Return the ids of the other events."""
    risky_ids = {one.id for one in risky}
    return [one.id for one in everyone if one.id not in risky_ids]


def wait_for_a_hand(risky: Sequence[Member], reason: str) -> list[Ending]:
    """Return endings that leave it to a person whether the events are sent again."""
    words = f"Pinterest may have it already, and a second copy could count twice. {reason}"
    return [Ending(one.id, UNKNOWN_OUTCOME, words) for one in risky]
