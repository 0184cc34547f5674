"""Run one sandbox for the tests, with a clean memory for each."""

from collections.abc import Iterator

import pytest

from worker.dev.sandbox.server import Sandbox, sandbox_in_thread


@pytest.fixture(scope="session")
def running_sandbox() -> Iterator[Sandbox]:
    with sandbox_in_thread() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running_sandbox: Sandbox) -> Sandbox:
    running_sandbox.forget()
    running_sandbox.behave_well()
    return running_sandbox
