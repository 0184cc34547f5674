"""Generate texts from a pattern that make it backtrack as much as possible."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

# The standard library's parser of patterns, which has no public name.
from re import _constants as codes  # type: ignore[attr-defined]  # isort: skip
from re import _parser as parser  # type: ignore[attr-defined]  # isort: skip

_CANDIDATES = "a1 .-@%Zé_,/:;\"'()<>&=?+#\t\n\x00\u00df"
# Appended to a run so that the whole text does not match.
_ENDINGS = ("", "\n\x00", "@")
_LARGE = 4


def attacks(pattern: re.Pattern[Any]) -> Iterator[Callable[[int], str]]:
    """Yield hostile texts for a pattern as functions of their length."""
    tree = parser.parse(pattern.pattern, pattern.flags & ~re.DEBUG)
    runs = {(before, pump) for before, pump in _pumps(tree, pattern.flags, "") if pump}
    characters = {character for _, pump in runs for character in pump} | set(_samples(tree, pattern.flags))
    runs |= {("", character) for character in characters}
    runs |= {("", before + pump) for before, pump in runs if before}
    runs |= {("", first + second) for first in characters for second in ("a", "1", " ") if first != second}
    for before, pump in sorted(runs):
        for ending in _ENDINGS:
            yield _text(before, pump, ending)


def _text(before: str, pump: str, ending: str) -> Callable[[int], str]:
    return lambda length: before + (pump * (length // len(pump) + 1))[:length] + ending


def _pumps(nodes: Sequence[Any], flags: int, before: str) -> Iterator[tuple[str, str]]:
    """Yield each part that may repeat often, with a text that precedes it."""
    for code, argument in nodes:
        for below, is_loop in _below(code, argument):
            sample = _shortest(below, flags)
            if is_loop:
                yield before, sample
                yield from ((before, character) for character in _samples(below, flags))
            yield from _pumps(below, flags, before)
        before += _shortest([(code, argument)], flags)


def _below(code: Any, argument: Any) -> Iterator[tuple[Sequence[Any], bool]]:
    if code in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
        yield argument[2], argument[1] >= _LARGE
    elif code is codes.SUBPATTERN:
        yield argument[3], False
    elif code is codes.BRANCH:
        yield from ((branch, False) for branch in argument[1])
    elif code in (codes.ASSERT, codes.ASSERT_NOT):
        yield argument[1], False
    elif code is codes.ATOMIC_GROUP:
        yield argument, False


def _shortest(nodes: Sequence[Any], flags: int) -> str:
    """Return a short text that the nodes match, ignoring assertions."""
    text = ""
    for code, argument in nodes:
        if code in (codes.LITERAL, codes.NOT_LITERAL, codes.IN, codes.ANY):
            text += next(iter(_characters(code, argument, flags)), "")
        elif code in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
            text += _shortest(argument[2], flags) * argument[0]
        elif code is codes.SUBPATTERN:
            text += _shortest(argument[3], flags)
        elif code is codes.BRANCH:
            text += _shortest(argument[1][0], flags)
        elif code is codes.ATOMIC_GROUP:
            text += _shortest(argument, flags)
    return text


def _samples(nodes: Sequence[Any], flags: int) -> Iterator[str]:
    """Yield characters of each class that the nodes use."""
    for code, argument in nodes:
        if code in (codes.LITERAL, codes.NOT_LITERAL, codes.IN, codes.ANY):
            yield from _characters(code, argument, flags)
        for below, _ in _below(code, argument):
            yield from _samples(below, flags)


def _characters(code: Any, argument: Any, flags: int) -> list[str]:
    """Return up to three characters that a node matches."""
    if code is codes.LITERAL:
        return [chr(argument)]
    single = parser.SubPattern(parser.State(), [(code, argument)])
    matches = _compiled(single, flags)
    own = [chr(value) for kind, value in argument if kind is codes.LITERAL] if code is codes.IN else []
    own += [chr(value[0]) for kind, value in argument if kind is codes.RANGE] if code is codes.IN else []
    return [character for character in dict.fromkeys([*_CANDIDATES, *own]) if matches(character)][:3]


def _compiled(tree: Any, flags: int) -> Callable[[str], Any]:
    from re import _compiler  # type: ignore[attr-defined]

    tree.state.str, tree.state.flags = "", flags & ~re.DEBUG
    return _compiler.compile(tree, flags & ~re.DEBUG).fullmatch  # type: ignore[no-any-return]
