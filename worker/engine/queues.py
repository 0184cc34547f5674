"""Look at the broker's queues."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from amqp.exceptions import ChannelError
from kombu import Connection


@dataclass(frozen=True, slots=True)
class QueueState:
    """Hold what waits in a queue; ``consumers`` is None where the broker does not know them."""

    name: str
    messages: int
    consumers: int | None


def states(connection: Connection, names: Iterable[str]) -> list[QueueState]:
    """Return how each queue stands; one that the broker does not have yet holds nothing.

    This needs no management plug-in of RabbitMQ, and a password no broader than a worker's.
    """
    return [_state(connection, name) for name in names]


def _state(connection: Connection, name: str) -> QueueState:
    knows_consumers = connection.transport.driver_type == "amqp"
    # RabbitMQ closes a channel on which a queue was asked for that is not there.
    channel: Any = connection.channel()
    try:
        found = channel.queue_declare(queue=name, passive=True)
    except ChannelError:
        # Redis and Valkey have no queue where there is no message.
        return QueueState(name, 0, 0 if knows_consumers else None)
    channel.close()
    return QueueState(name, int(found.message_count), int(found.consumer_count) if knows_consumers else None)
