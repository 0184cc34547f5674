"""Read a document: its headings, links, pictures, names in backticks and blocks of commands."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
_NO_PART_OF_AN_ANCHOR = re.compile(r"[^\w\- ]")


@dataclass
class Document:
    """The parts of a document that tests check."""

    path: Path
    headings: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    pictures: list[tuple[str, str]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    blocks: list[tuple[str, str]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def anchors(self) -> set[str]:
        """Return the anchors of the headings, made as GitHub makes them."""
        anchors: set[str] = set()
        for heading in self.headings:
            anchor = _NO_PART_OF_AN_ANCHOR.sub("", heading.lower()).replace(" ", "-")
            anchors.add(f"{anchor}-1" if anchor in anchors else anchor)
        return anchors

    @property
    def commands(self) -> list[str]:
        """Return the commands after a prompt, with their continuation lines."""
        return [line[2:] for line in self._typed() if line.startswith("$ ")]

    @property
    def root_commands(self) -> list[str]:
        """Return the commands for root."""
        return [line[2:] for line in self._typed() if line.startswith("# ")]

    def _typed(self) -> Iterator[str]:
        for kind, text in self.blocks:
            if kind == "console":
                yield from _typed(text)


def paths() -> list[Path]:
    """Return every document."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


@cache
def read(path: Path) -> Document:
    """Read a document."""
    document = Document(path)
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(path.read_text())
    for index, token in enumerate(tokens):
        if token.type == "fence":
            document.blocks.append((token.info, token.content))
        elif token.type == "heading_open":
            document.headings.append(_plain(tokens[index + 1]))
        for child in token.children or ():
            _note(child, document)
    return document


def _note(token: Token, document: Document) -> None:
    if token.type == "link_open":
        document.links.append(str(token.attrs["href"]))
    elif token.type == "image":
        document.pictures.append((str(token.attrs["src"]), token.content))
    elif token.type == "code_inline":
        document.names.append(token.content)


def _plain(inline: Token) -> str:
    return "".join(child.content for child in inline.children or ())


def _typed(block: str) -> Iterator[str]:
    typed = ""
    quoted = False
    for line in block.splitlines():
        begins = line.startswith(("$ ", "# ")) and not quoted and not typed.endswith("\\\n")
        if begins:
            if typed:
                yield typed.strip()
            typed = line + "\n"
        elif quoted or typed.endswith("\\\n"):
            typed += line + "\n"
        quoted = typed.count("'") % 2 == 1
    if typed:
        yield typed.strip()
