"""Group pending events into batches."""

from celery import shared_task

from tasks import hints
from worker.ledger.reports import measures
from worker.ledger.reports.measures import Heartbeat
from worker.pipeline.delivery.group_pending import BatchingPolicy, claim_due_batches
from worker.runtime import ledger
from worker.settings import settings

_heartbeat = Heartbeat(measures.BATCHER)


@shared_task
def group_pending() -> None:
    """Claim full or due batches per ad account, and publish one delivery task for each."""
    _heartbeat.beat(ledger(), ledger().now())
    claim_due_batches(
        ledger(), BatchingPolicy(settings().batch_interval_seconds), ledger().now, hints.deliver_batches
    )
