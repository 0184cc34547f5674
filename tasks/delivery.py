"""Deliver batches to Pinterest."""

from functools import cache

from celery import shared_task

from tasks import hints
from worker.broker.tasks_base import LedgerRetryTask
from worker.pipeline.delivery.deliver_batch import deliver, postpone_delivery
from worker.pipeline.delivery.delivery_context import DeliveryContext, PostponedError
from worker.runtime import lease_seconds, ledger, meter, pinterest, retry_policy
from worker.settings import settings


class _DeliveryTask(LedgerRetryTask):
    """Retry a batch through the ledger, which is durable, and through Celery, which is quick."""

    abstract = True
    autoretry_for = (PostponedError,)
    rate_limit = settings().delivery_rate_limit
    rate_limit_burst = settings().rate_limit_burst

    def put_off(self, exc: BaseException | None, countdown_seconds: float) -> float | None:  # noqa: ARG002
        if not isinstance(exc, PostponedError):
            raise TypeError(f"only a postponed batch can be put off, not {exc!r}")
        return postpone_delivery(_context(), exc)


@shared_task(base=_DeliveryTask)
def deliver_batch(batch_id: int) -> None:
    """Send one batch. Safe to repeat: it is sent once."""
    deliver(_context(), batch_id)


@cache
def _context() -> DeliveryContext:
    """Return the delivery context of this process."""
    return DeliveryContext(
        ledger(),
        pinterest(),
        retry_policy(),
        lease_seconds(),
        hints.deliver_batches,
        meter=meter(),
        now=ledger().now,
    )
