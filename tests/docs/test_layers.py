"""Each package imports only what its row in docs/architecture.md allows."""

import re
import subprocess
import sys
from graphlib import TopologicalSorter
from typing import NamedTuple

import pytest

from docs import product

LIBRARIES = {
    "Celery": ("celery", "kombu", "amqp", "billiard"),
    "Flask": ("flask", "flask_smorest", "werkzeug"),
    "requests": ("requests", "urllib3"),
    "SQL": ("sqlalchemy", "alembic", "psycopg"),
}
# Passing on a connection and catching database errors is not SQL.
NO_SQL = re.compile(r"sqlalchemy\.(Connection|exc\b.*)")


class Row(NamedTuple):
    """A row of the table: packages, and what they may import."""

    packages: frozenset[str]
    imports: frozenset[str]
    libraries: frozenset[str]


def _package(path: str) -> str:
    """Return the dotted name of a package or of a module directly in ``worker``."""
    return path.strip("/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _words(cell: str) -> list[str]:
    return [word.strip(" `") for word in cell.split(",") if word.strip(" `")]


def _read_rows() -> list[Row]:
    text = (product.ROOT / "docs" / "architecture.md").read_text()
    section = text.partition("## The packages\n")[2].partition("\n## ")[0]
    cells = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| `")]
    packages = [[_package(path) for path in _words(row[0])] for row in cells]
    by_short_name = {name.rpartition(".")[2]: name for names in packages for name in names}
    return [
        Row(
            frozenset(names),
            frozenset(by_short_name[word] for word in _words(row[2])),
            frozenset(_words(row[3])),
        )
        for names, row in zip(packages, cells, strict=True)
    ]


ROWS = _read_rows()
ROW_OF = {package: row for row in ROWS for package in row.packages}


def _package_imports() -> set[tuple[str, str]]:
    """Return pairs of a module and another package that it imports."""
    return {
        (module, product.package_of(other))
        for module, others in product.import_graph().items()
        for other in others
        if product.package_of(module) != product.package_of(other)
    }


def _is_allowed(module: str, package: str) -> bool:
    row = ROW_OF[product.package_of(module)]
    return package in row.imports | row.packages


def test_every_package_has_one_row() -> None:
    listed = [package for row in ROWS for package in row.packages]
    assert sorted(listed) == sorted({product.package_of(module) for module in product.modules()})


def test_every_package_imports_only_what_its_row_allows() -> None:
    wrong = sorted(edge for edge in _package_imports() if not _is_allowed(*edge))
    assert [f"{module} imports {package}" for module, package in wrong] == []


def test_production_needs_nothing_of_the_package_for_development() -> None:
    """Only two commands for development import it, when they run."""
    importers = {module for module, package in _package_imports() if package.startswith("worker.dev")}
    assert importers - {"worker.cli.run", "worker.cli.demo"} == set()
    code = "import sys, worker.cli; print(*(name for name in sys.modules if name.startswith('worker.dev')))"
    done = subprocess.run([sys.executable, "-c", code], cwd=product.ROOT, capture_output=True, check=True)
    assert done.stdout.strip() == b""


def test_the_table_goes_one_way() -> None:
    number = {package: index for index, row in enumerate(ROWS) for package in row.packages}
    below = {index: {number[package] for package in row.imports} - {index} for index, row in enumerate(ROWS)}
    assert len(list(TopologicalSorter(below).static_order())) == len(ROWS)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_imported_only_where_the_table_says(library: str) -> None:
    found = [
        f"{path} imports {name}"
        for module, path in product.modules().items()
        for name in product.imports(path)
        if name.split(".")[0] in LIBRARIES[library]
        and not NO_SQL.fullmatch(name)
        and library not in ROW_OF[product.package_of(module)].libraries
    ]
    assert found == []


def test_the_table_names_only_libraries_that_are_known() -> None:
    assert {library for row in ROWS for library in row.libraries} <= LIBRARIES.keys()


def test_no_module_imports_a_module_that_imports_it() -> None:
    """Imports in functions, for type checks and through other modules count too."""
    graph = product.import_graph()
    assert len(list(TopologicalSorter(graph).static_order())) == len(graph)
