"""Publish hints: messages that name work. The sweeper replaces lost ones."""

from collections.abc import Sequence
from typing import Any

from celery import current_app

from celeryconfig import DELIVERY
from worker import logs
from worker.broker import queues
from worker.broker.publisher import PublishError, publish_many
from worker.ledger.reports import measures
from worker.runtime import meter
from worker.settings import settings

log = logs.of(__name__)


def deliver_batches(batch_ids: Sequence[int]) -> None:
    """Send one delivery task for each batch."""
    _publish("tasks.delivery.deliver_batch", [(batch_id,) for batch_id in batch_ids], DELIVERY)


def process_ranges(ranges: Sequence[tuple[int, int]]) -> None:
    """Send one task for each range of inbox ids."""
    _publish("tasks.ingest.process_range", list(ranges), *settings().event_queues)


def total_queued(names: Sequence[str]) -> int | None:
    """Return about how many messages wait in queues together; None where the broker is away.

    The shortest counts for each: messages are spread evenly, and a queue that no worker reads would hide that the
    others are short.
    """
    counts = queued(names)
    return None if counts is None else min(counts.values()) * len(counts)


def queued(names: Sequence[str]) -> dict[str, int] | None:
    """Return how many messages wait in each queue; None where the broker is away."""
    try:
        with current_app.connection_for_write() as connection:
            return {state.name: state.messages for state in queues.queue_states(connection, names)}
    except Exception as error:  # noqa: BLE001 - transports raise different errors; none may stop a sweep
        log.warning("queue_length_unknown", queue=names[0], error=type(error).__name__)
        return None


def _publish(task: str, args_list: Sequence[tuple[Any, ...]], *names: str) -> None:
    queue = names[-1]
    try:
        publish_many(current_app, task, args_list, *names)
    except PublishError as error:
        log.warning("hints_not_published", queue=queue, count=len(args_list), error=str(error))
        meter().count(measures.UNPUBLISHED, queue, len(args_list))
    else:
        meter().count(measures.PUBLISHED, queue, len(args_list))
