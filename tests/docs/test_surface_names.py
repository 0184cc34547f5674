"""A page has one name: its module, its templates and its test. A command is in the module of its name."""

import ast
import re
from pathlib import Path

import pytest

from docs.product import ROOT
from worker.cli import cli
from worker.pages import registry

PAGES = sorted(set(registry.__all__) - {"blueprint"})
# The former name of `person erase`.
OTHER_NAMES = {"erase": "person"}
FOLDER = ROOT / "worker" / "pages"
ROUTES, TEMPLATES = FOLDER / "routes", FOLDER / "templates"


def views(module: Path) -> list[ast.FunctionDef]:
    """Return the functions that a module registers for addresses."""
    return [
        node
        for node in ast.parse(module.read_text()).body
        if isinstance(node, ast.FunctionDef)
        and any(re.match(r"blueprint\.(get|post|route)\(", ast.unparse(one)) for one in node.decorator_list)
    ]


def test_every_module_with_an_address_is_a_page() -> None:
    assert [path.stem for path in sorted(ROUTES.glob("[!_]*.py"))] == PAGES
    with_addresses = [path for path in sorted(FOLDER.rglob("*.py")) if views(path)]
    assert with_addresses == [ROUTES / f"{page}.py" for page in PAGES]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_a_test_of_its_name(page: str) -> None:
    assert (ROOT / "tests" / "pages" / f"test_{page}.py").is_file()


@pytest.mark.parametrize("page", PAGES)
def test_the_templates_of_a_page_begin_with_its_name(page: str) -> None:
    """Pages of one thing have the name in the singular: integrations.py renders integration_form.html."""
    rendered = re.findall(r'"(\w+)\.html"', (ROUTES / f"{page}.py").read_text())
    one_of_them = re.compile(rf"_?({page}|{page.removesuffix('s')})(_\w+)?")
    assert rendered
    assert [name for name in rendered if not one_of_them.fullmatch(name)] == []


def test_every_template_is_of_a_page_or_part_of_one() -> None:
    rendered = {
        name for path in FOLDER.rglob("*.py") for name in re.findall(r'"(\w+)\.html"', path.read_text())
    }
    whole = {path.stem for path in TEMPLATES.glob("[!_]*.html")}
    assert whole - rendered == {"base"}


def test_a_command_is_in_the_module_of_its_name() -> None:
    assert {
        name: command.callback.__module__ for name, command in cli.commands.items() if command.callback
    } == {name: f"worker.cli.{OTHER_NAMES.get(name, name).replace('-', '_')}" for name in cli.commands}


def test_every_module_of_the_command_line_is_a_command() -> None:
    modules = {path.stem for path in (ROOT / "worker" / "cli").glob("*.py")} - {"__init__", "common"}
    assert modules == {name.replace("-", "_") for name in cli.commands} - set(OTHER_NAMES)
