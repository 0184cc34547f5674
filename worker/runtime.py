"""The objects that a process creates once, on first use."""

import atexit
import os
import shutil
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from worker.alerts.channels import Channel, ChatChannel, MailChannel, WebhookChannel
from worker.ledger.database import Ledger
from worker.ledger.postgresql import PATIENCE_SECONDS
from worker.ledger.reports.measures import PUBLISHED, UNPUBLISHED
from worker.monitoring.meter import Meter, MeterWriter
from worker.pinterest.client.client import PinterestClient
from worker.pinterest.client.retry_delays import RetryPolicy
from worker.settings import Settings, settings

if TYPE_CHECKING:
    from celery import Celery

    from worker.broker.publisher import HintPublisher

_CONNECT_TIMEOUT_SECONDS = 5.0
_READ_TIMEOUT_SECONDS = 20.0
# A lease lasts this many request deadlines, with time to read the batch before and to store the outcome after.
_LEASE_DEADLINES = 2.4


@cache
def ledger() -> Ledger:
    """Return this process's ledger."""
    return open_ledger(settings())


def open_ledger(options: Settings, patience_seconds: float = PATIENCE_SECONDS) -> Ledger:
    """Return a new ledger; ``patience_seconds`` limits a statement on PostgreSQL."""
    return Ledger(
        options.database_url,
        options.encryption_keys,
        transaction_pooler=options.transaction_pooler,
        patience_seconds=patience_seconds,
    )


@cache
def pinterest() -> PinterestClient:
    """Return this process's client of the Pinterest API."""
    return PinterestClient(
        settings().pinterest_api_url,
        connect_timeout_seconds=_CONNECT_TIMEOUT_SECONDS,
        read_timeout_seconds=_READ_TIMEOUT_SECONDS,
        deadline_seconds=settings().request_deadline_seconds,
    )


def webhook() -> WebhookChannel | None:
    """Return the webhook for alerts, if one is set."""
    config = settings()
    if not config.alert_webhook_url:
        return None
    hosts = config.alert_webhook_private_hosts
    return WebhookChannel(config.alert_webhook_url, config.alert_webhook_secret, hosts, config.management_url)


def alert_channels() -> list[Channel]:
    """Return the channels for alerts to people that are set."""
    config = settings()
    channels: list[Channel] = []
    if config.alert_chat_url:
        channels.append(
            ChatChannel(config.alert_chat_url, config.alert_webhook_private_hosts, config.management_url)
        )
    if config.alert_mail_to:
        channels.append(
            MailChannel(config.smtp_url, config.alert_mail_from, config.alert_mail_to, config.management_url)
        )
    return channels


def free_bytes() -> int:
    """Return the free bytes on the disk of the state folder; of the current folder if it does not exist."""
    folder = settings().var
    return shutil.disk_usage(folder if folder.exists() else Path.cwd()).free


@cache
def meter() -> Meter:
    """Return this process's meter; a thread writes it into the ledger every few seconds."""
    new_meter = Meter()
    writer = MeterWriter(new_meter, ledger)
    writer.start()
    atexit.register(writer.close)
    return new_meter


def hint_publisher(app: "Celery", meter: Meter) -> "HintPublisher":
    """Return a new publisher of event hints that counts on a meter."""
    from worker.broker.publisher import HintPublisher

    queues = settings().event_queues
    # Under the last queue: `measures.former_queues` reads how many there were.
    published, dropped = (partial(meter.count, name, queues[-1]) for name in (PUBLISHED, UNPUBLISHED))
    return HintPublisher(app, queues, on_published=published, on_dropped=dropped)


def lease_seconds() -> float:
    """Return how long a worker may hold a batch: a minute with the default request deadline."""
    return _LEASE_DEADLINES * settings().request_deadline_seconds


def retry_policy() -> RetryPolicy:
    """Return the retry policy of the settings."""
    return RetryPolicy(
        max_attempts=settings().retry_max_attempts,
        base_seconds=settings().retry_backoff_base_seconds,
        window_seconds=settings().retry_window_seconds,
    )


# The parent's ledger in a forked child. The child must neither use nor close it, and dropping the last reference would
# close it: SQLite's locks would break, and the parent's server connection would end.
_INHERITED: list[Ledger] = []


def _forget_parents_connections() -> None:
    if ledger.cache_info().currsize:
        _INHERITED.append(ledger())
    ledger.cache_clear()
    # Its sessions already belong to one thread of one process.
    pinterest.cache_clear()
    # Threads do not survive a fork, and the parent writes its own counts.
    meter.cache_clear()


os.register_at_fork(after_in_child=_forget_parents_connections)
