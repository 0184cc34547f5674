"""Patches of kombu's Redis transport and of py-amqp.

They replace undocumented parts of kombu 5.7. ``tests/broker/test_drift.py`` fails when the source of one of these
methods changes.
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

# The newest unreadable messages of a queue are kept on a list next to it, for inspection.
_UNREADABLE_KEPT = 100


def patch_redis_transport() -> None:
    """Let a worker survive the loss of Redis or Valkey, and queue entries that are not messages."""
    # Imported here because its client takes eight megabytes, which processes with RabbitMQ do not need.
    from kombu.transport.redis import Channel, Transport

    _patch_method(Channel, "_connparams", _refuse_closed_channels)
    _patch_method(Channel, "_brpop_read", _park_what_is_no_json)
    _patch_method(Transport, "_deliver", _park_what_is_no_message)


def _patch_method(class_: Any, name: str, wrapper: Any) -> None:
    """Replace a method by ``wrapper(method)``; repeated calls change nothing."""
    original = getattr(class_, name)
    if not hasattr(original, "__wrapped__"):
        setattr(class_, name, wraps(original)(wrapper(original)))


def _unreadable_key(queue: str) -> str:
    """Return the name of the list or queue that keeps a queue's unreadable messages."""
    return f"{queue}.unreadable"


def park_unreadable(channel: Any, queue: str, text: str) -> None:
    """Log and keep an entry that is not a message and has already left its queue."""
    log.error("message_unreadable", queue=queue, characters=len(text), kept=_unreadable_key(queue))
    _keep_unreadable(channel, queue, text)


def _keep_unreadable(channel: Any, queue: str, text: str) -> None:
    """Put a text on the list of its queue's unreadable messages."""
    with channel.conn_or_acquire() as client:
        client.lpush(_unreadable_key(queue), text)
        client.ltrim(_unreadable_key(queue), 0, _UNREADABLE_KEPT - 1)


def _refuse_closed_channels(original: Any) -> Any:
    """Raise a connection error, which a worker survives, if the channel's connection is closed.

    Without the patch, acknowledging on such a channel raises an ``AttributeError``, and a busy worker exits when
    its Redis or Valkey dies.
    """
    from kombu.transport.redis import get_redis_ConnectionError

    def _connparams(self: Any, asynchronous: bool = False) -> dict[str, Any]:
        if self.connection is None or self.connection.client is None:
            raise get_redis_ConnectionError()("the channel's broker connection is closed")
        return dict(original(self, asynchronous))

    return _connparams


def _park_what_is_no_json(original: Any) -> Any:
    """Keep an entry that is not JSON; in kombu it ends the worker after it has left the queue."""

    def _brpop_read(self: Any, **options: Any) -> Any:
        try:
            return original(self, **options)
        except JSONDecodeError as error:
            # kombu has put the queue that it came from at the end of the order.
            park_unreadable(self, next(reversed(self._queue_cycle.items), ""), error.doc)
            return True

    return _brpop_read


def _park_what_is_no_message(original: Any) -> Any:
    """Keep a JSON entry without the fields that kombu reads unchecked."""

    def _deliver(self: Any, message: Any, queue: str) -> Any:
        if _is_message(message):
            return original(self, message, queue)
        return park_unreadable(next(iter(self.channels)), queue, dumps(message))

    return _deliver


def _is_message(message: Any) -> bool:
    properties = message.get("properties") if isinstance(message, dict) else None
    return isinstance(properties, dict) and isinstance(properties.get("delivery_tag"), str)


# A broker that takes longer than this to answer counts as unavailable.
ANSWER_SECONDS = 10.0


def set_answer_timeout(connection: Connection) -> Connection:
    """Limit the time that a blocking read from RabbitMQ takes on a connection.

    A worker closes lost connections and waits for the other end to confirm: on a half-open one it would hang.
    The event loop reads without blocking and is not affected.
    """
    if connection.transport.driver_type == "amqp":
        connection.connection.sock.settimeout(ANSWER_SECONDS)
    return connection


def patch_amqp_waits() -> None:
    """Limit the time that py-amqp waits for RabbitMQ's answer or confirm, then reconnect.

    Unpatched, it waits for ever: on a half-open connection beat never sends another tick, and each retry blocks a
    thread of a worker. This covers confirms of messages and answers to what precedes the first message, such as
    declaring its queue.
    """
    # Imported here because other brokers do not need it.
    from amqp.abstract_channel import AbstractChannel

    _patch_method(AbstractChannel, "wait", _give_up_what_is_not_answered)


def patch_amqp_host_name_check() -> None:
    """Check that RabbitMQ's certificate is for the host in its address.

    py-amqp checks a name only if it is given one. kombu gives it the name of the first host that was reached, also
    for the others of a cluster, and 127.0.0.1 in place of localhost.
    """
    from kombu.transport.pyamqp import Transport

    _patch_method(Transport, "establish_connection", _expect_the_host_in_the_address)


def _expect_the_host_in_the_address(original: Any) -> Any:
    def establish_connection(self: Any) -> Any:
        client = self.client
        host = client.hostname
        if client.ssl and isinstance(client.ssl, dict):
            client.ssl = client.ssl | {"server_hostname": host or "localhost"}
        try:
            return original(self)
        finally:
            client.hostname = host

    return establish_connection


def _give_up_what_is_not_answered(original: Any) -> Any:
    from amqp.exceptions import RecoverableConnectionError

    def wait(
        self: Any, method: Any, callback: Any = None, timeout: float | None = None, **options: Any
    ) -> Any:
        connection = self.connection
        try:
            return original(self, method, callback, timeout or ANSWER_SECONDS, **options)
        except TimeoutError as error:
            # A late answer would be taken for the answer to another request.
            connection.collect()
            raise RecoverableConnectionError("RabbitMQ did not answer in time") from error

    return wait


def keep_refused_message(app: Celery, queue: str, message: Message) -> None:
    """Keep a copy of a refused message on a list or in a queue next to its own; older copies are dropped.

    Uses a separate connection, because the worker's is busy delivering. A failure is only logged: the message
    itself was a hint.
    """
    try:
        pool: Any = app.pool  # The type stubs declare a pool of producers.
        with pool.acquire(block=True) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0)
            if connection.transport.driver_type == "amqp":
                _keep_in_queue(connection, queue, message)
            else:
                _keep_unreadable(connection.default_channel, queue, _text(message))
    except Exception as error:  # noqa: BLE001 - no error of any transport may end the worker
        log.warning("refused_message_not_kept", queue=queue, error=repr(error))


def _keep_in_queue(connection: Connection, queue: str, message: Message) -> None:
    arguments = {"x-max-length": _UNREADABLE_KEPT, "x-overflow": "drop-head"}
    name = _unreadable_key(queue)
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
