"""The input of the mapping: an event, the options of an integration, and notes on what was decided."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Self

from worker.event.dialects.translate import translate
from worker.event.json_in_text import open_text
from worker.event.problems import Problem
from worker.event.received import Received, page_url
from worker.event.redaction import clean_free_text, clean_id
from worker.event.text import clean_text, fold_keys
from worker.pinterest.event_names.event_names import FieldMapping
from worker.pinterest.event_names.overrides import Overrides
from worker.pinterest.integration_config import (
    ConfigError,
    ProductIdSource,
    ValueBasis,
    check_consent_categories,
    load_config,
)
from worker.pinterest.mapping.contract import SCHEMA_VERSIONS

__all__ = ["ConfigError", "Options"]

_NO_OVERRIDES: Overrides = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Options:
    """The mapping options of an integration.

    ``send_user_id`` sends the hashed user id as ``external_id``. None means: only with ``field_mapping`` ``pinterest``.
    ``product_id_source`` says which id of a product is sent; None: the first that is there. ``value_basis`` says
    whether the value of an order includes tax and shipping. ``default_currency`` is that of amounts without one.
    ``schema_version`` is the version of Pinterest's API whose fields are sent.
    """

    field_mapping: FieldMapping = "signal"
    consent_categories: tuple[str, ...] = ()
    consent_groups: Mapping[str, str] | None = None
    overrides: Overrides = field(default_factory=lambda: _NO_OVERRIDES)
    advertiser_events: tuple[str, ...] = ()
    default_country: str | None = None
    default_currency: str | None = None
    truncate_ip: bool = False
    limited_data_processing: bool = False
    bot_filter: bool = False
    clean_free_text: bool = True
    send_user_id: bool | None = None
    product_id_source: ProductIdSource | None = None
    product_id_prefix: str = ""
    product_id_suffix: str = ""
    value_basis: ValueBasis = "total"
    dedupe_by_business_id: bool = True
    schema_version: str = SCHEMA_VERSIONS[-1]

    @classmethod
    def from_config(cls, config: Mapping[str, object], consent_categories: Sequence[str]) -> Self:
        """Validate an integration's whole configuration, and keep the options of the mapping.

        Raises:
            ConfigError: names the first invalid field.
        """
        values: Mapping[str, Any] = load_config(config)
        return cls(
            consent_categories=check_consent_categories(consent_categories),
            overrides=values.get("event_overrides", _NO_OVERRIDES),
            **{name: values[name] for name in cls.__dataclass_fields__ if values.get(name) is not None},
        )

    @property
    def sends_newest(self) -> bool:
        """Return whether fields that only the newest version of Pinterest's API knows are sent."""
        return self.schema_version == SCHEMA_VERSIONS[-1]

    @property
    def sends_user_id(self) -> bool:
        """Return whether the hashed user id is sent as ``external_id``."""
        return self.field_mapping == "pinterest" if self.send_user_id is None else self.send_user_id


_PAGE_NAME = "page"
_LONGEST_NAME = 256
_NOTHING: Mapping[str, Any] = {}


@dataclass(slots=True)
class Call:
    """An event with derived values; the keys of ``properties`` are folded, and nulls removed.

    ``properties`` and ``context`` are in our shape; ``dialects`` names the shapes that the event had, and ``flaws``
    says what of them could not be read.
    """

    event: Mapping[str, Any]
    received: Received
    options: Options
    context: Mapping[str, Any]
    properties: Mapping[str, Any]
    name: str
    event_id: str
    page_url: str | None
    # Whether the event's id held an e-mail address or a phone number, and is sent as a hash.
    is_id_cleaned: bool = False
    dialects: tuple[str, ...] = ()
    flaws: tuple[tuple[Problem, str], ...] = ()
    # The decision about consent, once it is made; None where the integration requires none.
    consent: str | None = None
    # The fields of the user data that neither the event nor a signed call gave; None for none.
    public_fields: str | None = None


