"""Group pending events into batches."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from worker.ledger.database import Ledger
from worker.ledger.delivery import new_batches
from worker.ledger.delivery.new_batches import BatchGroup

# Batches of one credential that may be ready or sending: those in flight at 100 requests/s with answers after
# 200 ms, and as many again that are ready until the next tick.
_WINDOW_BATCHES = 48

# Small batches share a transaction for this long, because other writers wait. One full batch takes about as long.
_MAX_TRANSACTION_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class BatchingPolicy:
    """Hold when a group may be claimed, and how many batches one tick may create."""

    interval_seconds: float
    window: int = _WINDOW_BATCHES
    most_batches: int = 200


def claim_due_batches(
    ledger: Ledger, policy: BatchingPolicy, now: Callable[[], float], hint: Callable[[Sequence[int]], None]
) -> list[int]:
    """Claim full or due batches; send hints for them after the commit; return their ids.

    Safe to run twice or concurrently: events that are claimed already are skipped.
    """
    # Find due groups in a read transaction, which blocks no writer.
    with ledger.read() as connection:
        at = now()
        due = [
            group
            for group, oldest in new_batches.pending_groups(connection, at)
            if new_batches.is_batch_due(connection, group, oldest, policy.interval_seconds, at)
        ]
        if len(due) > policy.most_batches:
            # Not all get a batch in this tick: those that have waited longest for one come first.
            latest = new_batches.latest_claims(connection)
            due.sort(key=lambda group: latest.get(group, 0))
        groups = deque(due)
    batch_ids: list[int] = []
    while groups and len(batch_ids) < policy.most_batches:
        new_ids = _claim_some(ledger, groups, policy, now, policy.most_batches - len(batch_ids))
        if new_ids:
            hint(new_ids)
        batch_ids += new_ids
    return batch_ids


def _claim_some(
    ledger: Ledger, groups: deque[BatchGroup], policy: BatchingPolicy, now: Callable[[], float], limit: int
) -> list[int]:
    """Claim one or more batches in a transaction of about `_MAX_TRANSACTION_SECONDS`."""
    batch_ids: list[int] = []
    with ledger.write() as connection:
        start = time.monotonic()
        while groups and len(batch_ids) < limit:
            # Round robin: a group with a backlog must not delay the others.
            group = groups.popleft()
            batch_id = new_batches.claim_batch(
                connection, group, policy.window, now(), policy.interval_seconds
            )
            if batch_id is not None:
                batch_ids.append(batch_id)
                groups.append(group)
            if time.monotonic() - start > _MAX_TRANSACTION_SECONDS:
                break
    return batch_ids
