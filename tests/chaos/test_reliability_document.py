"""What docs/reliability.md says of the tests is so."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "reliability.md"
_NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`")


@cache
def _tests_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def _rows_below(headline: str) -> list[str]:
    """Return the rows of the first table below a headline, without its head."""
    _, _, below = DOCUMENT.read_text().partition(f"### {headline}\n")
    section = below.partition("\n#")[0]
    return [line for line in section.splitlines() if line.startswith("| ")][1:]


def test_every_test_that_is_named_exists() -> None:
    named = _NAMED.findall(DOCUMENT.read_text())
    gone = [f"{path}::{test}" for path, test in named if not (ROOT / path).exists()]
    gone += [f"{path}::{test}" for path, test in named if test and test not in _tests_in(path)]
    assert gone == []


def test_every_known_mistake_names_its_test() -> None:
    for headline, least in (("Batches and delivery", 20), ("Celery, kombu and the brokers", 30)):
        rows = _rows_below(headline)
        assert len(rows) >= least
        assert [row for row in rows if not _NAMED.search(row)] == []