def read_call(event: Mapping[str, Any], received: Received, options: Options) -> Call:
    """Read a ``track`` or ``page`` event; its fields may hold any JSON."""
    raw_context = event.get("context")
    context = raw_context if isinstance(raw_context, dict) else _NOTHING
    if type(context.get("consent")) is str:
        context = {**context, "consent": open_text(context["consent"])}
        event = {**event, "context": context}
    properties, context, dialects, flaws = translate(fold_keys(event.get("properties")), context)
    raw_id = _event_id(event, properties, received)
    event_id = clean_id(raw_id)
    return Call(
        event=event,
        received=received,
        options=options,
        context=context,
        properties=properties,
        name=_name(event, options),
        event_id=event_id,
        is_id_cleaned=event_id != raw_id,
        page_url=page_url(event) or (page_url({"context": context}) if dialects else None),
        dialects=dialects,
        flaws=flaws,
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
    """Return the id that Pinterest deduplicates by: the event id, else the message id.

    Without either, it is a hash of the content and the time of receipt, so it is the same at each attempt.
    """
    event_id = clean_text(properties.get("eventid"), _LONGEST_NAME)
    return event_id or clean_text(event.get("messageId"), _LONGEST_NAME) or _computed_id(event, received)


def _computed_id(event: Mapping[str, Any], received: Received) -> str:
    try:
        content = json.dumps(event, sort_keys=True, default=str)
    except (ValueError, RecursionError):
        # The envelope check refuses such numbers and depths.
        content = str(len(event))
    return f"evt_{sha256(f'{received.received_at} {content}'.encode()).hexdigest()[:32]}"


@dataclass(frozen=True, slots=True)
class _ExplanationLine:
    """One decision of the mapping: the step, and a sentence."""

    step: str
    text: str


@dataclass(slots=True)
class Explanation:
    """Collect the decisions of one ``map_event`` call, in order; raw personal data only if ``show_personal``."""

    show_personal: bool = False
    lines: list[_ExplanationLine] = field(default_factory=list)

    def add(self, step: str, text: str) -> None:
        """Add a decision."""
        self.lines.append(_ExplanationLine(step, text))

    def raw(self, value: object) -> str:
        """Format a personal value for a sentence, or describe it without its content."""
        if isinstance(value, str):
            return repr(value) if self.show_personal else f"a text of {len(value)} characters"
        return f"a value of type {type(value).__name__}"

    def to_dict(self) -> list[dict[str, Any]]:
        """Return the lines as JSON objects."""
        return [{"step": line.step, "text": line.text} for line in self.lines]

    def __str__(self) -> str:
        width = max((len(line.step) for line in self.lines), default=0)
        return "\n".join(f"{line.step:<{width}}  {line.text}" for line in self.lines)


@dataclass(slots=True)
class Notes:
    """Collect the computed fields and the warnings of one mapping, and optionally its explanation."""

    explain: Explanation | None = None
    computed: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def copy(self) -> Self:
        """Return notes for one of several payloads, with the warnings that all of them share."""
        return type(self)(self.explain, [], [*self.warnings], [*self.problems])

    def warn(self, problem: Problem, text: str) -> None:
        """Add a problem that the sender should fix: its kind, and a sentence about this event."""
        self.problems.append(problem)
        self.warnings.append(text)
        if self.explain is not None:
            self.explain.add("warning", text)

    def warn_of_cleaned_id(self, what: str) -> None:
        """Add the problem that an id holds personal data."""
        self.warn(
            Problem.ID_CLEANED,
            f"the {what} holds an e-mail address or a phone number: it is sent as its SHA-256",
        )

    def compute(self, name: str, how: str) -> None:
        """Note a field that was computed, because the sender did not send it."""
        self.computed.append(name)
        if self.explain is not None:
            self.explain.add("computed", f"{name}: {how}")
