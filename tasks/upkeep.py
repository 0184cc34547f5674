"""Look after what was forgotten and what is old."""

import time

from celery import shared_task

from tasks import hints
from worker.alerts import watching
from worker.alerts.watching import Heartbeat
from worker.ledger.reports import measures
from worker.pipeline.upkeep import purging, retrying
from worker.pipeline.upkeep.sweeping import Hints
from worker.pipeline.upkeep.sweeping import sweep_ledger as sweep_once
from worker.runtime import free_bytes, ledger, webhook
from worker.settings import settings

_pulse = Heartbeat(measures.SWEEPER)


@shared_task
def sweep() -> None:
    """Take back what dead workers held, and hint again at what is due."""
    _pulse.beat(ledger(), time.time())
    all_hints = Hints(hints.process_ranges, hints.deliver_batches, hints.queued_events, hints.queued_batches)
    sweep_once(ledger(), all_hints, time.time())


@shared_task
def fold_tallies() -> None:
    """Sum up tallies of the same kind."""
    purging.fold_counts(ledger(), time.time())


@shared_task
def retry_outages() -> None:
    """Send again what failed only because Pinterest was away, where AUTO_RETRY asks for it."""
    if settings().auto_retry:
        retrying.retry_after_outage(ledger(), time.time())


@shared_task
def purge() -> None:
    """Remove what has been kept longer than RETENTION_DAYS."""
    purging.purge_expired(ledger(), settings().retention_days, time.time())


@shared_task
def watch() -> None:
    """Look at what may be wrong, and note what there is to tell."""
    watching.check_figures(ledger(), free_bytes, time.time(), to_webhook=webhook() is not None)


@shared_task
def watch_volume() -> None:
    """Look for events that stopped coming."""
    watching.check_volume(ledger(), time.time(), to_webhook=webhook() is not None)


@shared_task
def tell_alerts() -> None:
    """Tell the webhook what it was not told yet."""
    target = webhook()
    if target is not None:
        watching.send_notices(ledger(), target, time.time)
