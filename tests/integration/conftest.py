"""Stacks that several tests share."""

from collections.abc import Iterator

import pytest

from tests.integration import stack as stacks
from tests.integration.stack import Plan, Stack

PLANS = [
    pytest.param(Plan("valkey", "sqlite", ingest_workers=2), id="valkey+sqlite"),
    pytest.param(
        Plan("rabbitmq", "postgresql", ingest_workers=4),
        id="rabbitmq+postgresql",
        marks=pytest.mark.services,
    ),
    pytest.param(
        Plan("redis", "postgresql", ingest_workers=4),
        id="redis+postgresql",
        marks=[pytest.mark.services, pytest.mark.slow],
    ),
]
# For tests that give the same result on all of them, or that need the embedded broker.
EMBEDDED = pytest.mark.parametrize("shared_stack", PLANS[:1], indirect=True)


@pytest.fixture(scope="package", params=PLANS)
def shared_stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Run one stack for all tests of a combination."""
    with stacks.running(request.param, tmp_path_factory.mktemp("s")) as running:
        yield running


@pytest.fixture
def stack(shared_stack: Stack) -> Iterator[Stack]:
    """Lend the shared stack; no process of it may have died when the test is over."""
    yield shared_stack
    shared_stack.sandbox.behave_well()
    shared_stack.assert_alive()
