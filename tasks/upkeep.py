"""Look after what was forgotten and what is old."""

import time

from celery import shared_task

from tasks import hints
from worker.alerts import watching
from worker.alerts.watching import Pulse
from worker.ledger.reports import measures
from worker.pipeline.upkeep import purging, retrying
from worker.pipeline.upkeep.sweeping import Hints
from worker.pipeline.upkeep.sweeping import sweep as sweep_once
from worker.runtime import free_bytes, ledger, webhook
from worker.settings import settings

_pulse = Pulse(measures.SWEEPER)


@shared_task
def sweep() -> None:
    """Take back what dead workers held, and hint again at what is due."""
    _pulse.beat(ledger(), time.time())
    all_hints = Hints(hints.process_ranges, hints.deliver_batches, hints.queued_events, hints.queued_batches)
    sweep_once(ledger(), all_hints, time.time())


@shared_task
def fold_tallies() -> None:
    """Sum up tallies of the same kind."""
    purging.fold_tallies(ledger(), time.time())


@shared_task
def retry_outages() -> None:
    """Send again what failed only because Pinterest was away, where AUTO_RETRY asks for it."""
    if settings().auto_retry:
        retrying.retry_outages(ledger(), time.time())


@shared_task
def purge() -> None:
    """Remove what has been kept longer than RETENTION_DAYS."""
    purging.purge(ledger(), settings().retention_days, time.time())


@shared_task
def watch() -> None:
    """Look at what may be wrong, and note what there is to tell."""
    watching.watch(ledger(), free_bytes, time.time(), to_webhook=webhook() is not None)


@shared_task
def watch_volume() -> None:
    """Look for events that stopped coming."""
    watching.watch_volume(ledger(), time.time(), to_webhook=webhook() is not None)


@shared_task
def tell_alerts() -> None:
    """Tell the webhook what it was not told yet."""
    target = webhook()
    if target is not None:
        watching.tell(ledger(), target, time.time)
