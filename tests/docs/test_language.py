"""Documents keep to the word list of CONTRIBUTING.md."""

from pathlib import Path

import pytest

from tests.docs.language import WORDS, complaints_in_document, documents
from tests.docs.reading import ROOT

# Generated from the API's docstrings.
_GENERATED = {"docs/api.md"}
_DOCUMENTS = [
    path for path in documents() if path.suffix != ".html" and str(path.relative_to(ROOT)) not in _GENERATED
]


def test_the_word_list_of_contributing_is_read() -> None:
    assert len(WORDS) >= 25


@pytest.mark.parametrize("path", _DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_keeps_to_the_word_list(path: Path) -> None:
    assert list(complaints_in_document(path)) == []
