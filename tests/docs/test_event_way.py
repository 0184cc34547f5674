"""docs/architecture.md lists the modules that an event passes."""

import pytest

from docs.figures import way_table
from tests.docs.event_way import STEPS, modules_on_the_way, table


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return modules_on_the_way(tmp_path_factory.mktemp("way"))


def test_the_document_lists_the_modules_that_an_event_enters_in_their_order(modules: list[str]) -> None:
    assert way_table() == table(modules), "run `python -m tests.docs.event_way --write`"


def test_the_steps_follow_each_other(modules: list[str]) -> None:
    firsts = [modules.index(step.first) for step in STEPS if step.first]
    assert firsts == sorted(firsts)
