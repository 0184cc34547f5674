"""The rows, their documentation and the figures in it agree."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.__main__ import ROWS

PAGE = report.PAGE.read_text()


@pytest.mark.parametrize("row", ROWS)
def test_every_row_can_be_run_and_stands_in_the_documentation(row: str) -> None:
    assert callable(import_module(ROWS[row]).run)
    assert f"`{row}`" in PAGE


@pytest.mark.parametrize("page", sorted((report.ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_the_documentation_names_no_row_that_there_is_not(page: Path) -> None:
    text = page.read_text()
    named = re.findall(r"make bench ROW=([\w-]+)", text) + re.findall(r"[Tt]he row `([\w-]+)`", text)
    assert set(named) <= set(ROWS)


def test_the_table_and_the_chart_show_the_figures_that_were_kept() -> None:
    results = report.kept()
    assert report.with_table(PAGE, results) == PAGE
    assert report.chart(results) == report.CHART.read_text()
    scaling = report.SCALING.read_text()
    assert report.with_cores(scaling, results) == scaling


def test_a_row_that_does_not_exist_is_refused_with_those_that_do() -> None:
    command = [sys.executable, "-m", "benchmarks", "nonsense"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=report.ROOT)
    assert run.returncode == 1
    assert run.stderr.strip() == f"There is no row 'nonsense'; there are {', '.join(ROWS)}."


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("row", ["publish", "embedded"])
def test_a_row_runs_and_prints_its_ratios_and_its_goals(row: str) -> None:
    """The second one runs both sides whole: every process of ours, and the usual way."""
    before = report.FIGURES.read_text()
    command = [sys.executable, "-m", "benchmarks", "--quick", row]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=report.ROOT)
    assert (run.returncode, run.stderr) == (0, "")
    assert re.search(r"^  [\d.,]+ times ", run.stdout, re.MULTILINE)
    assert re.search(r"^  goal, .*: (met|missed by \d+%) \(", run.stdout, re.MULTILINE)
    assert report.FIGURES.read_text() == before
