"""Show Flower the queues of RabbitMQ without its management plug-in, and queues that have no consumer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from flower.utils.broker import RabbitMQ, RedisBase
from flower.views import BaseHandler
from kombu import Connection

from worker.broker.queues import queue_states

# A page waits for the answer.
_ANSWER_SECONDS = 2

_Query = Callable[[Any, Sequence[str]], Awaitable[list[dict[str, Any]]]]
_by_plug_in, _of_redis = RabbitMQ.queues, RedisBase.queues


def show_queues(
    names: Sequence[str],
    unused: Sequence[str],
    broker_url: str,
    broker_api: str = "",
    tls: Mapping[str, Any] | None = None,
) -> None:
    """Let Flower show exactly these queues, with the management plug-in if ``broker_api`` is set.

    Those of the unused ones that hold messages are shown too. Without the plug-in RabbitMQ is not queried for them: it
    would log an error for each that does not exist.
    """

    def queue_names(_handler: BaseHandler) -> list[str]:
        return [*sorted(names), *unused]

    def without_empty_ones(query: _Query) -> _Query:
        async def queues(broker: Any, queue_list: Sequence[str]) -> list[dict[str, Any]]:
            queues = await query(broker, queue_list)
            return [queue for queue in queues if queue["name"] not in unused or queue.get("messages")]

        return queues

    # Flower itself shows only queues of workers that ran at its start or last refresh. A queue without consumers
    # is the one that matters.
    BaseHandler.get_active_queue_names = queue_names

    async def query_over_amqp(_broker: RabbitMQ, queue_list: Sequence[str]) -> list[dict[str, Any]]:
        # Flower serves all pages from one thread.
        used_names = [name for name in queue_list if name not in unused]
        return await asyncio.to_thread(_query, broker_url, tls, used_names)

    RabbitMQ.queues = without_empty_ones(_by_plug_in if broker_api else query_over_amqp)
    RedisBase.queues = without_empty_ones(_of_redis)


def _query(broker_url: str, tls: Mapping[str, Any] | None, names: Sequence[str]) -> list[dict[str, Any]]:
    with Connection(
        broker_url, ssl=dict(tls) if tls else False, connect_timeout=_ANSWER_SECONDS
    ) as connection:
        connection.ensure_connection(max_retries=1, timeout=_ANSWER_SECONDS)
        connection.connection.sock.settimeout(_ANSWER_SECONDS)
        queues = queue_states(connection, names)
    # AMQP counts ready messages only; Flower's other pages show what workers hold.
    return [asdict(queue) | {"messages_ready": queue.messages} for queue in queues]
