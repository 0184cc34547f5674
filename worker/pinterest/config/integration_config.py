"""Validate an integration's configuration, and choose event names by its rules."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from marshmallow import (
    RAISE,
    Schema,
    ValidationError,
    fields,
    post_load,
    pre_load,
    validate,
    validates_schema,
)

from worker.event.text import fold_key
from worker.event.times import parse_time
from worker.pinterest.config.event_names import PINTEREST_NAMES, ProductIdSource, ValueBasis
from worker.pinterest.custom_data.currencies import currency_code
from worker.pinterest.mapping.contract import SCHEMA_VERSIONS
from worker.pinterest.user_data.countries import country_code

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
        fits = len(sentence) <= _LONGEST_SENTENCE
        super().__init__(sentence if fits else f"{sentence[: _LONGEST_SENTENCE - 1]}…")


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
        RuleError: names the event with the invalid rule.
    """
    if not isinstance(raw, Mapping) or len(raw) > _MOST_OVERRIDES:
        raise _RuleError(f"must be an object of at most {_MOST_OVERRIDES} event names.")
    allowed = PINTEREST_NAMES.union(advertiser_events)
    parsed: dict[str, tuple[_Rule, ...]] = {}
    for event, rules in raw.items():
        folded = fold_key(str(event))
        if not folded or len(str(event)) > 256:
            raise _RuleError(f"has {event!r}, which is not an event name.")
        if folded in parsed:
            raise _RuleError(f"names the event {event!r} twice, in different spellings.")
        parsed[folded] = _parse_rules(str(event), rules, allowed)
    return parsed


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
        RuleError: the list is too long, or a name has characters that Pinterest does not accept.
    """
    if not isinstance(raw, list) or len(raw) > _MOST_ADVERTISER_EVENTS:
        raise _RuleError(f"must be a list of at most {_MOST_ADVERTISER_EVENTS} names.")
    for name in raw:
        if not isinstance(name, str) or not _ADVERTISER_NAME.fullmatch(name):
            raise _RuleError(f"has {name!r}: a name is 1 to 100 letters, digits, hyphens and underscores.")
    if len({fold_key(name) for name in raw}) < len(raw):
        raise _RuleError("names an event twice.")
    return tuple(raw)


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


CONSENT_CATEGORIES = ("analytics", "marketing", "functional", "advertising")

_AD_ACCOUNT_ID = re.compile(r"\d{1,18}", re.ASCII)
_LONGEST_TOKEN = 4096
_LONGEST_AFFIX = 64


class ConfigError(Exception):
    """The configuration is invalid; ``message`` says why, ``field`` says where. ``errors`` has all invalid fields."""

    def __init__(self, field: str, message: str, errors: Mapping[str, str] | None = None) -> None:
        self.field = field
        self.message = message
        self.errors = errors or {field: message}
        super().__init__(f"{field} {message}")


def _check_ad_account_id(value: object) -> None:
    if not isinstance(value, str) or not _AD_ACCOUNT_ID.fullmatch(value):
        raise ValidationError("must be a text of 1 to 18 digits, as Pinterest Ads Manager shows it.")


def _check_token(value: object) -> None:
    usable = isinstance(value, str) and 0 < len(value) <= _LONGEST_TOKEN
    if not usable or not str(value).isascii() or not str(value).isprintable() or " " in str(value):
        raise ValidationError("must be Pinterest's access token: printable characters without spaces.")


def _check_time(value: object) -> None:
    if not isinstance(value, str) or parse_time(value) is None:
        raise ValidationError("must be a time in ISO 8601, like 2030-01-29T14:53:20Z.")


def _check_number(value: object) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < float(str(value)) <= 100_000:
        raise ValidationError("must be a number above 0 and at most 100000.")


def _check_burst(value: object) -> None:
    _check_number(value)
    if not isinstance(value, int) or value < 1:
        raise ValidationError("must be a whole number of at least 1.")


def _check_flag(value: object) -> None:
    if not isinstance(value, bool):
        raise ValidationError("must be true or false.")


def _check_affix(value: object) -> None:
    if not isinstance(value, str) or len(value) > _LONGEST_AFFIX or not value.isprintable():
        raise ValidationError(f"must be a text of at most {_LONGEST_AFFIX} characters.")


def _check_country(value: object) -> None:
    if not isinstance(value, str) or len(value) != 2 or country_code(value) != value.lower():
        raise ValidationError("must be a country's two letters (ISO 3166), like DE.")


def _check_currency(value: object) -> None:
    if not isinstance(value, str) or len(value) != 3 or currency_code(value) != value.upper():
        raise ValidationError("must be a currency's three letters (ISO 4217), like EUR.")


def _flag() -> fields.Raw:
    return fields.Raw(allow_none=True, validate=_check_flag)


def _choice(*words: str) -> fields.Raw:
    sentence = f"must be {', '.join(words[:-1])} or {words[-1]}."
    return fields.Raw(allow_none=True, validate=validate.OneOf(words, error=sentence))


_MISSING: dict[str, Any] = {"required": "is missing.", "null": "is missing."}


class _IntegrationConfigSchema(Schema):
    """The schema of an integration's ``config``; secrets remain unchanged."""

    class Meta:
        unknown = RAISE

    ad_account_id = fields.Raw(required=True, validate=_check_ad_account_id, error_messages=_MISSING)
    access_token = fields.Raw(
        required=True, validate=_check_token, error_messages=_MISSING, metadata={"format": "password"}
    )
    rate_limit_rps = fields.Raw(allow_none=True, validate=_check_number)
    rate_limit_burst = fields.Raw(allow_none=True, validate=_check_burst)
    field_mapping = _choice("signal", "pinterest")
    test_mode = _flag()
    token_expires_at = fields.Raw(allow_none=True, validate=_check_time)
    event_overrides = fields.Raw(allow_none=True)
    advertiser_events = fields.Raw(allow_none=True)
    default_country = fields.Raw(allow_none=True, validate=_check_country)
    default_currency = fields.Raw(allow_none=True, validate=_check_currency)
    truncate_ip = _flag()
    limited_data_processing = _flag()
    bot_filter = _flag()
    clean_free_text = _flag()
    send_user_id = _flag()
    product_id_source = _choice(*get_args(ProductIdSource))
    product_id_prefix = fields.Raw(allow_none=True, validate=_check_affix)
    product_id_suffix = fields.Raw(allow_none=True, validate=_check_affix)
    value_basis = _choice(*get_args(ValueBasis))
    dedupe_by_business_id = _flag()
    schema_version = _choice(*SCHEMA_VERSIONS)

    @pre_load
    def _keys_are_known(self, data: Any, **_: Any) -> Any:
        if isinstance(data, Mapping):
            for key in data:
                if key not in self.fields:
                    raise ValidationError("is not a setting of an integration.", str(key))
        return data

    @validates_schema(skip_on_field_errors=False)
    def _rules_can_be_read(self, data: dict[str, Any], **_: Any) -> None:
        _rules(data)

    @post_load
    def _read_rules(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        config = {key: value for key, value in data.items() if value is not None} | _rules(data)
        for name in ("default_country", "default_currency"):
            if name in config:
                config[name] = config[name].upper()
        return config


def _rules(data: Mapping[str, Any]) -> dict[str, Any]:
    raw = {key: value for key, value in data.items() if value is not None}
    names = _read("advertiser_events", _parse_advertiser_events, raw.get("advertiser_events", []))
    overrides = _read("event_overrides", _parse_overrides, raw.get("event_overrides", {}), names)
    return {"advertiser_events": names, "event_overrides": overrides}


def _read(field: str, parse: Any, *arguments: object) -> Any:
    try:
        return parse(*arguments)
    except _RuleError as error:
        raise ValidationError(str(error), field) from None


def load_config(config: object) -> Mapping[str, Any]:
    """Validate an integration's configuration, and return it with rules parsed and without nulls.

    Raises:
        ConfigError: names the first invalid field, and holds all of them.
    """
    if not isinstance(config, Mapping):
        raise ConfigError("config", "must be an object.")
    try:
        loaded: Mapping[str, Any] = _IntegrationConfigSchema().load(config)
    except ValidationError as error:
        errors = {str(field): str(messages[0]) for field, messages in error.messages_dict.items()}
        raise ConfigError(*next(iter(errors.items())), errors) from None
    return loaded


def check_consent_categories(categories: Sequence[object]) -> tuple[str, ...]:
    """Return the consent categories without duplicates.

    Raises:
        ConfigError: a category is unknown.
    """
    for category in categories:
        if category not in CONSENT_CATEGORIES:
            allowed = ", ".join(CONSENT_CATEGORIES)
            raise ConfigError("consent_categories", f"has {category!r}, which is not one of {allowed}.")
    return tuple(dict.fromkeys(map(str, categories)))
