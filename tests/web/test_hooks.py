"""gunicorn finds its hooks by name."""

import ast
from pathlib import Path

import pytest
from gunicorn.config import KNOWN_SETTINGS

WEB = Path(__file__).parents[2] / "worker" / "web"


@pytest.mark.parametrize("name", ["collector_conf.py", "management_conf.py"])
def test_each_function_that_a_configuration_does_not_use_is_a_hook_of_gunicorn(name: str) -> None:
    tree = ast.parse((WEB / name).read_text())
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    hooks = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)} - used
    assert hooks
    assert hooks <= {setting.name for setting in KNOWN_SETTINGS}
