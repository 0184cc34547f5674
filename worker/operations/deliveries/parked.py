"""List accepted events that were set aside, and let them be processed again."""

from dataclasses import dataclass

from worker.ledger.intake import inbox
from worker.ledger.intake.inbox import Parked
from worker.operations.caller import Caller

_ROWS_A_STEP = 500
# A request of the Management API has to end while its caller waits.
_MOST_A_CALL = 10_000


@dataclass(frozen=True, slots=True)
class _Unparked:
    """Count the events that are processed again, and those that are still set aside."""

    unparked: int
    left: int


def list_parked(caller: Caller) -> list[Parked]:
    """Count the events that are set aside, by reason, the most frequent reason first."""
    with caller.ledger.read() as connection:
        return inbox.parked_by_reason(connection)


def unpark(caller: Caller, most: int | None = _MOST_A_CALL) -> _Unparked:
    """Let events that were set aside be processed again; the sweeper finds them in a minute or two.

    ``most`` bounds one call, None bounds nothing. Safe to repeat: each event is processed once.
    """
    unparked = last_id = 0
    while most is None or unparked < most:
        limit = _ROWS_A_STEP if most is None else min(_ROWS_A_STEP, most - unparked)
        with caller.ledger.read() as connection:
            ids = inbox.parked_ids(connection, last_id, limit)
        if not ids:
            break
        last_id = ids[-1]
        with caller.changing() as change:
            step = inbox.unpark_events(change.connection, ids)
            if step:
                change.record("parked.retry", f"{step} events", {"ids": ids})
        unparked += step
    return _Unparked(unparked, sum(group.events for group in list_parked(caller)))
