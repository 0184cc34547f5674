"""Read the state of the broker's queues."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from amqp.exceptions import ChannelError
from kombu import Connection


@dataclass(frozen=True, slots=True)
class _QueueState:
    """Number of messages in a queue; without ``consumers`` if the broker does not count them."""

    name: str
    messages: int
    consumers: int | None


def queue_states(connection: Connection, names: Iterable[str]) -> list[_QueueState]:
    """Return the state of each queue; a queue that does not exist is empty.

    Works without RabbitMQ's management plug-in and with a worker's permissions.
    """
    if connection.transport.driver_type == "amqp":
        return [_rabbitmq_state(connection, name) for name in names]
    channel: Any = connection.channel()
    return [_redis_state(channel, name) for name in names]


def _rabbitmq_state(connection: Connection, name: str) -> _QueueState:
    # RabbitMQ closes the channel if the queue does not exist.
    channel: Any = connection.channel()
    try:
        reply = channel.queue_declare(queue=name, passive=True)
    except ChannelError:
        return _QueueState(name, 0, 0)
    channel.close()
    return _QueueState(name, int(reply.message_count), int(reply.consumer_count))


def _redis_state(channel: Any, name: str) -> _QueueState:
    try:
        reply = channel.queue_declare(queue=name, passive=True)
    except ChannelError:
        # A queue without messages does not exist.
        return _QueueState(name, 0, None)
    return _QueueState(name, int(reply.message_count), None)
