"""Validate an integration's configuration."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

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

from worker.event.times import parse_time
from worker.pinterest.custom_data.currencies import currency_code
from worker.pinterest.event_names.overrides import read_rules
from worker.pinterest.mapping.contract import SCHEMA_VERSIONS
from worker.pinterest.user_data.countries import country_code

ProductIdSource = Literal["product", "variant", "sku", "parent"]
ValueBasis = Literal["total", "without_tax_and_shipping"]
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
        read_rules(data)

    @post_load
    def _read_rules(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        config = {key: value for key, value in data.items() if value is not None} | read_rules(data)
        for name in ("default_country", "default_currency"):
            if name in config:
                config[name] = config[name].upper()
        return config


def load_config(config: object) -> Mapping[str, Any]:
    """Validate an integration's configuration, and return it with rules parsed and without nulls.

    Raises:
        ConfigError: names the first invalid field, and holds all of them.
    """
    if not isinstance(config, Mapping):
        raise ConfigError("config", "must be an object.")
    try:
        values: Mapping[str, Any] = _IntegrationConfigSchema().load(config)
    except ValidationError as error:
        errors = {str(field): str(messages[0]) for field, messages in error.messages_dict.items()}
        raise ConfigError(*next(iter(errors.items())), errors) from None
    return values


def check_consent_categories(categories: Sequence[object]) -> tuple[str, ...]:
    """Return the consent categories without duplicates.

    Raises:
        ConfigError: a category is unknown.
    """
    for category in categories:
        if category not in CONSENT_CATEGORIES:
            names = ", ".join(CONSENT_CATEGORIES)
            raise ConfigError("consent_categories", f"has {category!r}, which is not one of {names}.")
    return tuple(dict.fromkeys(map(str, categories)))
