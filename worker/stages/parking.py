"""Let events that were set aside be worked on again."""

from dataclasses import dataclass

from worker.ledger import audit, inbox
from worker.ledger.engine import Ledger

ROWS_A_STEP = 500
# A request of the Management API has to end while somebody waits for it.
MOST_A_CALL = 10_000


@dataclass(frozen=True, slots=True)
class Unparked:
    """Count what is worked on again, and what is still set aside."""

    unparked: int
    left: int


def unpark(ledger: Ledger, now: float, actor: str, most: int | None = MOST_A_CALL) -> Unparked:
    """Let what was set aside be worked on again, each event once; the sweeper finds it in a minute or two."""
    unparked = last_id = 0
    while most is None or unparked < most:
        limit = ROWS_A_STEP if most is None else min(ROWS_A_STEP, most - unparked)
        with ledger.read() as connection:
            ids = inbox.parked_ids(connection, last_id, limit)
        if not ids:
            break
        last_id = ids[-1]
        with ledger.write() as connection:
            step = inbox.unpark(connection, ids)
            audit.write(connection, now, actor, "parked.retry", f"{step} events", {"ids": ids})
        unparked += step
    with ledger.read() as connection:
        return Unparked(unparked, sum(group.events for group in inbox.parked(connection)))
