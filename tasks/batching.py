"""Group pending events into batches."""

import time

from celery import shared_task

from tasks import hints
from worker.ledger import measures
from worker.settings import settings
from worker.stages.batching import Pace
from worker.stages.batching import group_pending as group
from worker.stages.watching import Pulse
from worker.wiring import ledger

_pulse = Pulse(measures.BATCHER)


@shared_task
def group_pending() -> None:
    """Claim full or due batches per ad account, and send one delivery task for each."""
    _pulse.beat(ledger(), time.time())
    group(ledger(), Pace(settings().batch_interval_seconds), time.time, hints.deliver_batches)
