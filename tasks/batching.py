"""Group pending events into batches."""

import time

from celery import shared_task

from tasks import hints
from worker.settings import settings
from worker.stages.batching import Pace
from worker.stages.batching import group_pending as group
from worker.wiring import ledger


@shared_task
def group_pending() -> None:
    """Claim full or due batches per ad account, and send one delivery task for each."""
    group(ledger(), Pace(settings().batch_interval_seconds), time.time, hints.deliver_batches)
