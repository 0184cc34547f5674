"""Documents and pages keep to the word list of CONTRIBUTING.md."""

from tests.docs.language import WORDS


def test_the_word_list_of_contributing_is_read() -> None:
    assert len(WORDS) >= 25
