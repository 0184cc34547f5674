"""Read the state of the broker's queues, also for Flower."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from amqp.exceptions import ChannelError
from flower.utils.broker import RabbitMQ
from flower.views import BaseHandler
from kombu import Connection


@dataclass(frozen=True, slots=True)
class QueueState:
    """Number of messages in a queue; without ``consumers`` if the broker does not count them."""

    name: str
    messages: int
    consumers: int | None


def queue_states(connection: Connection, names: Iterable[str]) -> list[QueueState]:
    """Return the state of each queue; a queue that does not exist is empty.

    Works without RabbitMQ's management plug-in and with a worker's permissions.
    """
    return [_state(connection, name) for name in names]


def _state(connection: Connection, name: str) -> QueueState:
    knows_consumers = connection.transport.driver_type == "amqp"
    # RabbitMQ closes the channel if the queue does not exist.
    channel: Any = connection.channel()
    try:
        found = channel.queue_declare(queue=name, passive=True)
    except ChannelError:
        # On Redis and Valkey a queue without messages does not exist.
        return QueueState(name, 0, 0 if knows_consumers else None)
    channel.close()
    return QueueState(name, int(found.message_count), int(found.consumer_count) if knows_consumers else None)


# A page waits for the answer.
ANSWER_SECONDS = 2

_by_plug_in = RabbitMQ.queues


def show_queues(names: Sequence[str], broker_url: str, broker_api: str = "") -> None:
    """Let Flower show exactly these queues, with the management plug-in if ``broker_api`` is set."""

    def queue_names(_handler: BaseHandler) -> list[str]:
        return sorted(names)

    # Flower itself shows only queues of workers that ran at its start or last refresh. A queue without consumers
    # is the one that matters.
    BaseHandler.get_active_queue_names = queue_names

    async def query_over_amqp(_broker: RabbitMQ, wanted: Sequence[str]) -> list[dict[str, Any]]:
        # Flower serves all pages from one thread.
        return await asyncio.to_thread(_query, broker_url, wanted)

    RabbitMQ.queues = _by_plug_in if broker_api else query_over_amqp


def _query(broker_url: str, names: Sequence[str]) -> list[dict[str, Any]]:
    with Connection(broker_url, connect_timeout=ANSWER_SECONDS) as connection:
        connection.ensure_connection(max_retries=1, timeout=ANSWER_SECONDS)
        connection.connection.sock.settimeout(ANSWER_SECONDS)
        queues = queue_states(connection, names)
    # AMQP counts ready messages only; Flower's other pages show what workers hold.
    return [asdict(queue) | {"messages_ready": queue.messages} for queue in queues]
