"""What a worker process sets up when it starts."""

import gc
from collections.abc import Iterator

import pytest

from worker.app import collect_rarely


@pytest.fixture
def _usual_collector() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.usefixtures("_usual_collector")
def test_the_garbage_collector_leaves_the_program_alone_and_looks_rarely() -> None:
    collect_rarely()
    assert gc.get_freeze_count() > 10_000
    assert gc.get_threshold()[0] == 50_000
    assert gc.isenabled()
