"""Docs, pages, messages, docstrings and comments keep to the word list of CONTRIBUTING.md."""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tests.docs.reading import ROOT

_ENTRY = re.compile(r"^- (?P<say>.+?), not (?P<avoid>.+)\.$")
_QUOTED = re.compile(r'"([^"]+)"')
_MARKUP = re.compile(
    r"<style.*?</style>|<script.*?</script>|\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}|<[^>]*>", re.DOTALL
)
_CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
_DOCUMENTS = (
    "README.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "docs/*.md",
    "deploy/**/*",
    "Makefile",
    "setup.cfg",
    "ruff.toml",
    ".ci/run",
)
_CODE_FOLDERS = ("worker", "tasks", "tests", "benchmarks", "docs")


def _word_list() -> dict[str, str]:
    """Return what to avoid, with what to say in its place."""
    section = (ROOT / "CONTRIBUTING.md").read_text().partition("## Words\n")[2].partition("\n## ")[0]
    entries = [found for line in section.splitlines() if (found := _ENTRY.match(line))]
    return {avoid.lower(): entry["say"] for entry in entries for avoid in _QUOTED.findall(entry["avoid"])}


WORDS = _word_list()
_AVOIDED = re.compile(
    "|".join(
        rf"(?<![\w-])(?!is (?-i:None)){re.escape(words)}(?![\w-])"
        for words in sorted(WORDS, key=len, reverse=True)
    ),
    re.IGNORECASE,
)


def _complaints(text: str, where: str, first_line: int = 1) -> Iterator[str]:
    for found in _AVOIDED.finditer(text):
        line = first_line + text.count("\n", 0, found.start())
        words = " ".join(found.group().split())
        yield f'{where}:{line}: "{words}": say {WORDS[words.lower()]}'


def _blank(found: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", found.group())


def complaints_in_document(path: Path) -> Iterator[str]:
    """Yield the words to avoid in a document or page, outside code and markup."""
    text = path.read_text()
    if path.suffix == ".md":
        text = _CODE.sub(_blank, text)
    elif path.suffix == ".html":
        text = _MARKUP.sub(_blank, text)
    yield from _complaints(text, str(path.relative_to(ROOT)))


def complaints_in_code(path: Path) -> Iterator[str]:
    """Yield the words to avoid in comments, docstrings and every text that looks like a sentence."""
    source, where = path.read_text(), str(path.relative_to(ROOT))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield from _complaints(token.string, where, token.start[0])
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
            yield from _complaints(node.value, where, node.lineno)


def documents() -> list[Path]:
    """Return every document, page and configuration file that people read."""
    found = {path for pattern in _DOCUMENTS for path in ROOT.glob(pattern) if path.is_file()}
    return sorted(found | set((ROOT / "worker").rglob("*.html")))


def modules() -> list[Path]:
    """Return every Python module of the repository, without this one."""
    found = [path for folder in _CODE_FOLDERS for path in (ROOT / folder).rglob("*.py")]
    return sorted({*found, ROOT / "celeryconfig.py"} - {Path(__file__)})


def main(folders: list[str]) -> None:
    """Print what is wrong below the folders or files given: ``python -m tests.docs.language worker/ledger``."""
    chosen = [(ROOT / folder).resolve() for folder in folders or ["."]]
    for path in [*documents(), *modules()]:
        if any(path == one_of or one_of in path.parents for one_of in chosen):
            for complaint in (
                complaints_in_code(path) if path.suffix == ".py" else complaints_in_document(path)
            ):
                sys.stdout.write(f"{complaint}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
