"""Run the periodic upkeep: sweeping, purging, alerts."""

from functools import partial

from celery import shared_task

from celeryconfig import DELIVERY
from tasks import hints
from worker.alerts import lifecycle, source_rules
from worker.ledger.reports import measures
from worker.ledger.reports.measures import Heartbeat
from worker.pinterest.client.account_client import AccountClient
from worker.pipeline.upkeep import account_reading, outage_retries, purging
from worker.pipeline.upkeep.sweeping import Hints
from worker.pipeline.upkeep.sweeping import sweep_ledger as sweep_once
from worker.runtime import alert_channels, free_bytes, ledger, webhook
from worker.settings import settings

_heartbeat = Heartbeat(measures.SWEEPER)


@shared_task
def sweep() -> None:
    """Take back batches of dead workers, and send hints for due work."""
    _heartbeat.beat(ledger(), ledger().now())
    all_hints = Hints(
        hints.process_ranges,
        hints.deliver_batches,
        queued_events=partial(hints.total_queued, settings().event_queues),
        queued_batches=partial(hints.total_queued, [DELIVERY]),
    )
    sweep_once(ledger(), all_hints, ledger().now())


@shared_task
def fold_tallies() -> None:
    """Merge counter rows of the same key."""
    purging.fold_counts(ledger(), ledger().now())
    purging.sum_order_days(ledger(), ledger().now())


@shared_task
def retry_outages() -> None:
    """Retry deliveries that failed in an outage of Pinterest, if AUTO_RETRY is set."""
    if settings().auto_retry:
        outage_retries.retry_after_outage(ledger(), ledger().now())


@shared_task
def purge() -> None:
    """Remove rows older than RETENTION_DAYS."""
    purging.purge_expired(ledger(), settings().retention_days, ledger().now())


@shared_task
def read_pinterest() -> None:
    """Refresh the sign-ins with Pinterest, and read the Event Quality Scores."""
    options = settings()
    app = options.pinterest_app_id, options.pinterest_app_secret
    client = AccountClient(options.pinterest_api_url, *app) if options.pinterest_app_id else None
    account_reading.read_pinterest(ledger(), client, ledger().now)


@shared_task
def watch() -> None:
    """Check the alert rules, and queue notices."""
    with ledger().read() as connection:
        former = measures.former_queues(connection, settings().unused_event_queues)
    queues = hints.queued([*settings().event_queues, *former])
    lifecycle.check_figures(
        ledger(), free_bytes, ledger().now(), to_webhook=webhook() is not None, queues=queues
    )


@shared_task
def watch_volume() -> None:
    """Check the sources: rates, silence, event names that stopped coming, and problems in the data."""
    to_webhook = webhook() is not None
    source_rules.check_rates(ledger(), ledger().now(), to_webhook=to_webhook)
    source_rules.check_volume(ledger(), ledger().now(), to_webhook=to_webhook)
    percent = settings().alert_data_quality_percent
    source_rules.check_data_quality(ledger(), ledger().now(), percent, to_webhook=to_webhook)


@shared_task
def tell_alerts() -> None:
    """Send new notices to the webhook and to people."""
    target = webhook()
    if target is not None:
        lifecycle.send_notices(ledger(), target, ledger().now)
    for channel in alert_channels():
        lifecycle.send_to_channel(ledger(), channel, ledger().now)
