"""Every protection and every known mistake names its test; `test_links` checks that these tests exist."""

import re

from tests.docs.reading import ROOT

_NAMED = re.compile(r"`tests/[\w/]+\.py(?:::test_\w+)?`")


def _text(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text()


def _rows(table: str) -> list[str]:
    """Return the rows below a table's head."""
    lines = table.partition("\n\n")[0].splitlines()
    return [line for line in lines if line.startswith("| ")]


def test_every_protection_of_security_names_its_test() -> None:
    section = _text("security").partition("\n## Protections\n")[2].partition("\n## ")[0]
    protections = re.findall(r"^- \*\*.*(?:\n  .*)*", section, re.MULTILINE)
    assert len(protections) >= 45
    assert [text for text in protections if not _NAMED.search(text)] == []


def test_every_known_mistake_names_its_test() -> None:
    for headline, least in (("Batches and delivery", 20), ("Celery, kombu and the brokers", 30)):
        _, _, below = _text("reliability").partition(f"### {headline}\n")
        rows = _rows(below.partition("|---")[2])
        assert len(rows) >= least
        assert [row for row in rows if not _NAMED.search(row)] == []
