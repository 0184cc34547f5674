"""Per-integration rules: under which names an event is sent."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worker.events.keys import fold
from worker.pinterest.names import PINTEREST_NAMES

DROP = "drop"
MOST_OVERRIDES = 200
MOST_NAMES = 10
MOST_ADVERTISER_EVENTS = 15
_ADVERTISER_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")

Scalar = str | int | float | bool


class RuleError(Exception):
    """Say in a sentence what is wrong with a rule."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Send an event under these names where its properties hold these values; no names: drop it."""

    names: tuple[str, ...]
    when: tuple[tuple[str, tuple[Scalar, ...]], ...] = ()


Overrides = Mapping[str, tuple[Rule, ...]]


def parse_overrides(raw: object, advertiser_events: Sequence[str]) -> Overrides:
    """Check and read a table ``event name → Pinterest name | "drop" | list of names or rules``.

    A rule is ``{"send": name | [names] | "drop", "when": {property: value | [values]}}``; the first one that
    matches an event decides, and where none does the built-in table does.

    Raises:
        RuleError: naming the event whose rule is wrong.
    """
    if not isinstance(raw, Mapping) or len(raw) > MOST_OVERRIDES:
        raise RuleError(f"must be an object of at most {MOST_OVERRIDES} event names.")
    known = PINTEREST_NAMES.union(advertiser_events)
    parsed: dict[str, tuple[Rule, ...]] = {}
    for event, what in raw.items():
        folded = fold(str(event))
        if not folded or len(str(event)) > 256:
            raise RuleError(f"has {event!r}, which is no event name.")
        if folded in parsed:
            raise RuleError(f"names the event {event!r} twice, in different spellings.")
        parsed[folded] = _parse_rules(str(event), what, known)
    return parsed


def _parse_rules(event: str, what: object, known: frozenset[str]) -> tuple[Rule, ...]:
    if isinstance(what, list) and what and all(isinstance(one, Mapping) for one in what):
        return tuple(_parse_rule(event, one, known) for one in what)
    if isinstance(what, Mapping):
        return (_parse_rule(event, what, known),)
    return (Rule(_parse_names(event, what, known)),)


def _parse_rule(event: str, raw: Mapping[Any, Any], known: frozenset[str]) -> Rule:
    unknown = set(raw) - {"send", "when"}
    if unknown or "send" not in raw:
        raise RuleError(f"for {event!r} must have the keys send and, if need be, when.")
    when = raw.get("when", {})
    if not isinstance(when, Mapping):
        raise RuleError(f"for {event!r} has a condition that is no object.")
    return Rule(
        _parse_names(event, raw["send"], known),
        tuple((fold(str(key)), _parse_values(event, value)) for key, value in when.items()),
    )


def _parse_values(event: str, raw: object) -> tuple[Scalar, ...]:
    values = raw if isinstance(raw, list) else [raw]
    if not values or not all(isinstance(value, Scalar) for value in values):
        raise RuleError(f"for {event!r} has a condition that is neither a value nor a list of values.")
    return tuple(values)


def _parse_names(event: str, raw: object, known: frozenset[str]) -> tuple[str, ...]:
    names = [raw] if isinstance(raw, str) else raw
    if names == [DROP]:
        return ()
    if (
        not isinstance(names, list)
        or not 0 < len(names) <= MOST_NAMES
        or len(set(map(str, names))) < len(names)
    ):
        raise RuleError(f"for {event!r} must be a Pinterest event name, a list of different ones, or {DROP}.")
    for name in names:
        if not isinstance(name, str) or name not in known:
            raise RuleError(f"for {event!r} names {name!r}, which is no event name of Pinterest's or yours.")
    return tuple(names)


def parse_advertiser_events(raw: object) -> tuple[str, ...]:
    """Check and read the list of event names that the advertiser defined at Pinterest.

    Raises:
        RuleError: when it is too long, or a name has characters that Pinterest does not take.
    """
    if not isinstance(raw, list) or len(raw) > MOST_ADVERTISER_EVENTS:
        raise RuleError(f"must be a list of at most {MOST_ADVERTISER_EVENTS} names.")
    for name in raw:
        if not isinstance(name, str) or not _ADVERTISER_NAME.fullmatch(name):
            raise RuleError(f"has {name!r}: a name is 1 to 100 letters, digits, hyphens and underscores.")
    if len({fold(name) for name in raw}) < len(raw):
        raise RuleError("names an event twice.")
    return tuple(raw)


def find_rule(overrides: Overrides, name: str, properties: Mapping[str, Any]) -> Rule | None:
    """Return the rule that decides about an event; ``properties`` are under folded keys."""
    for rule in overrides.get(fold(name), ()):
        if all(_matches(properties.get(key), values) for key, values in rule.when):
            return rule
    return None


def _matches(value: object, wanted: tuple[Scalar, ...]) -> bool:
    # Folded once: the event's value may be long, and the rule's values many.
    folded = value.strip().casefold() if isinstance(value, str) else value
    return any(_same(folded, one) for one in wanted)


def _same(value: object, wanted: Scalar) -> bool:
    # True equals 1 in Python, and not in anybody's configuration.
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(value, str) and isinstance(wanted, str):
        return value == wanted.strip().casefold()
    return isinstance(value, int | float) and value == wanted
