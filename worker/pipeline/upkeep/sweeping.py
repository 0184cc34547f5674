"""Find the work of stopped workers, and send hints for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from worker import logs
from worker.ledger.database import Ledger
from worker.ledger.delivery import batches
from worker.ledger.delivery.batches import Attempt
from worker.ledger.intake import inbox, leases
from worker.pinterest.client.answer_decisions import ReasonClass
from worker.pipeline.delivery.possible_duplicates import events_at_risk, ids_without, unknown_outcomes

log = logs.of(__name__)

# Rows get a hint right after their commit. Older rows that still wait were forgotten.
_GRACE_SECONDS = 5.0
# Interval of hints for an inbox row that no worker takes.
_RANGE_HINT_INTERVAL_SECONDS = 60.0
# Interval of hints for a batch that is due.
_BATCH_HINT_INTERVAL_SECONDS = 30.0
# With more messages in the queue, few hints are sent: most rows have one in the queue, but a lost one must not wait
# until the queue is short.
_MAX_EVENT_QUEUE_MESSAGES = 200
_RANGES_PER_SWEEP = 100
_FEW_RANGES_PER_SWEEP = 10
# The same for batches. Postponed batches depend on these hints, so the limit is far above what busy workers
# leave in the queue.
_MAX_DELIVERY_QUEUE_MESSAGES = 5_000
_BATCHES_PER_SWEEP = 500
_FEW_BATCHES_PER_SWEEP = 10

_WORKER_LOST = "The worker that was sending it did not come back."


@dataclass(frozen=True, slots=True)
class Hints:
    """Hold how hints are sent; None for a queue length means that the broker is away."""

    ranges: Callable[[Sequence[tuple[int, int]]], None]
    batches: Callable[[Sequence[int]], None]
    queued_events: Callable[[], int | None]
    queued_batches: Callable[[], int | None]


def sweep_ledger(ledger: Ledger, hints: Hints, now: float) -> dict[str, int]:
    """Take back batches of dead workers, and send hints for all due work; return counts of each."""
    return {
        "taken_back": _take_batches_back(ledger, hints, now),
        "batches": _hint_at_batches(ledger, hints, now),
        "ranges": _hint_at_inbox(ledger, hints, now),
    }


def _take_batches_back(ledger: Ledger, hints: Hints, now: float) -> int:
    with ledger.read() as connection:
        batch_ids = batches.expired_batches(connection, now)
    count = 0
    for batch_id in batch_ids:
        with ledger.write() as connection:
            parts = _take_batch_back(connection, batch_id, now)
        if parts:
            hints.batches(parts)
        if parts is not None:
            count += 1
            log.warning("batch_taken_back", batch_id=batch_id, parts=len(parts))
    return count


def _take_batch_back(connection: Connection, batch_id: int, now: float) -> list[int] | None:
    """Take a batch from a worker whose lease expired; its attempt number keeps that worker from settling it.

    Whether it was sent is unknown, so events that could count twice need manual action. Returns the ids of new
    batches with the other events, an empty list if the batch itself goes on, None if there was nothing to take.
    """
    batch = batches.lock_expired_batch(connection, batch_id, now)
    if batch is None:
        return None
    members = batches.batch_members(connection, batch_id)
    risky = events_at_risk(members, now, offline=batch.offline)
    attempt = Attempt(now, 0.0, None, ReasonClass.NO_ANSWER, _WORKER_LOST)
    batches.record_attempt(connection, batch, attempt, members)
    if not risky:
        batches.requeue_batch(connection, batch, now, spent=True, reason_class=ReasonClass.NO_ANSWER)
        return []
    ids = ids_without(members, risky)
    tried = replace(batch, attempts_spent=batch.attempts_spent + 1)
    endings = unknown_outcomes(risky, _WORKER_LOST)
    return batches.split_batch(connection, tried, members, [ids] if ids else [], endings, now, now)


def _hint_at_batches(ledger: Ledger, hints: Hints, now: float) -> int:
    with ledger.read() as connection:
        if not batches.any_batch_due(connection, now, now - _BATCH_HINT_INTERVAL_SECONDS):
            return 0
    is_queue_long = _exceeds(hints.queued_batches(), _MAX_DELIVERY_QUEUE_MESSAGES)
    limit = _FEW_BATCHES_PER_SWEEP if is_queue_long else _BATCHES_PER_SWEEP
    with ledger.write() as connection:
        due = batches.take_due_batches(connection, now, now - _BATCH_HINT_INTERVAL_SECONDS, limit)
    hints.batches(due)
    return len(due)


def _hint_at_inbox(ledger: Ledger, hints: Hints, now: float) -> int:
    abandoned = _hint_at_abandoned(ledger, hints)
    with ledger.read() as connection:
        if not inbox.overdue_ids(connection, 0, now - _GRACE_SECONDS, 1):
            return abandoned
    is_queue_long = _exceeds(hints.queued_events(), _MAX_EVENT_QUEUE_MESSAGES)
    with ledger.write() as connection:
        ranges = leases.overdue_ranges(
            connection,
            now - _GRACE_SECONDS,
            _FEW_RANGES_PER_SWEEP if is_queue_long else _RANGES_PER_SWEEP,
            _RANGE_HINT_INTERVAL_SECONDS,
            now,
            leases.leased_ids(connection),
            is_queue_long=is_queue_long,
        )
    hints.ranges(ranges)
    return abandoned + len(ranges)


def _hint_at_abandoned(ledger: Ledger, hints: Hints) -> int:
    """Send hints for rows of workers that died or hang, and for rows that a worker gave back."""
    with ledger.read() as connection:
        if not leases.any_lease_expired(connection):
            return 0
    with ledger.write() as connection:
        ids = inbox.still_waiting(connection, leases.take_expired_leases(connection))
    ranges = leases.narrow_ranges(ids)
    hints.ranges(ranges)
    return len(ranges)


def _exceeds(queued: int | None, limit: int) -> bool:
    return queued is not None and queued > limit
