"""Find what was forgotten, and let it be worked on again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from worker import logs
from worker.ledger.database import Ledger
from worker.ledger.delivery import batches
from worker.ledger.delivery.batches import Attempt
from worker.ledger.intake import inbox, leases
from worker.ledger.upkeep import retention
from worker.pinterest.client.answers import ReasonClass
from worker.pipeline.delivery.sending import events_at_risk, ids_without, unknown_outcome_endings

log = logs.of(__name__)

# Hints come right after the commit; what still waits after this was forgotten.
GRACE_SECONDS = 5.0
# A row is hinted at anew this often, as long as nobody works on it.
RANGE_HINT_INTERVAL_SECONDS = 60.0
# A batch that is due and was hinted at is hinted at anew this often.
BATCH_HINT_INTERVAL_SECONDS = 30.0
# More than this in the queue, and hints would only make it longer.
_MAX_EVENT_QUEUE_MESSAGES = 200
_RANGES_PER_SWEEP = 100
# The same for batches: so many wait only where nobody delivers. A batch that was put off comes back by these
# hints alone, so that the bound lies far above what busy workers leave in the queue.
_MAX_DELIVERY_QUEUE_MESSAGES = 5_000

WORKER_LOST = "The worker that was sending it did not come back."


@dataclass(frozen=True, slots=True)
class Hints:
    """Hold how to send for work again; a queue's length is None where the broker does not say."""

    ranges: Callable[[Sequence[tuple[int, int]]], None]
    batches: Callable[[Sequence[int]], None]
    queued_events: Callable[[], int | None]
    queued_batches: Callable[[], int | None]


def sweep_ledger(ledger: Ledger, hints: Hints, now: float) -> dict[str, int]:
    """Take back what dead workers held, and hint again at what is due; return how much of each."""
    return {
        "taken_back": _take_batches_back(ledger, hints, now),
        "batches": _hint_at_batches(ledger, hints, now),
        "ranges": _hint_at_inbox(ledger, hints, now),
    }


def _take_batches_back(ledger: Ledger, hints: Hints, now: float) -> int:
    with ledger.read() as connection:
        lost = batches.expired_batches(connection, now)
    taken = 0
    for batch_id in lost:
        with ledger.write() as connection:
            parts = _take_batch_back(connection, batch_id, now)
        if parts:
            hints.batches(parts)
        if parts is not None:
            taken += 1
            log.warning("batch_taken_back", batch_id=batch_id, parts=len(parts))
    return taken


def _take_batch_back(connection: Connection, batch_id: int, now: float) -> list[int] | None:
    """Take a batch from a worker that is gone; the fence keeps that worker from settling it after all.

    Nobody knows whether it was sent, so what Pinterest might count twice waits for a hand. Returns what the
    rest goes on as, if not as the batch itself; None means that there was nothing to take.
    """
    lost = batches.lock_expired_batch(connection, batch_id, now)
    if lost is None:
        return None
    everyone = batches.batch_members(connection, batch_id)
    risky = events_at_risk(everyone, now, offline=lost.offline)
    batches.record_attempt(connection, lost, Attempt(now, 0.0, None, ReasonClass.NO_ANSWER, WORKER_LOST))
    if not risky:
        batches.requeue_batch(connection, lost, now, spent=True, reason_class=ReasonClass.NO_ANSWER)
        return []
    rest = ids_without(everyone, risky)
    tried = replace(lost, attempts_spent=lost.attempts_spent + 1)
    endings = unknown_outcome_endings(risky, WORKER_LOST)
    return batches.split_batch(connection, tried, everyone, [rest] if rest else [], endings, now, now)


def _hint_at_batches(ledger: Ledger, hints: Hints, now: float) -> int:
    with ledger.read() as connection:
        if not batches.any_batch_due(connection, now, now - BATCH_HINT_INTERVAL_SECONDS):
            return 0
    if _is_longer(hints.queued_batches(), _MAX_DELIVERY_QUEUE_MESSAGES):
        return 0
    with ledger.write() as connection:
        due = batches.take_due_batches(connection, now, now - BATCH_HINT_INTERVAL_SECONDS)
    hints.batches(due)
    return len(due)


def _hint_at_inbox(ledger: Ledger, hints: Hints, now: float) -> int:
    abandoned = _hint_at_abandoned(ledger, hints)
    with ledger.read() as connection:
        if not retention.any_overdue(connection, now - GRACE_SECONDS):
            return abandoned
    if _is_longer(hints.queued_events(), _MAX_EVENT_QUEUE_MESSAGES):
        return abandoned
    with ledger.write() as connection:
        ranges = retention.overdue_ranges(
            connection,
            now - GRACE_SECONDS,
            _RANGES_PER_SWEEP,
            RANGE_HINT_INTERVAL_SECONDS,
            now,
            leases.leased_ids(connection),
        )
    hints.ranges(ranges)
    return abandoned + len(ranges)


def _hint_at_abandoned(ledger: Ledger, hints: Hints) -> int:
    """Hint at once at the rows of workers that died or froze, and at what others gave back."""
    with ledger.read() as connection:
        if not leases.any_lease_expired(connection):
            return 0
    with ledger.write() as connection:
        ids = inbox.still_waiting(connection, leases.take_expired_leases(connection))
    ranges = retention.narrow_ranges(ids)
    hints.ranges(ranges)
    return len(ranges)


def _is_longer(queued: int | None, bound: int) -> bool:
    return queued is not None and queued > bound
