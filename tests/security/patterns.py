"""Find every regular expression in the product's modules."""

import ast
import importlib
import pkgutil
import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from werkzeug.local import LocalProxy

import tasks
import worker

ROOT = Path(worker.__file__).parents[1]
SEARCHING = frozenset(("search", "sub", "subn", "findall", "finditer", "split"))
METHODS = SEARCHING | {"match", "fullmatch"}


@dataclass(frozen=True, slots=True)
class Found:
    """A pattern, its module and name, and the methods that the code calls on it."""

    where: str
    pattern: re.Pattern[Any]
    methods: frozenset[str]


@cache
def modules() -> tuple[types.ModuleType, ...]:
    """Import every module except those that start a program."""
    names = [
        module.name
        for package in (worker, tasks)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.", onerror=_fail)
        if not module.name.endswith("__main__")
    ]
    return tuple(importlib.import_module(name) for name in names)


def _fail(name: str) -> None:
    raise ImportError(name)


@cache
def trees() -> tuple[tuple[str, ast.Module], ...]:
    """Return the parsed source of each file."""
    return tuple(
        (str(path.relative_to(ROOT)), ast.parse(path.read_text("utf-8")))
        for package in ("worker", "tasks")
        for path in sorted((ROOT / package).rglob("*.py"))
    )


@cache
def patterns() -> tuple[Found, ...]:
    """Return every pattern in the globals, classes, tables and functions of a module."""
    called = _methods_by_name()
    found: dict[tuple[str, int, frozenset[str]], Found] = {}
    seen: set[int] = set()
    for module in modules():
        for name, value in vars(module).items():
            for pattern, method in _reached(value, seen):
                methods = frozenset((method,)) if method else called.get(name, SEARCHING)
                key = (str(pattern.pattern), pattern.flags, methods)
                found.setdefault(key, Found(f"{module.__name__}:{name}", pattern, methods))
    return tuple(found.values())


def _methods_by_name() -> Mapping[str, frozenset[str]]:
    """Return the methods that the code calls on each name; names that are passed on are left out."""
    called: dict[str, set[str]] = {}
    for _, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in METHODS and isinstance(node.value, ast.Name):
                called.setdefault(node.value.id, set()).add(node.attr)
    passed = {
        node.id
        for _, tree in trees()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call | ast.Tuple | ast.List | ast.Dict)
        for node in ast.iter_child_nodes(call)
        if isinstance(node, ast.Name) and node is not getattr(call, "func", None)
    }
    return {name: frozenset(methods) for name, methods in called.items() if name not in passed}


def _reached(value: Any, seen: set[int]) -> Iterator[tuple[re.Pattern[Any], str | None]]:
    """Yield the patterns in a value, with the method if the value is a pattern's method."""
    if isinstance(value, LocalProxy):
        return
    if isinstance(value, re.Pattern):
        yield value, None
    elif isinstance(getattr(value, "__self__", None), re.Pattern):
        yield value.__self__, value.__name__
    elif id(value) not in seen:
        seen.add(id(value))
        for below in _parts(value):
            yield from _reached(below, seen)


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        yield from value
    elif isinstance(value, types.FunctionType) and _is_ours(value):
        yield from value.__defaults__ or ()
        yield from (value.__kwdefaults__ or {}).values()
        yield from (cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell))
    elif isinstance(value, type) and _is_ours(value):
        yield from vars(value).values()
    elif hasattr(type(value), "__wrapped__") or "__wrapped__" in getattr(value, "__dict__", {}):
        yield value.__wrapped__
    elif isinstance(value, property | staticmethod | classmethod):
        yield from filter(None, (getattr(value, name, None) for name in ("fget", "__func__")))
    elif type(value).__module__.startswith(("worker.", "marshmallow.")):
        yield from getattr(value, "__dict__", {}).values()
    elif isinstance(value, partial):
        yield from (value.func, *value.args)


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _is_ours(value: Any) -> bool:
    return str(value.__module__).startswith(("worker", "tasks"))


def uses_of_re() -> Iterator[tuple[str, ast.Call, bool]]:
    """Yield each call of the module ``re``: its place, the call, and whether it is inside a function."""
    for where, tree in trees():
        inside = {
            id(below)
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for below in ast.walk(node)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = node.func.value
                if isinstance(owner, ast.Name) and owner.id == "re":
                    yield f"{where}:{node.lineno}", node, id(node) in inside
