"""Every measure and every known mistake names the test that keeps it; `test_links` finds those tests."""

import re

from tests.docs.reading import ROOT

_NAMED = re.compile(r"`tests/[\w/]+\.py(?:::test_\w+)?`")


def _text(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text()


def _rows(table: str) -> list[str]:
    """Return the rows of a table that are below its head."""
    lines = table.partition("\n\n")[0].splitlines()
    return [line for line in lines if line.startswith("| ")]


def test_every_measure_of_security_names_its_test() -> None:
    tables = _text("security").split("| measure |")[1:]
    rows = [row for table in tables for row in _rows(table.partition("|---")[2])]
    assert len(rows) >= 35
    assert [row for row in rows if not _NAMED.search(row)] == []


def test_every_known_mistake_names_its_test() -> None:
    for headline, least in (("Batches and delivery", 20), ("Celery, kombu and the brokers", 30)):
        _, _, below = _text("reliability").partition(f"### {headline}\n")
        rows = _rows(below.partition("|---")[2])
        assert len(rows) >= least
        assert [row for row in rows if not _NAMED.search(row)] == []
