"""Migrations only add, so that the previous version works on the new tables: an upgrade needs no downtime."""

import ast
from functools import cache
from pathlib import Path

import pytest

from worker.ledger.migrate import _SCRIPTS

VERSIONS = sorted((_SCRIPTS / "versions").glob("*.py"))
# Dropping an index is allowed: queries get the same answers without it.
ADDING = {"create_table", "create_index", "drop_index", "add_column", "f", "execute"}


@cache
def _upgrade(path: Path) -> ast.FunctionDef:
    functions = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    return next(function for function in functions if function.name == "upgrade")


def _calls(path: Path, module: str) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(_upgrade(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == module
    ]


@pytest.mark.parametrize("path", VERSIONS, ids=lambda path: path.stem)
def test_a_migration_takes_nothing_away_and_changes_no_column(path: Path) -> None:
    names = [call.func.attr for call in _calls(path, "op") if isinstance(call.func, ast.Attribute)]
    assert names
    assert sorted(set(names) - ADDING) == []


@pytest.mark.parametrize("path", VERSIONS[1:], ids=lambda path: path.stem)
def test_older_code_may_leave_out_a_new_column(path: Path) -> None:
    of_new_tables = {
        id(node) for call in _calls(path, "op") if _name(call) == "create_table" for node in ast.walk(call)
    }
    added = [call for call in _calls(path, "sa") if _name(call) == "Column" and id(call) not in of_new_tables]
    for column in added:
        said = {word.arg: ast.unparse(word.value) for word in column.keywords}
        assert said.get("nullable", "True") == "True" or "server_default" in said, ast.unparse(column)
    assert bool(added) == any(_name(call) == "add_column" for call in _calls(path, "op"))


@pytest.mark.parametrize("path", VERSIONS[1:], ids=lambda path: path.stem)
def test_a_new_index_allows_everything_that_the_previous_version_writes(path: Path) -> None:
    new = {ast.unparse(call.args[0]) for call in _calls(path, "op") if _name(call) == "create_table"}
    added = _added_columns(path)
    for call in _calls(path, "op"):
        is_unique = any(word.arg == "unique" and ast.unparse(word.value) == "True" for word in call.keywords)
        if _name(call) == "create_index" and is_unique:
            # A new column is empty in all rows that the previous version writes, and the index leaves these out.
            first = ast.unparse(call.args[2]).strip("[]").split(",")[0]
            leaves_empty_out = first in added and f"{first[1:-1]} IS NOT NULL" in path.read_text()
            assert leaves_empty_out or ast.unparse(call.args[1]) in new, ast.unparse(call)


@pytest.mark.parametrize("path", VERSIONS, ids=lambda path: path.stem)
def test_a_statement_of_a_migration_only_fills_a_new_column_or_table(path: Path) -> None:
    added = _added_columns(path)
    tables = {ast.unparse(call.args[0]) for call in _calls(path, "op") if _name(call) == "create_table"}
    texts = {
        ast.unparse(node.targets[0]): node.value.value
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    }
    for call in _calls(path, "op"):
        if _name(call) == "execute":
            words = texts[ast.unparse(call.args[0])].split()
            if words[:2] == ["INSERT", "INTO"]:
                assert repr(words[2]) in tables
                assert not {"DELETE", "DROP", "ALTER", "UPDATE"} & set(words)
                continue
            changed = words[words.index("UPDATE") :]
            assert changed[2] == "SET"
            assert repr(changed[3]) in added
            assert not {"DELETE", "DROP", "ALTER", "INSERT"} & set(words)


def _added_columns(path: Path) -> set[str]:
    """Return the names of new columns, quoted, as far as the migration writes them out."""
    calls = [call.args[1] for call in _calls(path, "op") if _name(call) == "add_column"]
    return {ast.unparse(column.args[0]) for column in calls if isinstance(column, ast.Call)}


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""
