"""What docs/security.md and docs/data.md say of the tests is so."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "security.md"
_NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`")


@cache
def _tests_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def _measures() -> list[str]:
    """Return the rows of all tables that say what keeps a measure."""
    rows: list[str] = []
    for table in DOCUMENT.read_text().split("| measure |")[1:]:
        lines = table.partition("\n\n")[0].splitlines()[2:]
        rows += [line for line in lines if line.startswith("| ")]
    return rows


@pytest.mark.parametrize("name", ["security", "data", "backup"])
def test_every_test_that_is_named_exists(name: str) -> None:
    named = _NAMED.findall((ROOT / "docs" / f"{name}.md").read_text())
    assert named
    gone = [f"{path}::{test}" for path, test in named if not (ROOT / path).exists()]
    assert gone == []
    assert [f"{path}::{test}" for path, test in named if test and test not in _tests_in(path)] == []


def test_every_measure_names_the_test_that_keeps_it() -> None:
    rows = _measures()
    assert len(rows) >= 35
    assert [row for row in rows if not _NAMED.search(row)] == []
