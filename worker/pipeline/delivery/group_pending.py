"""Group pending events into batches."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from worker.ledger.database import Ledger
from worker.ledger.delivery import claims
from worker.ledger.delivery.claims import BatchGroup

# Batches of one credential that may be ready or sending at once: enough for 100 requests/s at 200 ms answers,
# together with as many that wait for the next tick to replace them.
_WINDOW_BATCHES = 48

# Others who write wait meanwhile: so long, small batches are claimed together. A full one takes that long alone.
MAX_TRANSACTION_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class BatchingPolicy:
    """Hold when a group may be claimed, and how many batches one tick may make."""

    interval_seconds: float
    window: int = _WINDOW_BATCHES
    most_batches: int = 200


def claim_due_batches(
    ledger: Ledger, pace: BatchingPolicy, now: Callable[[], float], hint: Callable[[Sequence[int]], None]
) -> list[int]:
    """Claim what is full or has waited long enough; batches are hinted at once they are committed.

    A tick that runs twice, or beside another one, finds the events claimed and does nothing.
    """
    # What need not be claimed is found without keeping others from writing.
    with ledger.read() as connection:
        at = now()
        waiting = deque(
            group
            for group, oldest in claims.pending_groups(connection, at)
            if claims.is_batch_due(connection, group, oldest, pace.interval_seconds, at)
        )
    made: list[int] = []
    while waiting and len(made) < pace.most_batches:
        some = _claim_some(ledger, waiting, pace, now, pace.most_batches - len(made))
        if some:
            hint(some)
        made += some
    return made


def _claim_some(
    ledger: Ledger, waiting: deque[BatchGroup], pace: BatchingPolicy, now: Callable[[], float], most: int
) -> list[int]:
    """Claim a batch, and more within the same transaction while that is a short one."""
    made: list[int] = []
    with ledger.write() as connection:
        began = time.monotonic()
        while waiting and len(made) < most:
            # In turn, a batch each: a group with a backlog is not served to its end while the others wait.
            group = waiting.popleft()
            batch_id = claims.claim_batch(connection, group, pace.window, now(), pace.interval_seconds)
            if batch_id is not None:
                made.append(batch_id)
                waiting.append(group)
            if time.monotonic() - began > MAX_TRANSACTION_SECONDS:
                break
    return made
