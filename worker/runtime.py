"""Make what a process needs once, when it is first asked for."""

import atexit
import os
import shutil
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from worker.alerts.webhook import Webhook
from worker.ledger.database import Ledger
from worker.ledger.reports.measures import PUBLISHED, UNPUBLISHED
from worker.monitoring.meter import Meter, MeterWriter
from worker.pinterest.client.client import PinterestClient
from worker.pinterest.client.retry_policy import RetryPolicy
from worker.settings import settings

if TYPE_CHECKING:
    from celery import Celery

    from worker.broker.publisher import HintPublisher

_CONNECT_TIMEOUT_SECONDS = 5.0
_READ_TIMEOUT_SECONDS = 20.0
# Beyond the deadline a lease leaves time to read the batch before, and to write down the outcome after.
LEASE_DEADLINES = 2.4


@cache
def ledger() -> Ledger:
    """Return this process's ledger."""
    return Ledger(settings().database_url, settings().encryption_keys)


@cache
def pinterest() -> PinterestClient:
    """Return this process's client."""
    return PinterestClient(
        settings().pinterest_api_url,
        connect_timeout_seconds=_CONNECT_TIMEOUT_SECONDS,
        read_timeout_seconds=_READ_TIMEOUT_SECONDS,
        deadline_seconds=settings().request_deadline_seconds,
    )


def webhook() -> Webhook | None:
    """Return where alerts are told, if anywhere."""
    given = settings()
    if not given.alert_webhook_url:
        return None
    return Webhook(given.alert_webhook_url, given.alert_webhook_secret, given.alert_webhook_private_hosts)


def free_bytes() -> int:
    """Return how much room the disk of the state folder has; the current folder's where there is none."""
    folder = settings().var
    return shutil.disk_usage(folder if folder.exists() else Path.cwd()).free


@cache
def meter() -> Meter:
    """Return this process's meter, which a thread writes into the ledger from now on."""
    made = Meter()
    writer = MeterWriter(made, ledger)
    writer.start()
    atexit.register(writer.close)
    return made


def hint_publisher(app: "Celery", meter: Meter) -> "HintPublisher":
    """Return a new publisher of hints at events, which counts on a meter."""
    from celeryconfig import EVENTS
    from worker.broker.publisher import HintPublisher

    published, dropped = (partial(meter.count, name, EVENTS) for name in (PUBLISHED, UNPUBLISHED))
    return HintPublisher(app, EVENTS, on_published=published, on_dropped=dropped)


def lease_seconds() -> float:
    """Return how long a worker may keep a batch without word: a minute, unless the deadline is shorter."""
    return LEASE_DEADLINES * settings().request_deadline_seconds


def retry_policy() -> RetryPolicy:
    """Return the retry policy that the settings ask for."""
    return RetryPolicy(
        max_attempts=settings().retry_max_attempts,
        base_seconds=settings().retry_backoff_base_seconds,
        window_seconds=settings().retry_window_seconds,
    )


# What a forked child found of its parent's. It must not use it, and not close it either, as forgetting it
# would: SQLite's locks would break, and a server's connection would end for the parent as well.
_INHERITED: list[Ledger] = []


def _forget_parents_connections() -> None:
    if ledger.cache_info().currsize:
        _INHERITED.append(ledger())
    ledger.cache_clear()
    # Its sessions belong to a thread and a process already.
    pinterest.cache_clear()
    # Threads do not outlive a fork, and the parent writes what it counted.
    meter.cache_clear()


os.register_at_fork(after_in_child=_forget_parents_connections)
