"""Figures of the code base do not rise."""

import subprocess
import sys

import pytest

from docs import figures
from docs.product import ROOT

# Lower a bound when its figure falls. The other figures have not reached their targets.
BOUNDS = {
    "packages that import each other": 0,
    "files in a folder, median": 8,
    "public function names that two modules have": 2,
    "public names to learn": 1_711,
    "file names used twice or more": 8,
    "modules on the way of an event": 84,
    "places that implement an operator's action": 1,
}


@pytest.mark.parametrize("name", BOUNDS)
def test_a_figure_that_must_hold_is_within_its_bound(name: str) -> None:
    assert figures.value_of(name) <= BOUNDS[name]


def test_the_command_prints_every_figure_with_its_target_and_what_it_counts() -> None:
    command = [sys.executable, "-m", "docs.figures"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    rows, _, notes = printed.partition("\n\n")
    assert len(rows.splitlines()) == len(figures.FIGURES)
    for figure in figures.FIGURES:
        assert figure.name in rows
        assert figure.target in rows
        assert f"{figure.name}: " in notes
