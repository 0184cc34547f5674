"""Group pending events into batches."""

import time

from celery import shared_task

from tasks import hints
from worker.alerts.watching import Pulse
from worker.ledger.reports import measures
from worker.pipeline.delivery.group_pending import Pace
from worker.pipeline.delivery.group_pending import group_pending as group
from worker.runtime import ledger
from worker.settings import settings

_pulse = Pulse(measures.BATCHER)


@shared_task
def group_pending() -> None:
    """Claim full or due batches per ad account, and send one delivery task for each."""
    _pulse.beat(ledger(), time.time())
    group(ledger(), Pace(settings().batch_interval_seconds), time.time, hints.deliver_batches)
