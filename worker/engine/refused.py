"""Keep what no worker can run: a message for an unknown task, or one of a wrong shape."""

import json
from typing import Any

from celery import Celery
from kombu import Connection, Producer, Queue
from kombu.message import Message

from worker import logs
from worker.engine.kombu_internals import UNREADABLE_KEPT, keep_unreadable, unreadable_key

log = logs.of(__name__)


def keep_refused(app: Celery, queue: str, message: Message) -> None:
    """Put a copy of a message aside, on a list or in a queue of its own beside its queue, the newest of them.

    Over a connection of its own, for the worker's is busy delivering. A copy that cannot be kept is given up with
    a word in the log: the message itself was only a hint.
    """
    try:
        pool: Any = app.pool  # Its type stubs make it a pool of producers.
        with pool.acquire(block=True) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0)
            if connection.transport.driver_type == "amqp":
                _keep_in_queue(connection, queue, message)
            else:
                keep_unreadable(connection.default_channel, queue, _text(message))
    except Exception as error:  # noqa: BLE001 - each transport has errors of its own, and none may end the worker
        log.warning("refused_message_not_kept", queue=queue, error=repr(error))


def _keep_in_queue(connection: Connection, queue: str, message: Message) -> None:
    arguments = {"x-max-length": UNREADABLE_KEPT, "x-overflow": "drop-head"}
    name = unreadable_key(queue)
    with connection.channel() as channel:
        Queue(name, durable=True, queue_arguments=arguments)(channel).queue_declare()
        Producer(channel).publish(
            message.body,
            exchange="",
            routing_key=name,
            content_type=message.content_type or "application/octet-stream",
            content_encoding=message.content_encoding or "binary",
            headers=message.headers if isinstance(message.headers, dict) else {},
        )


def _text(message: Message) -> str:
    body = message.body
    return json.dumps(
        {
            "headers": message.headers,
            "content_type": message.content_type,
            "body": body.decode(errors="backslashreplace") if isinstance(body, bytes) else body,
        },
        default=repr,
    )
