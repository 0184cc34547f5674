"""Servers that misbehave, and clients with short timeouts."""

from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from tests.http.raw_server import Connect, Serve, Server
from worker.pinterest.client.client import PinterestClient


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda behaviour, context=None: stack.enter_context(closing(Server(behaviour, context)))


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Make clients with short timeouts, and close them before the servers."""
    with ExitStack() as stack:

        def make(url: str, connect: float = 0.5, read: float = 0.5, deadline: float = 3.0) -> PinterestClient:
            made = PinterestClient(
                url, connect_timeout_seconds=connect, read_timeout_seconds=read, deadline_seconds=deadline
            )
            return stack.enter_context(closing(made))

        yield make
