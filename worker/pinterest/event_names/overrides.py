"""Choose event names by the rules of an integration: its ``event_overrides`` and ``advertiser_events``."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from marshmallow import ValidationError

from worker.event.text import fold_key
from worker.pinterest.event_names.event_names import PINTEREST_NAMES

_DROP = "drop"
_MOST_OVERRIDES = 200
_MOST_NAMES = 10
_MOST_ADVERTISER_EVENTS = 15
_ADVERTISER_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")

_Scalar = str | int | float | bool


# Names of events and rules are quoted, and may be of any length.
_LONGEST_SENTENCE = 600


class _RuleError(Exception):
    """A rule is invalid; the message says why."""

    def __init__(self, sentence: str) -> None:
        is_short = len(sentence) <= _LONGEST_SENTENCE
        super().__init__(sentence if is_short else f"{sentence[: _LONGEST_SENTENCE - 1]}…")


@dataclass(frozen=True, slots=True)
class _Rule:
    """Send an event under these names if its properties have these values; without names, drop it."""

    names: tuple[str, ...]
    when: tuple[tuple[str, tuple[_Scalar, ...]], ...] = ()


Overrides = Mapping[str, tuple[_Rule, ...]]


def _parse_overrides(raw: object, advertiser_events: Sequence[str]) -> Overrides:
    """Parse a table ``event name → Pinterest name | "drop" | list of names or rules``.

    A rule is ``{"send": name | [names] | "drop", "when": {property: value | [values]}}``. The first matching rule
    decides; if no rule matches, the built-in table decides.

    Raises:
        _RuleError: names the event with the invalid rule.
    """
    if not isinstance(raw, Mapping) or len(raw) > _MOST_OVERRIDES:
        raise _RuleError(f"must be an object of at most {_MOST_OVERRIDES} event names.")
    allowed = PINTEREST_NAMES.union(advertiser_events)
    table: dict[str, tuple[_Rule, ...]] = {}
    for event, rules in raw.items():
        folded = fold_key(str(event))
        if not folded or len(str(event)) > 256:
            raise _RuleError(f"has {event!r}, which is not an event name.")
        if folded in table:
            raise _RuleError(f"names the event {event!r} twice, in different spellings.")
        table[folded] = _parse_rules(str(event), rules, allowed)
    return table


def _parse_rules(event: str, raw: object, allowed: frozenset[str]) -> tuple[_Rule, ...]:
    if isinstance(raw, list) and raw and all(isinstance(rule, Mapping) for rule in raw):
        return tuple(_parse_rule(event, rule, allowed) for rule in raw)
    if isinstance(raw, Mapping):
        return (_parse_rule(event, raw, allowed),)
    return (_Rule(_parse_names(event, raw, allowed)),)


def _parse_rule(event: str, raw: Mapping[Any, Any], allowed: frozenset[str]) -> _Rule:
    unknown = set(raw) - {"send", "when"}
    if unknown or "send" not in raw:
        raise _RuleError(f"for {event!r} must have the key send, and optionally when.")
    when = raw.get("when", {})
    if not isinstance(when, Mapping):
        raise _RuleError(f"for {event!r} has a condition that is not an object.")
    return _Rule(
        _parse_names(event, raw["send"], allowed),
        tuple((fold_key(str(key)), _parse_values(event, value)) for key, value in when.items()),
    )


def _parse_values(event: str, raw: object) -> tuple[_Scalar, ...]:
    values = raw if isinstance(raw, list) else [raw]
    if not values or not all(isinstance(value, _Scalar) for value in values):
        raise _RuleError(f"for {event!r} has a condition that is neither a value nor a list of values.")
    return tuple(values)


def _parse_names(event: str, raw: object, allowed: frozenset[str]) -> tuple[str, ...]:
    names = [raw] if isinstance(raw, str) else raw
    if names == [_DROP]:
        return ()
    if (
        not isinstance(names, list)
        or not 0 < len(names) <= _MOST_NAMES
        or len(set(map(str, names))) < len(names)
    ):
        raise _RuleError(
            f"for {event!r} must be a Pinterest event name, a list of different ones, or {_DROP}."
        )
    for name in names:
        if not isinstance(name, str) or name not in allowed:
            raise _RuleError(
                f"for {event!r} names {name!r}, which is neither Pinterest's event name nor yours."
            )
    return tuple(names)


def _parse_advertiser_events(raw: object) -> tuple[str, ...]:
    """Parse the list of event names that the advertiser defined at Pinterest.

    Raises:
        _RuleError: the list is too long, or a name has characters that Pinterest does not accept.
    """
    if not isinstance(raw, list) or len(raw) > _MOST_ADVERTISER_EVENTS:
        raise _RuleError(f"must be a list of at most {_MOST_ADVERTISER_EVENTS} names.")
    for name in raw:
        if not isinstance(name, str) or not _ADVERTISER_NAME.fullmatch(name):
            raise _RuleError(f"has {name!r}: a name is 1 to 100 letters, digits, hyphens and underscores.")
    if len({fold_key(name) for name in raw}) < len(raw):
        raise _RuleError("names an event twice.")
    return tuple(raw)


def read_rules(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parsed ``advertiser_events`` and ``event_overrides`` of a configuration.

    Raises:
        ValidationError: names the field with the invalid rule.
    """
    raw = {key: value for key, value in data.items() if value is not None}
    names = _read("advertiser_events", _parse_advertiser_events, raw.get("advertiser_events", []))
    overrides = _read("event_overrides", _parse_overrides, raw.get("event_overrides", {}), names)
    return {"advertiser_events": names, "event_overrides": overrides}


def _read(field: str, parse: Any, *arguments: object) -> Any:
    try:
        return parse(*arguments)
    except _RuleError as error:
        raise ValidationError(str(error), field) from None


def find_rule(overrides: Overrides, name: str, properties: Mapping[str, Any]) -> _Rule | None:
    """Return the first rule that matches an event; the keys of ``properties`` are folded."""
    for rule in overrides.get(fold_key(name), ()):
        if all(_matches(properties.get(key), values) for key, values in rule.when):
            return rule
    return None


def _matches(value: object, rule_values: tuple[_Scalar, ...]) -> bool:
    # Fold once: the event's value may be long, and the rule may have many values.
    folded = value.strip().casefold() if isinstance(value, str) else value
    return any(_equal(folded, rule_value) for rule_value in rule_values)


def _equal(value: object, rule_value: _Scalar) -> bool:
    # True equals 1 in Python, but not in a configuration.
    if isinstance(value, bool) or isinstance(rule_value, bool):
        return value is rule_value
    if isinstance(value, str) and isinstance(rule_value, str):
        return value == rule_value.strip().casefold()
    return isinstance(value, int | float) and value == rule_value
