"""Measure how easy the code is to navigate: ``python -m docs.figures``.

The docstring of each function defines its figure; ``FIGURES`` has the targets. ``docs/product.py`` defines the
product's code.
"""

import ast
import inspect
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import NamedTuple

from docs import product

# The worker itself changes accounts there, as its own actor.
NO_SURFACES = ("worker/pipeline", "worker/ledger")
# What people do, and where they do it: one name in these is one thing, as tests/docs/test_surface_names.py requires.
FOR_PEOPLE = ("worker/operations/", "worker/pages/", "worker/api/", "worker/cli/")

WAY_HEADING = "## The way of an event\n"


class Figure(NamedTuple):
    """Describe a figure with its target; ``measure`` returns the number and a suffix for the output."""

    name: str
    measure: Callable[[], tuple[float, str]]
    target: str


def files_in_a_folder() -> tuple[float, str]:
    """Measure the median and the largest number of Python files in a folder, including ``__init__.py``."""
    sizes = Counter(path.parent for path in product.files() if path.parent != Path())
    return median(sizes.values()), f" (up to {max(sizes.values())})"


def shared_function_names() -> tuple[float, str]:
    """Measure the share of names of public module-level functions that two or more modules define.

    Migrations do not count.
    """
    holders = function_holders()
    return round(100 * sum(len(paths) > 1 for paths in holders.values()) / len(holders)), " %"


def function_holders() -> Mapping[str, list[Path]]:
    """Return the files that define each public module-level function, by its name."""
    holders: dict[str, list[Path]] = defaultdict(list)
    for path in product.files():
        if not product.is_migration(path):
            for name in _public_functions(product.tree(path)):
                holders[name].append(path)
    return holders


def public_names() -> tuple[float, str]:
    """Count public functions and classes of modules, public methods, and constants (the number in brackets).

    A constant is an UPPER_CASE name to which a module assigns a value. Migrations do not count.
    """
    trees = [product.tree(path) for path in product.files() if not product.is_migration(path)]
    constants = sum(1 for tree in trees for _ in _constants(tree))
    return constants + sum(_definitions(tree.body) for tree in trees), f" ({constants:,} constants)"


def repeated_file_names() -> tuple[float, str]:
    """Count the file names, except ``__init__.py``, that two or more folders contain.

    Pages, API, command line and operations count as one folder: there, one name is one thing.
    """
    return len(file_holders()), ""


def file_holders() -> Mapping[str, list[Path]]:
    """Return the files of each name that two or more folders have; the folders for people are one."""
    holders: dict[str, list[Path]] = defaultdict(list)
    for path in product.files():
        if path.name != "__init__.py":
            holders[path.name].append(path)
    return {name: paths for name, paths in holders.items() if len(set(map(_folder_of, paths))) > 1}


def _folder_of(path: Path) -> Path:
    return Path(FOR_PEOPLE[0]) if path.as_posix().startswith(FOR_PEOPLE) else path.parent


def two_way_packages() -> tuple[float, str]:
    """Count the pairs of packages that import each other; a module directly in ``worker`` is a package."""
    return len(two_way_pairs()), ""


def two_way_pairs() -> set[tuple[str, str]]:
    """Return the pairs of packages that import each other, each pair once and in order."""
    edges = {
        (product.package_of(module), product.package_of(other))
        for module, others in product.import_graph().items()
        for other in others
    }
    return {(first, second) for first, second in edges if first < second and (second, first) in edges}


def modules_on_the_way() -> tuple[float, str]:
    """Count the modules that docs/architecture.md lists on the way of an event; a test compares them with a trace."""
    return len(re.findall(r"\w+(?=[,;]|$)", "\n".join(_way_cells()), re.MULTILINE)), ""


def way_table() -> str:
    """Return the table of docs/architecture.md that lists the modules."""
    section = (product.ROOT / "docs" / "architecture.md").read_text().partition(WAY_HEADING)[2]
    rows = section.partition("\n## ")[0].splitlines()
    return "\n".join(row for row in rows if row.startswith("|"))


def _way_cells() -> list[str]:
    return [row.split("|")[3].strip() for row in way_table().splitlines()[2:]]


def places_of_an_action() -> tuple[float, str]:
    """Count the packages that write actions of people into the audit log."""
    return len(
        {product.package_of(product.module_name(path)) for path in product.files() if _writes_audit(path)}
    ), ""


def product_lines() -> tuple[float, str]:
    """Count the lines of the product's Python files."""
    return sum(len(product.text(path).splitlines()) for path in product.files()), ""


FIGURES = (
    Figure("files in a folder, median", files_in_a_folder, "≤ 8"),
    Figure("public function names that two modules have", shared_function_names, "≤ 6 %"),
    Figure("public names to learn", public_names, "≤ 1,450 (200)"),
    Figure("file names used twice or more", repeated_file_names, "≤ 10"),
    Figure("packages that import each other", two_way_packages, "0"),
    Figure("modules on the way of an event", modules_on_the_way, "≤ 50"),
    Figure("places that implement an operator's action", places_of_an_action, "1"),
    Figure("product lines", product_lines, "falls"),
)


def value_of(name: str) -> float:
    """Return one figure's number."""
    return next(figure.measure()[0] for figure in FIGURES if figure.name == name)


def _public_functions(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node.name


def _constants(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        for target in targets:
            if isinstance(target, ast.Name) and target.id.isupper() and not target.id.startswith("_"):
                yield target.id


def _definitions(body: list[ast.stmt]) -> int:
    """Count public functions and classes, and the public methods of all classes."""
    total = 0
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            total += not node.name.startswith("_")
        if isinstance(node, ast.ClassDef):
            methods = [inner for inner in node.body if not isinstance(inner, ast.ClassDef)]
            total += _definitions(methods)
    return total


def _writes_audit(path: Path) -> bool:
    if path.as_posix().startswith(NO_SURFACES):
        return False
    return re.search(r"\baudit_log\.append_audit_entry\(", product.text(path)) is not None


def table() -> str:
    """Return the figures with their targets, then what each of them counts."""
    rows, notes = [], []
    for figure in FIGURES:
        number, more = figure.measure()
        rows.append((figure.name, f"{number:,g}{more}", figure.target))
        notes.append(f"{figure.name}: {' '.join((inspect.getdoc(figure.measure) or '').split())}")
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([*(line.rstrip() for line in lines), "", *notes, ""])


if __name__ == "__main__":
    sys.stdout.write(table())
