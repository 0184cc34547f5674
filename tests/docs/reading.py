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
    """Hold what of a document can be right or wrong."""

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
        found: set[str] = set()
        for heading in self.headings:
            anchor = _NO_PART_OF_AN_ANCHOR.sub("", heading.lower()).replace(" ", "-")
            found.add(f"{anchor}-1" if anchor in found else anchor)
        return found

    @property
    def commands(self) -> list[str]:
        """Return what a reader would type: the lines behind a prompt, with those that they go on in."""
        return [one[2:] for one in self._typed() if one.startswith("$ ")]

    @property
    def root_commands(self) -> list[str]:
        """Return what is typed as root."""
        return [one[2:] for one in self._typed() if one.startswith("# ")]

    def _typed(self) -> Iterator[str]:
        for kind, text in self.blocks:
            if kind == "console":
                yield from _typed(text)


def paths() -> list[Path]:
    """Return every document for readers."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


@cache
def read(path: Path) -> Document:
    """Read one."""
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
