"""The rooms are those of the drawing, know no more than it says, and import one way."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.docs.reading import ROOT

EVERYTHING_ELSE = "everything else"
# By what a module would know of it.
MEANT = {
    "Celery": ("celery", "kombu"),
    "SQL": ("sqlalchemy", "psycopg"),
    "HTTP": ("flask", "http", "requests", "urllib3", "werkzeug"),
    "Pinterest": ("worker.pinterest",),
    "the domain": ("worker.events", "worker.pinterest"),
    EVERYTHING_ELSE: ("celery", "flask", "sqlalchemy", "tasks", "worker"),
}


def _rows() -> list[tuple[str, list[str]]]:
    """Return each room of the document, with what it is to know nothing of."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text.partition("## The rooms\n")[2].partition("\n## ")[0]
    cells = [line.split("|") for line in table.splitlines() if line.startswith("| `")]
    return [
        (one[1].strip(" `"), [part.strip() for part in one[3].split(",") if part.strip()]) for one in cells
    ]


ROWS = _rows()


def _modules(room: str) -> list[Path]:
    path = ROOT / room
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def _imports(path: Path) -> Iterator[str]:
    """Yield the name of each module that one imports, and of what it takes from it, for that may be a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _is_in(name: str, package: str) -> bool:
    return f"{name}.".startswith(f"{package}.")


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_every_room_is_in_the_document_and_every_row_is_a_room() -> None:
    folders = {f"worker/{path.parent.name}/" for path in (ROOT / "worker").glob("*/__init__.py")}
    assert {room for room, _ in ROWS if room.endswith("/")} == folders | {"tasks/"}


@pytest.mark.parametrize(("room", "unknown"), ROWS, ids=[room for room, _ in ROWS])
def test_a_room_knows_no_more_than_the_document_says(room: str, unknown: list[str]) -> None:
    own = room.strip("/").replace("/", ".")
    strangers = [package for words in unknown for package in MEANT[words]]
    found = [
        f"{path.name} imports {name}"
        for path in _modules(room)
        for name in _imports(path)
        if not _is_in(name, own) and any(_is_in(name, package) for package in strangers)
    ]
    assert found == []


def test_no_module_imports_one_that_imports_it() -> None:
    """Also not by way of others, and not inside a function: what stands below knows nothing of what uses it."""
    paths = [*_modules("worker"), *_modules("tasks"), ROOT / "celeryconfig.py"]
    graph = {_name(path): set(_imports(path)) for path in paths}
    # The package itself only hands on what `celery -A worker` asks for.
    known = graph.keys() - {"worker"}
    below = {name: (graph[name] & known) - {name} for name in known}
    assert len(list(TopologicalSorter(below).static_order())) == len(known)
