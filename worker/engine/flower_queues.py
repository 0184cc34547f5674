"""Show Flower the queues of RabbitMQ without its management plug-in, and those that nobody consumes."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from flower.utils.broker import RabbitMQ
from flower.views import BaseHandler
from kombu import Connection

from worker.engine import queues

# A page waits for it.
ANSWER_SECONDS = 2

_by_plug_in = RabbitMQ.queues


def show(names: Sequence[str], broker_url: str, broker_api: str = "") -> None:
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
        found = queues.states(connection, names)
    # AMQP tells what is ready; what workers hold is on Flower's other pages.
    return [asdict(one) | {"messages_ready": one.messages} for one in found]
