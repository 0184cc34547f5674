"""Change single comparisons and conditions of the delivery code, and print the changes that no test notices.

Run ``python -m tests.mutants --count 100 --seed 1``. Each change is tried in a copy of the checkout.
"""

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
# The folders that decide what is sent, each with the tests that must notice a change.
FOLDERS = {
    "worker/ledger/delivery": ("tests/ledger/delivery", "tests/pipeline/delivery"),
    "worker/ledger/intake": (
        "tests/ledger/intake",
        "tests/pipeline/upkeep",
        "tests/collector/test_spooling.py",
    ),
    "worker/pipeline/delivery": ("tests/pipeline/delivery", "tests/chaos/test_timelines.py"),
    "worker/pipeline/upkeep": ("tests/pipeline/upkeep",),
    "worker/pinterest/client": ("tests/pinterest/client",),
}
_OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_LIMIT_SECONDS = 600.0


@dataclass(frozen=True)
class Mutant:
    """A change of one expression."""

    path: str
    tests: tuple[str, ...]
    line: int
    old: str
    new: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.old}  ->  {self.new}"


def mutants() -> Iterator[Mutant]:
    """Yield each possible change, in the order of the files."""
    for folder, tests in FOLDERS.items():
        for path in sorted((ROOT / folder).glob("*.py")):
            source = path.read_text()
            for node in ast.walk(ast.parse(source)):
                changed = _changed(node)
                old = ast.get_source_segment(source, node)
                # A change within one line is found again by its place.
                if changed is None or old is None or "\n" in old or not isinstance(node, ast.expr):
                    continue
                lines = source.splitlines(keepends=True)
                line = lines[node.lineno - 1].encode()
                new = f"({ast.unparse(changed)})"
                lines[node.lineno - 1] = (
                    line[: node.col_offset] + new.encode() + line[node.end_col_offset :]
                ).decode()
                name = str(path.relative_to(ROOT))
                yield Mutant(name, tests, node.lineno, old, new, "".join(lines))


def _changed(node: ast.AST) -> ast.expr | None:
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _OPPOSITE:
        return ast.Compare(node.left, [_OPPOSITE[type(node.ops[0])]()], node.comparators)
    if isinstance(node, ast.BoolOp):
        return ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return node.operand
    return None


def survives(mutant: Mutant, copy: Path) -> bool:
    """Return whether the tests pass with a change."""
    target = copy / mutant.path
    original = target.read_text()
    target.write_text(mutant.text)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", *mutant.tests]
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
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        ignored = shutil.ignore_patterns(".git", ".venv", "var", "__pycache__")
        shutil.copytree(ROOT, copy, ignore=ignored)
        survivors = 0
        for number, mutant in enumerate(some, 1):
            alive = survives(mutant, copy)
            survivors += alive
            print(f"{number:>4} {'SURVIVED' if alive else 'killed  '} {mutant}", flush=True)
    print(f"{survivors} of {len(some)} changes survived; {len(possible)} are possible.")
    sys.exit(survivors > 0)


if __name__ == "__main__":
    main()
