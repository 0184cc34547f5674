"""Look at the broker's queues."""

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
    """Hold what waits in a queue; ``consumers`` is None where the broker does not know them."""

    name: str
    messages: int
    consumers: int | None


def queue_states(connection: Connection, names: Iterable[str]) -> list[QueueState]:
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


# A page waits for it.
ANSWER_SECONDS = 2

_by_plug_in = RabbitMQ.queues


def show_queues(names: Sequence[str], broker_url: str, broker_api: str = "") -> None:
    """Show these queues and no others; through the management plug-in where its address is given."""

    def queue_names(_handler: BaseHandler) -> list[str]:
        return sorted(names)

    # By itself Flower shows the queues of those workers alone that were up when it started, or when somebody
    # refreshed it; a queue that nobody consumes is the one to see.
    BaseHandler.get_active_queue_names = queue_names

    async def asked_over_amqp(_broker: RabbitMQ, wanted: Sequence[str]) -> list[dict[str, Any]]:
        # Flower has one thread for all of its pages.
        return await asyncio.to_thread(_ask, broker_url, wanted)

    RabbitMQ.queues = _by_plug_in if broker_api else asked_over_amqp


def _ask(broker_url: str, names: Sequence[str]) -> list[dict[str, Any]]:
    with Connection(broker_url, connect_timeout=ANSWER_SECONDS) as connection:
        connection.ensure_connection(max_retries=1, timeout=ANSWER_SECONDS)
        connection.connection.sock.settimeout(ANSWER_SECONDS)
        found = queue_states(connection, names)
    # AMQP tells what is ready; what workers hold is on Flower's other pages.
    return [asdict(one) | {"messages_ready": one.messages} for one in found]
