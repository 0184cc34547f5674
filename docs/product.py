"""Read the product's code: modules, imports and definitions.

Product code is every Python file under ``worker/`` and ``tasks/``, and ``celeryconfig.py``, as git lists them:
committed files and new ones that git does not ignore. Tests, documents, benchmarks and ``setup.py`` are left out.
"""

import ast
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = ("worker", "tasks", "celeryconfig.py")


@cache
def files() -> tuple[Path, ...]:
    """Return the product's Python files, relative to the repository, in order."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *SOURCES]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603 - ours
    paths = {Path(name) for name in output.stdout.splitlines() if name.endswith(".py")}
    return tuple(sorted(path for path in paths if (ROOT / path).exists()))


def module_name(path: Path) -> str:
    """Return a module's dotted name."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


@cache
def text(path: Path) -> str:
    """Return a file's source."""
    return (ROOT / path).read_text()


@cache
def tree(path: Path) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse(text(path))


@cache
def modules() -> Mapping[str, Path]:
    """Return the product's modules by their dotted names."""
    return {module_name(path): path for path in files()}


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted name of each import in a file, including those in functions and for type checks.

    ``from a import b`` yields ``a.b``.
    """
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(path, node)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _base(path: Path, node: ast.ImportFrom) -> str:
    """Return the absolute name behind ``from``."""
    if not node.level:
        return node.module or ""
    within = path.with_suffix("").parts[: -node.level]
    return ".".join([*within, *([node.module] if node.module else [])])


@cache
def import_graph() -> Mapping[str, frozenset[str]]:
    """Return for each module the product's other modules that it imports.

    Parent packages of an imported module do not count.
    """
    return {
        name: frozenset(filter(None, map(_module_of, imports(path)))) - {name}
        for name, path in modules().items()
    }


def _module_of(name: str) -> str | None:
    """Return the product's module that an imported name is or belongs to."""
    names = modules()
    return name if name in names else (parent if (parent := name.rpartition(".")[0]) in names else None)


# Subpackages with their own row: they replace Pinterest in tests, so they share no code with the rest.
SEPARATE = ("worker.dev.sandbox", "worker.dev.sandbox.shop")


def package_of(module: str) -> str:
    """Return a module's package: ``worker.ledger`` for all in it; a module right under ``worker`` is its own."""
    for package in SEPARATE:
        if f"{module}.".startswith(f"{package}."):
            return package
    first, _, rest = module.partition(".")
    return f"worker.{rest.partition('.')[0]}" if first == "worker" and rest else first


def is_migration(path: Path) -> bool:
    """Return whether a file is a migration; Alembic prescribes the names in it."""
    return path.parts[-3:-1] == ("migrations", "versions")
