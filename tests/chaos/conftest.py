"""A stack whose connections can be broken."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.kill_storm import ENVIRONMENT
from tests.chaos.wire import WHOLE, Wire, wired
from tests.integration import services
from tests.integration import stack as stacks
from tests.integration.stack import Plan, Stack
from worker.settings import socket_path


@dataclass(frozen=True, slots=True)
class Wired:
    """A stack that reaches its broker and Pinterest over wires."""

    stack: Stack
    to_broker: Wire
    to_pinterest: Wire


@pytest.fixture(scope="package")
def shared_wired(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wired]:
    """Run one wired stack, on Valkey and SQLite, for all tests."""
    folder = tmp_path_factory.mktemp("w")
    with wired() as to_broker:
        to_broker.target = socket_path(folder)
        with _running(folder, to_broker, f"redis://127.0.0.1:{to_broker.port}/0", "valkey") as one:
            yield one


@contextmanager
def _running(folder: Path, to_broker: Wire, broker_url: str, broker: str) -> Iterator[Wired]:
    with ExitStack() as held:
        to_pinterest = held.enter_context(wired())
        addresses = {
            "BROKER_URL": broker_url,
            "PINTEREST_API_URL": f"http://127.0.0.1:{to_pinterest.port}",
        }
        plan = Plan(broker=broker, environment=ENVIRONMENT | addresses)
        stack = held.enter_context(stacks.running(plan, folder, without=("flower",)))
        to_pinterest.target = (stack.sandbox.host, stack.sandbox.port)
        yield Wired(stack, to_broker, to_pinterest)


@pytest.fixture
def rabbitmq_on_wires(tmp_path: Path) -> Iterator[Wired]:
    """Run a wired stack on RabbitMQ."""
    with services.rabbitmq_url() as url, wired() as to_broker:
        to_broker.target = (services.HOST, services.PORTS["rabbitmq"])
        wired_url = url.replace(f":{services.PORTS['rabbitmq']}", f":{to_broker.port}")
        with _running(tmp_path, to_broker, wired_url, "rabbitmq") as one:
            yield one
            one.stack.assert_alive()


@pytest.fixture
def stack_on_wires(shared_wired: Wired) -> Iterator[Wired]:
    """Lend the wired stack; it works before and after, and no process of it has died."""
    yield shared_wired
    shared_wired.to_broker.fault = shared_wired.to_pinterest.fault = WHOLE
    shared_wired.stack.sandbox.behave_well()
    shared_wired.stack.assert_alive()
