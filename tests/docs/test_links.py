"""Links, files, commands and variables in the documents exist."""

import ast
import re
import subprocess
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
import pytest

from tests.docs.reading import ROOT, Document, paths, read
from worker.cli import cli

DOCUMENTS = [pytest.param(read(path), id=str(path.relative_to(ROOT))) for path in paths()]
every_document = pytest.mark.parametrize("document", DOCUMENTS)

_LOCAL_HOSTS = {"localhost", "127.0.0.1"}
_OF_OURS = re.compile(r"(?:worker|tasks|tests|deploy|docs|benchmarks|\.ci)/[\w./*-]*(?:::\w+)?")
_COMMAND = re.compile(r"(?:python -m worker|\bsignal-worker) ([a-z][\w -]*)")
_TARGET = re.compile(r"(?:^|&& )make ([a-z][\w-]*)")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
# Placeholders, and the shape of an error code.
_NO_VARIABLE = re.compile(r"YOUR_\w+|ORDER_ID|UPPER_SNAKE")


@every_document
def test_links_and_pictures_exist(document: Document) -> None:
    targets = [*document.links, *(src for src, _ in document.pictures)]
    assert [target for target in targets if not _leads_somewhere(document, target)] == []


@every_document
def test_every_picture_has_a_description(document: Document) -> None:
    assert [src for src, words in document.pictures if len(words) < 15] == []


@every_document
def test_every_file_and_test_in_backticks_exists(document: Document) -> None:
    named = [name for name in document.names if _OF_OURS.fullmatch(name)]
    assert [name for name in named if not _is_there(name)] == []


@every_document
def test_every_command_in_backticks_exists(document: Document) -> None:
    texts = [*document.names, *document.commands, *document.root_commands]
    called = [words for text in texts for words in _COMMAND.findall(text)]
    assert [words for words in called if not _is_command(words.split())] == []
    targets = [name for text in texts for name in _TARGET.findall(text)]
    assert [name for name in targets if f"\n{name}:" not in (ROOT / "Makefile").read_text()] == []


@every_document
def test_every_variable_in_backticks_is_read_somewhere(document: Document) -> None:
    named = {name for text in document.names for name in _VARIABLE.findall(text)}
    assert {name for name in named if name not in _code() and not _NO_VARIABLE.fullmatch(name)} == set()


def test_every_setting_is_in_a_document() -> None:
    texts = "".join(path.read_text() for path in paths())
    read_by_settings = set(
        re.findall(r'"([A-Z]+(?:_[A-Z]+)+)"', (ROOT / "worker" / "settings.py").read_text())
    )
    binds = set(re.findall(r'"([A-Z]+_(?:BIND|WORKERS|THREADS|CONCURRENCY))"', _code()))
    assert {name for name in read_by_settings | binds if f"`{name}`" not in texts} == set()


def test_the_document_about_pages_has_every_page_of_the_navigation() -> None:
    listed = " ".join(read(ROOT / "docs" / "pages.md").headings).lower()
    base = (ROOT / "worker" / "pages" / "templates" / "base.html").read_text()
    named = re.findall(r"\('\w+', '([^']+)'\)", base)
    assert len(named) >= 8
    assert [text for text in named if text.lower() not in listed] == []


def test_every_document_is_in_the_index() -> None:
    index = read(ROOT / "docs" / "README.md")
    listed = {(index.path.parent / link.partition("#")[0]).resolve() for link in index.links}
    missing = set(paths()) - listed - {index.path, ROOT / "README.md"}
    assert {str(path.relative_to(ROOT)) for path in missing} == set()


def test_every_picture_is_shown() -> None:
    shown = {
        (document.path.parent / target).resolve()
        for document in map(read, paths())
        for target in [*document.links, *(src for src, _ in document.pictures)]
        if not urlsplit(target).scheme
    }
    pictures = {path for path in (ROOT / "docs" / "images").iterdir() if path.is_file()}
    assert {path.name for path in pictures - shown} == set()


def _leads_somewhere(document: Document, target: str) -> bool:
    parts = urlsplit(target)
    if parts.scheme:
        return _is_well_formed(target)
    path = (document.path.parent / unquote(parts.path)).resolve() if parts.path else document.path
    if not path.is_relative_to(ROOT) or not path.exists():
        return False
    return not parts.fragment or parts.fragment in read(path).anchors


def _is_well_formed(address: str) -> bool:
    parts = urlsplit(address)
    if parts.scheme == "mailto":
        return "@" in parts.path
    is_local = parts.hostname in _LOCAL_HOSTS
    return (
        bool(parts.hostname)
        and "." in parts.hostname.strip(".") + "." * is_local
        and (parts.scheme == "https" or (is_local and parts.scheme == "http"))
    )


def _is_there(name: str) -> bool:
    # Files that the reader creates are not in git.
    if name in (ROOT / ".gitignore").read_text().splitlines():
        return True
    path, _, test = name.partition("::")
    found = list(ROOT.glob(path.rstrip("/"))) if "*" in path else [ROOT / path]
    return bool(found) and all(path.exists() for path in found) and (not test or test in _functions(found[0]))


@cache
def _functions(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


def _is_command(words: list[str]) -> bool:
    command: click.Command = cli
    while words and isinstance(command, click.Group):
        found = command.commands.get(words.pop(0))
        if found is None:
            return False
        command = found
    return True


@cache
def _code() -> str:
    """Return all code as one text."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    kinds = (".py", ".sh", ".conf", ".service", ".yml", ".yaml", "Procfile", "Makefile", ".ci/run")
    return "\n".join(
        (ROOT / name).read_text()
        for name in listed.splitlines()
        if name.endswith(kinds) and (ROOT / name).exists()
    )
