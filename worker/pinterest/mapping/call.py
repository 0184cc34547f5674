"""One event as the steps of its mapping see it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Self

from worker.event.received import Received, page_url
from worker.event.redaction import clean_free_text
from worker.event.text import clean_text, fold_keys
from worker.pinterest.config.integration_config import ConfigError, check_consent_categories, load_config
from worker.pinterest.config.overrides import FieldMapping, Overrides

__all__ = ["ConfigError", "Options"]

_NO_OVERRIDES: Overrides = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Options:
    """Hold one integration's choices; the defaults are those of an integration that makes none.

    ``send_user_id`` sends the hashed user id as ``external_id``; None leaves it to ``field_mapping``, whose
    ``signal`` sends what the connector's documentation lists, and no user id.
    """

    field_mapping: FieldMapping = "signal"
    consent_categories: tuple[str, ...] = ()
    overrides: Overrides = field(default_factory=lambda: _NO_OVERRIDES)
    advertiser_events: tuple[str, ...] = ()
    default_country: str | None = None
    truncate_ip: bool = False
    limited_data_processing: bool = False
    bot_filter: bool = False
    clean_free_text: bool = True
    send_user_id: bool | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, object], consent_categories: Sequence[str]) -> Self:
        """Check an integration's whole configuration, and keep what the mapping needs of it.

        Raises:
            ConfigError: naming the first field that is wrong.
        """
        loaded: Mapping[str, Any] = load_config(config)
        return cls(
            consent_categories=check_consent_categories(consent_categories),
            overrides=loaded.get("event_overrides", _NO_OVERRIDES),
            **{name: loaded[name] for name in _PLAIN if loaded.get(name) is not None},
        )

    @property
    def sends_user_id(self) -> bool:
        """Say whether the user id goes out, hashed, as ``external_id``."""
        return self.field_mapping == "pinterest" if self.send_user_id is None else self.send_user_id


_PLAIN = (
    "field_mapping",
    "advertiser_events",
    "default_country",
    "truncate_ip",
    "limited_data_processing",
    "bot_filter",
    "clean_free_text",
    "send_user_id",
)


_PAGE_NAME = "page"
_LONGEST_NAME = 256
_NOTHING: Mapping[str, Any] = {}


@dataclass(slots=True)
class Call:
    """Hold an event beside what follows from it; ``properties`` are under folded keys, without nulls."""

    event: Mapping[str, Any]
    received: Received
    options: Options
    context: Mapping[str, Any]
    properties: Mapping[str, Any]
    name: str
    event_id: str
    page_url: str | None


def read_call(event: Mapping[str, Any], received: Received, options: Options) -> Call:
    """Return a ``track`` or ``page`` call, whatever its fields hold."""
    context = event.get("context")
    properties = fold_keys(event.get("properties"))
    return Call(
        event=event,
        received=received,
        options=options,
        context=context if isinstance(context, dict) else _NOTHING,
        properties=properties,
        name=_name(event, options),
        event_id=_event_id(event, properties, received),
        page_url=page_url(event),
    )


def _name(event: Mapping[str, Any], options: Options) -> str:
    if event["type"] == "page":
        return _PAGE_NAME
    raw = event.get("event")
    if type(raw) is str and len(raw) <= _LONGEST_NAME:
        return _clean_name(raw, options.clean_free_text)
    return ""


@lru_cache(maxsize=4096)
def _clean_name(raw: str, clean: bool) -> str:
    name = clean_text(raw) or ""
    return clean_free_text(name) if clean else name


def _event_id(event: Mapping[str, Any], properties: Mapping[str, Any], received: Received) -> str:
    """Return the id that Pinterest deduplicates by: the caller's, else the message's.

    An event without either has one made of its content and its receipt, the same at each attempt.
    """
    given = clean_text(properties.get("eventid"), _LONGEST_NAME)
    return given or clean_text(event.get("messageId"), _LONGEST_NAME) or _made_up_id(event, received)


def _made_up_id(event: Mapping[str, Any], received: Received) -> str:
    try:
        content = json.dumps(event, sort_keys=True, default=str)
    except (ValueError, RecursionError):
        # Numbers and depths that no accepted event has.
        content = str(len(event))
    return f"evt_{sha256(f'{received.received_at} {content}'.encode()).hexdigest()[:32]}"


@dataclass(frozen=True, slots=True)
class ExplanationLine:
    """Hold one decision: the step it belongs to, and a sentence."""

    step: str
    text: str


@dataclass(slots=True)
class Explanation:
    """Gather the decisions of one ``map_event`` call, in order.

    Raw personal data is left out unless ``show_personal`` asks for it.
    """

    show_personal: bool = False
    lines: list[ExplanationLine] = field(default_factory=list)

    def add(self, step: str, text: str) -> None:
        """Note a decision."""
        self.lines.append(ExplanationLine(step, text))

    def raw(self, value: object) -> str:
        """Return a personal value for a sentence, or a stand-in."""
        if isinstance(value, str):
            return repr(value) if self.show_personal else f"a text of {len(value)} characters"
        return f"a value of type {type(value).__name__}"

    def to_dict(self) -> list[dict[str, Any]]:
        """Return the lines as JSON has them."""
        return [{"step": line.step, "text": line.text} for line in self.lines]

    def __str__(self) -> str:
        width = max((len(line.step) for line in self.lines), default=0)
        return "\n".join(f"{line.step:<{width}}  {line.text}" for line in self.lines)


@dataclass(slots=True)
class Notes:
    """Carry what one mapping has to say beside its payload: what was computed, what looks wrong, and why."""

    explain: Explanation | None = None
    computed: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        """Note what a sender should mend."""
        self.warnings.append(text)
        if self.explain is not None:
            self.explain.add("warning", text)

    def compute(self, name: str, how: str) -> None:
        """Note a value that the caller did not give."""
        self.computed.append(name)
        if self.explain is not None:
            self.explain.add("computed", f"{name}: {how}")
