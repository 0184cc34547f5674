"""What the dialects share: an event that is being rewritten, and its parts."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from worker.event.json_in_text import open_text
from worker.event.problems import Problem
from worker.event.text import fold_keys

_MOST_ENTRIES = 1_000
_EMPTY: tuple[Any, ...] = (None, "", [], {})


@dataclass(slots=True)
class Shape:
    """An event that a dialect rewrites: its properties under folded keys, and its context under the sender's keys."""

    properties: dict[str, Any]
    context: dict[str, Any]
    flaws: list[tuple[Problem, str]] = field(default_factory=list)

    def part(self, key: str) -> dict[str, Any]:
        """Return an object of the properties, under folded keys; warn if there is something else."""
        value = self.properties.get(key)
        content = open_text(value)
        if isinstance(content, dict):
            return fold_keys(content)
        if isinstance(value, str) and value.lstrip()[:1] == "{":
            self.flaws.append((Problem.FIELD_UNREADABLE, f"{key} is not read: it looks like JSON but is not"))
        return {}

    def put(self, **values: Any) -> None:
        """Add properties that have a value, where the sender gave none under our name."""
        for key, value in values.items():
            if value not in _EMPTY and self.properties.get(key) in _EMPTY:
                self.properties[key] = value

    def lift(self, holder: Mapping[str, Any]) -> None:
        """Add the entries of an object, under folded keys, to the properties."""
        self.put(**holder)

    def replace(self, **values: Any) -> None:
        """Set properties that mean something else under the same name in this dialect; no value removes one."""
        for key, value in values.items():
            if value in _EMPTY:
                self.properties.pop(key, None)
            else:
                self.properties[key] = value

    def put_device(self, address: object, user_agent: object, url: object = None) -> None:
        """Add the visitor's address, user agent and page to the context, where the sender gave none."""
        if isinstance(address, str):
            self.context.setdefault("ip", address)
        if isinstance(user_agent, str) and "user_agent" not in self.context:
            self.context.setdefault("userAgent", user_agent)
        page = self.context.get("page")
        if isinstance(url, str) and not (isinstance(page, dict) and page.get("url")):
            self.context["page"] = {**(page if isinstance(page, dict) else {}), "url": url}


@dataclass(frozen=True, slots=True)
class Dialect:
    """One system's events: what shows that an event is one of them, and how it is rewritten.

    ``keys``: folded names of properties of which one is present; ``rewrite`` returns False if the event is not of this
    system all the same. ``names``: the system's own event names, as it spells them.
    """

    name: str
    keys: frozenset[str] = frozenset()
    rewrite: Callable[[Shape], bool] | None = None
    names: frozenset[str] = frozenset()
    prefix: str | None = None

    def has_name(self, name: str) -> bool:
        """Return whether an event has a name of this system."""
        return name in self.names or (self.prefix is not None and name.startswith(self.prefix))


def words(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


def objects(value: object) -> list[dict[str, Any]]:
    """Return the objects of a list, or of an object's ``nodes`` or ``edges``, under folded keys."""
    content = open_text(value)
    if isinstance(content, dict):
        folded = fold_keys(content)
        content = folded.get("nodes") or [
            edge.get("node") for edge in folded.get("edges") or () if isinstance(edge, dict)
        ]
    if not isinstance(content, list):
        return []
    return [fold_keys(entry) for entry in content[:_MOST_ENTRIES] if isinstance(entry, dict)]


def part_of(holder: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return an object inside an object, under folded keys; empty without one."""
    return fold_keys(open_text(holder.get(key)))


def first_of(holder: Mapping[str, Any], keys: Iterable[str]) -> Any:
    """Return the value of the first key that has one."""
    return next((holder[key] for key in keys if holder.get(key) not in _EMPTY), None)


def present(**values: Any) -> dict[str, Any]:
    """Return the entries that have a value."""
    return {key: value for key, value in values.items() if value not in _EMPTY}


def own_id(value: object) -> Any:
    """Return the last part of a global id such as ``gid://shopify/Product/42``; any other value unchanged."""
    if isinstance(value, str) and value.startswith(("gid://", "/api/")):
        return value.partition("?")[0].rpartition("/")[2]
    return value
