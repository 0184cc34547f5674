"""A Celery app for workers that the tests start: it records each run as a line in a file."""

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

from celery import Celery
from celery.exceptions import Reject
from kombu import Exchange, Queue

from worker.broker import former_queues
from worker.broker.bulk import BulkTask
from worker.broker.tasks_base import LedgerRetryTask

QUEUE = os.environ["SAMPLE_QUEUE"]
BROKER = os.environ["SAMPLE_BROKER"]
NOTES = Path(os.environ["SAMPLE_NOTES"])
TASK_SECONDS = float(os.environ.get("SAMPLE_TASK_SECONDS", "0"))
BULK_SECONDS = float(os.environ.get("SAMPLE_BULK_SECONDS", "0.3"))
NO_ACK = os.environ.get("SAMPLE_NO_ACK") == "1"

app = Celery("sample", broker=BROKER)
_amqp = BROKER.startswith("amqp")
app.conf.update(
    task_queues=[
        Queue(
            QUEUE,
            # Only a topic exchange lets Celery delay messages in RabbitMQ's quorum queues.
            Exchange(QUEUE, type="topic") if _amqp else Exchange(""),
            routing_key=QUEUE,
            no_ack=NO_ACK,
            queue_arguments={"x-queue-type": "quorum"} if _amqp else None,
        )
    ],
    task_default_queue=QUEUE,
    task_default_exchange="",
    task_create_missing_queues=False,
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    worker_disable_prefetch=NO_ACK,
    worker_consumer=os.environ.get("SAMPLE_CONSUMER", "worker.broker.celery_internals:RateLimitedConsumer"),
    broker_heartbeat=int(os.environ.get("SAMPLE_HEARTBEAT", "120")),
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_channel_error_retry=True,
    broker_transport_options={"confirm_publish": True}
    if _amqp
    else {
        "visibility_timeout": 300,
        "unacked_restore_interval": 1,
        "socket_timeout": 5,
        "health_check_interval": 2,
    },
)


if LEFT_OVER := os.environ.get("SAMPLE_LEFT_OVER"):
    app.conf.left_over_queues = lambda: [
        Queue(LEFT_OVER, Exchange(""), routing_key=LEFT_OVER, no_ack=NO_ACK, no_declare=True)
    ]
    former_queues._LOOK_SECONDS = 0.3


def note(**fields: Any) -> None:
    """Append one line; a single write is not mixed with those of other processes."""
    line = json.dumps({**fields, "at": time.monotonic(), "pid": os.getpid(), "thread": threading.get_ident()})
    descriptor = os.open(NOTES, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


@app.task(base=BulkTask, name="sample.gather", bind=True, bulk_max=100, bulk_interval_seconds=BULK_SECONDS)
def gather(self: BulkTask, ids: list[int]) -> None:
    time.sleep(TASK_SECONDS)
    note(task="gather", ids=ids, id=self.request.id, retries=self.request.retries)


@app.task(base=BulkTask, name="sample.refuse_once", bind=True, bulk_max=10, bulk_interval_seconds=0.1)
def refuse_once(self: BulkTask, ids: list[int]) -> None:
    """Put the whole bulk back the first time this worker sees it."""
    note(task="refuse_once", ids=ids)
    if not NOTES.with_suffix(".refused").exists():
        NOTES.with_suffix(".refused").touch()
        raise Reject("not yet", requeue=True)


@app.task(
    base=BulkTask,
    name="sample.too_slow",
    bulk_max=10,
    bulk_interval_seconds=0.05,
    time_limit=1,
    soft_time_limit=0.3,
)
def too_slow(ids: list[int]) -> None:
    time.sleep(2)
    note(task="too_slow", ids=ids)


@app.task(name="sample.limited", rate_limit="100/s", rate_limit_burst=50)
def limited(number: int) -> None:
    note(task="limited", number=number)


@app.task(name="sample.slow")
def slow(seconds: float) -> None:
    note(task="slow", phase="start")
    time.sleep(seconds)
    note(task="slow", phase="end")


class _BusyError(Exception):
    def __init__(self, after_seconds: float) -> None:
        super().__init__(after_seconds)
        self.after_seconds = after_seconds


class _Remembered(LedgerRetryTask):
    abstract = True
    autoretry_for = (_BusyError,)

    def put_off(self, exc: BaseException | None, countdown_seconds: float) -> float | None:
        return exc.after_seconds if isinstance(exc, _BusyError) else countdown_seconds


@app.task(base=_Remembered, name="sample.stubborn", bind=True)
def stubborn(self: LedgerRetryTask, number: int) -> None:
    """Request two retries."""
    done = int(self.request.retries == 2)
    note(task="stubborn", number=number, retries=self.request.retries, done=done)
    if not done:
        # RabbitMQ's shortest delay is a second.
        raise _BusyError(0.4 if self.request.retries == 0 else 1.2)
