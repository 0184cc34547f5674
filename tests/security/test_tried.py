"""The security page counts what the tests of attacks try, and no test of them may go unnoticed."""

import re

import pytest

from docs.product import ROOT
from tests.security import tried


@pytest.mark.slow
def test_the_tests_try_at_least_what_the_page_says() -> None:
    page = (
        (ROOT / "docs" / "security.md")
        .read_text()
        .partition("## What the tests try")[2]
        .partition("\n## ")[0]
    )
    stated = {
        name: int(n.replace(",", ""))
        for name, n in re.findall(r"^\| (.+) \| ([\d,]+) \|$", page, re.MULTILINE)
    }
    counted = tried.counts()
    assert stated.keys() == counted.keys()
    # New cases need no change of the page, until it is far behind.
    wrong = {
        name: (stated[name], n) for name, n in counted.items() if not stated[name] <= n < 2 * stated[name]
    }
    assert wrong == {}
