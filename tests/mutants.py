"""Change single comparisons and conditions of the delivery code, and print the changes that no test notices.

Run ``python -m tests.mutants --count 100 --seed 1``. Each change is tried in a copy of the checkout, with the tests
that run its line.
"""

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
# The folders that decide what is sent, and the tests that must notice a change.
FOLDERS = (
    "worker/ledger/delivery",
    "worker/ledger/intake",
    "worker/pipeline/delivery",
    "worker/pipeline/upkeep",
    "worker/pinterest/client",
)
TESTS = (
    "tests/ledger/delivery",
    "tests/ledger/intake",
    "tests/pipeline/delivery",
    "tests/pipeline/ingest",
    "tests/pipeline/upkeep",
    "tests/pinterest/client",
    "tests/collector/test_spooling.py",
    "tests/chaos/test_timelines.py",
)
# A count is changed by one. No test can see whether a moment belongs to the time before or after it.
_BY_ONE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}
_OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_ALONE = ("-n", "0", "-p", "no:cacheprovider")
_LIMIT_SECONDS = 600.0
# A line that more tests run is one that all of them need; few of them look at what it does.
_MOST_TESTS = 250
_MUTATED = tuple(f"{ROOT / folder}/" for folder in FOLDERS)
TraceFunction = Callable[[FrameType, str, Any], Any]


@dataclass(frozen=True)
class Mutant:
    """A change of one expression."""

    path: str
    line: int
    old: str
    new: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.old}  ->  {self.new}"


def mutants() -> Iterator[Mutant]:
    """Yield each possible change, in the order of the files."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).glob("*.py")):
            source = path.read_text()
            for node in ast.walk(ast.parse(source)):
                # A change within one line is found again by its place.
                if not isinstance(node, ast.expr) or node.end_lineno != node.lineno:
                    continue
                if (changed := _changed(node)) is None:
                    continue
                lines = source.splitlines(keepends=True)
                line = lines[node.lineno - 1].encode()
                old = line[node.col_offset : node.end_col_offset].decode()
                new = f"({ast.unparse(changed)})"
                lines[node.lineno - 1] = (
                    line[: node.col_offset] + new.encode() + line[node.end_col_offset :]
                ).decode()
                name = str(path.relative_to(ROOT))
                yield Mutant(name, node.lineno, old, new, "".join(lines))


def _changed(node: ast.AST) -> ast.expr | None:
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _OPPOSITE:
        operator = type(node.ops[0])
        of_count = _BY_ONE if any(map(_is_count, (node.left, *node.comparators))) else {}
        return ast.Compare(node.left, [of_count.get(operator, _OPPOSITE[operator])()], node.comparators)
    if isinstance(node, ast.BoolOp):
        return ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return node.operand
    return None


def _is_count(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "len"
    return isinstance(node, ast.Constant) and isinstance(node.value, int)


class Recorder:
    """Record as a plugin of pytest which tests run a line, and how long each test takes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._tests: dict[tuple[str, int], set[str]] = defaultdict(set)
        self._test = ""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Trace a test with its fixtures."""
        self._test = item.nodeid
        threading.settrace(self._enter)
        sys.settrace(self._enter)
        try:
            return (yield)
        finally:
            sys.settrace(None)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up a test's time."""
        self.seconds[report.nodeid] += report.duration

    def _enter(self, frame: FrameType, event: str, argument: object) -> TraceFunction | None:
        return self._step if frame.f_code.co_filename.startswith(_MUTATED) else None

    def _step(self, frame: FrameType, event: str, argument: object) -> TraceFunction:
        self._tests[frame.f_code.co_filename, frame.f_lineno].add(self._test)
        return self._step

    def tests_of(self, mutant: Mutant) -> list[str]:
        """Return tests that run a changed line, those of its module and the fastest first.

        For a line of no function they are all tests that run something of its module.
        """
        path = str(ROOT / mutant.path)
        of_module = set[str]().union(*(tests for (name, _), tests in self._tests.items() if name == path))
        tests = self._tests.get((path, mutant.line), of_module)
        module, folder = Path(mutant.path).stem, f"tests/{Path(mutant.path).parent.relative_to('worker')}/"

        def order(test: str) -> tuple[bool, bool, float]:
            return f"test_{module}.py" not in test, not test.startswith(folder), self.seconds[test]

        return sorted(tests, key=order)[:_MOST_TESTS]


def survives(mutant: Mutant, copy: Path, tests: list[str]) -> bool:
    """Return whether the tests pass with a change; also true without tests."""
    if not tests:
        return True
    target = copy / mutant.path
    original = target.read_text()
    target.write_text(mutant.text)
    command = [sys.executable, "-m", "pytest", "-q", "-x", *_ALONE, *tests]
    try:
        done = subprocess.run(
            command,
            cwd=copy,
            env=os.environ | {"PYTHONPATH": str(copy)},
            capture_output=True,
            timeout=_LIMIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    finally:
        target.write_text(original)
    return done.returncode == 0


def main() -> None:
    """Try a seeded choice of changes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    possible = list(mutants())
    some = random.Random(chosen.seed).sample(possible, min(chosen.count, len(possible)))
    recorder = Recorder()
    if pytest.main(["-q", "-x", *_ALONE, *TESTS], plugins=[recorder]):
        sys.exit("The tests fail without a change.")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        ignored = shutil.ignore_patterns(".git", ".venv", "var", "__pycache__")
        shutil.copytree(ROOT, copy, ignore=ignored)
        survivors = 0
        for number, mutant in enumerate(some, 1):
            alive = survives(mutant, copy, recorder.tests_of(mutant))
            survivors += alive
            print(f"{number:>4} {'SURVIVED' if alive else 'killed  '} {mutant}", flush=True)
    print(f"{survivors} of {len(some)} changes survived; {len(possible)} are possible.")
    sys.exit(survivors > 0)


if __name__ == "__main__":
    main()
