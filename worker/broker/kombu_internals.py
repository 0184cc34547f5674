"""What kombu's Redis transport does differently here.

Everything below overrides something that kombu does not document. It is pinned to 5.7, and
``tests/broker/test_drift.py`` says so when the source of one of the methods changes.
"""

import json
from functools import wraps
from json import JSONDecodeError, dumps
from typing import Any

from celery import Celery
from kombu import Connection, Producer, Queue
from kombu.message import Message

from worker import logs

log = logs.of(__name__)

# What is no message is kept on a list beside its queue, the newest of it, for whoever wants to know what it was.
UNREADABLE_KEPT = 100


def patch_redis_transport() -> None:
    """Let a worker survive a broker that dies and a queue in which something else lies than messages."""
    # Loaded here alone: its client takes eight megabytes of each process that has RabbitMQ for a broker.
    from kombu.transport.redis import Channel, Transport

    patch_method(Channel, "_connparams", _refuse_closed_channels)
    patch_method(Channel, "_brpop_read", _park_what_is_no_json)
    patch_method(Transport, "_deliver", _park_what_is_no_message)


def patch_method(class_: Any, name: str, wrapper: Any) -> None:
    """Put what ``wrapper`` makes of a method in its place, once however often this is called."""
    original = getattr(class_, name)
    if not hasattr(original, "__wrapped__"):
        setattr(class_, name, wraps(original)(wrapper(original)))


def unreadable_key(queue: str) -> str:
    """Return the name of the list on which is kept what lay in a queue and was no message."""
    return f"{queue}.unreadable"


def park_unreadable(channel: Any, queue: str, text: str) -> None:
    """Keep what no worker can read, and say so; it is in the queue no more."""
    log.error("message_unreadable", queue=queue, characters=len(text), kept=unreadable_key(queue))
    keep_unreadable(channel, queue, text)


def keep_unreadable(channel: Any, queue: str, text: str) -> None:
    """Put a text on the list beside its queue."""
    with channel.conn_or_acquire() as client:
        client.lpush(unreadable_key(queue), text)
        client.ltrim(unreadable_key(queue), 0, UNREADABLE_KEPT - 1)


def _refuse_closed_channels(original: Any) -> Any:
    """Make the use of a channel whose connection is gone a connection error, which a worker survives.

    As it is in kombu, acknowledging on such a channel ends in an ``AttributeError``, which nobody expects: a
    busy worker exits when its Redis or Valkey dies.
    """
    from kombu.transport.redis import get_redis_ConnectionError

    def _connparams(self: Any, asynchronous: bool = False) -> dict[str, Any]:
        if self.connection is None or self.connection.client is None:
            raise get_redis_ConnectionError()("the channel's broker connection is closed")
        return dict(original(self, asynchronous))

    return _connparams


def _park_what_is_no_json(original: Any) -> Any:
    """Put aside what is no JSON: in kombu it ends the worker, after it was taken out of the queue."""

    def _brpop_read(self: Any, **options: Any) -> Any:
        try:
            return original(self, **options)
        except JSONDecodeError as error:
            # kombu has not said from which of its queues it came, where it takes from several.
            park_unreadable(self, next(iter(self.active_queues), ""), error.doc)
            return True

    return _brpop_read


def _park_what_is_no_message(original: Any) -> Any:
    """Put aside JSON that lacks what kombu asks of a message without looking whether it is there."""

    def _deliver(self: Any, message: Any, queue: str) -> Any:
        if _is_message(message):
            return original(self, message, queue)
        return park_unreadable(next(iter(self.channels)), queue, dumps(message))

    return _deliver


def _is_message(message: Any) -> bool:
    properties = message.get("properties") if isinstance(message, dict) else None
    return isinstance(properties, dict) and isinstance(properties.get("delivery_tag"), str)


# A broker that takes longer than this to answer counts as away.
ANSWER_SECONDS = 10.0


def set_answer_timeout(connection: Connection) -> Connection:
    """Let whoever waits for RabbitMQ on a connection do so for a while, and not for ever.

    A worker closes the connections that it has lost, and waits for the other end to agree: over one that is
    half-open that was its end. The event loop reads without waiting, and is not concerned.
    """
    if connection.transport.driver_type == "amqp":
        connection.connection.sock.settimeout(ANSWER_SECONDS)
    return connection


def patch_amqp_waits() -> None:
    """Let whoever waits for RabbitMQ's answer or confirmation do so for a while, and then connect anew.

    As it is in py-amqp it waits for ever: over a connection that is half-open, beat never sends another tick, and
    each retry holds a thread of a worker. A message waits to be confirmed, and what comes before the first one on
    a new connection, such as to declare its queue, to be answered.
    """
    # Loaded here alone: other brokers have no use for it.
    from amqp.abstract_channel import AbstractChannel

    patch_method(AbstractChannel, "wait", _give_up_what_is_not_answered)


def _give_up_what_is_not_answered(original: Any) -> Any:
    from amqp.exceptions import RecoverableConnectionError

    def wait(
        self: Any, method: Any, callback: Any = None, timeout: float | None = None, **options: Any
    ) -> Any:
        connection = self.connection
        try:
            return original(self, method, callback, timeout or ANSWER_SECONDS, **options)
        except TimeoutError as error:
            # The answer may come later, and would be taken for that to something else.
            connection.collect()
            raise RecoverableConnectionError("RabbitMQ did not answer in time") from error

    return wait


def keep_refused_message(app: Celery, queue: str, message: Message) -> None:
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
