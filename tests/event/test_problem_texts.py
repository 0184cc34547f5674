"""Each kind of problem says what it means and what to do."""

import re

import pytest

from worker.event.problem_texts import problem_text
from worker.event.problems import Problem
from worker.monitoring.measures_as_metrics import CLASSES


@pytest.mark.parametrize("kind", Problem)
def test_a_kind_has_a_title_and_two_explanations_in_whole_sentences(kind: Problem) -> None:
    title, meaning, what_to_do = problem_text(kind)
    assert title[0].isupper()
    assert not title.endswith(".")
    for text in (meaning, what_to_do):
        assert re.fullmatch(r"[A-Z].*\.", text)


@pytest.mark.parametrize("reason_class", [*CLASSES, "consent", "duplicate", "override", "refund", "unsigned"])
def test_a_reason_why_an_event_was_not_delivered_has_a_title_and_says_what_to_do(reason_class: str) -> None:
    title, _, what_to_do = problem_text(reason_class)
    assert title[0].isupper()
    assert "changelog" not in what_to_do
    assert re.fullmatch(r"[A-Z].*\.", what_to_do)


def test_titles_are_different() -> None:
    assert len({problem_text(kind).title for kind in Problem}) == len(Problem)


def test_a_kind_of_a_newer_version_is_shown_by_its_name() -> None:
    assert problem_text("colour_unreadable").title == "Colour unreadable"
