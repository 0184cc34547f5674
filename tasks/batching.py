"""Group pending events into batches."""

import time

from celery import shared_task

from tasks import hints
from worker.alerts.watching import Heartbeat
from worker.ledger.reports import measures
from worker.pipeline.delivery.group_pending import BatchingPolicy
from worker.pipeline.delivery.group_pending import claim_due_batches as group
from worker.runtime import ledger
from worker.settings import settings

_pulse = Heartbeat(measures.BATCHER)


@shared_task
def group_pending() -> None:
    """Claim full or due batches per ad account, and send one delivery task for each."""
    _pulse.beat(ledger(), time.time())
    group(ledger(), BatchingPolicy(settings().batch_interval_seconds), time.time, hints.deliver_batches)
