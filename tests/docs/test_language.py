"""Documents, pages and code keep to the word list of CONTRIBUTING.md."""

from pathlib import Path

import pytest

from tests.docs.language import WORDS, complaints_in_code, complaints_in_document, documents, modules
from tests.docs.reading import ROOT


def test_the_word_list_of_contributing_is_read() -> None:
    assert len(WORDS) >= 25


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_keeps_to_the_word_list(path: Path) -> None:
    assert list(complaints_in_document(path)) == []


def test_code_keeps_to_the_word_list() -> None:
    assert [complaint for path in modules() for complaint in complaints_in_code(path)] == []
