"""Convert an integration into the fields of its form, and back."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from worker.operations.setup.connect import TO_BE_MADE
from worker.pages.forms import form_texts, parse_number, split_lines

# The checkboxes of an integration and their defaults.
_FLAGS: dict[str, bool] = {
    "test_mode": False,
    "truncate_ip": False,
    "limited_data_processing": False,
    "bot_filter": False,
    "clean_free_text": True,
    "dedupe_by_business_id": True,
}
_TEXTS = (
    "name",
    "source_id",
    "ad_account_id",
    "access_token",
    "rate_limit_rps",
    "rate_limit_burst",
    "field_mapping",
    "token_expires_at",
    "event_overrides",
    "advertiser_events",
    "default_country",
    "default_currency",
    "send_user_id",
    "product_id_source",
    "product_id_prefix",
    "product_id_suffix",
    "value_basis",
    "schema_version",
    "login",
)

_YES_NO = {"yes": True, "no": False}


class OverridesError(ValueError):
    """Raised for overrides that cannot be read; the message names the line."""


def integration_values(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of an integration's form, without the access token."""
    config = record["config"]
    values = {name: str(config[name]) for name in _TEXTS if name in config and config[name] is not None}
    for name, default in _FLAGS.items():
        values[name] = "yes" if config.get(name, default) else ""
    send_user_id = config.get("send_user_id")
    return values | {
        "name": record["name"],
        "source_id": record["source_id"],
        "access_token": "",
        "rate_limit_rps": f"{config['rate_limit_rps']:g}",
        "consent_categories": list(record["consent_categories"]),
        "token_expires_at": config.get("token_expires_at", "")[:10],
        "advertiser_events": "\n".join(config.get("advertiser_events", [])),
        "event_overrides": _format_overrides(config.get("event_overrides", {})),
        "send_user_id": "" if send_user_id is None else "yes" if send_user_id else "no",
    }


def sent_integration_values(form: Any) -> dict[str, Any]:
    """Return the sent values, to show them again. The access token is left out."""
    flags = {name: form.get(name, "") for name in _FLAGS}
    categories = form.getlist("consent_categories")
    return form_texts(form, _TEXTS) | flags | {"consent_categories": categories, "access_token": ""}


def integration_body(form: Any, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sent form as a body of the Management API, with parsed overrides.

    Null resets a value to its default. An empty token is left out.
    """
    texts = form_texts(form, _TEXTS)
    flags = {name: form.get(name) == "yes" for name in _FLAGS}
    expires = texts["token_expires_at"]
    config: dict[str, Any] = {
        "ad_account_id": texts["ad_account_id"],
        "rate_limit_rps": parse_number(texts["rate_limit_rps"]),
        "rate_limit_burst": parse_number(texts["rate_limit_burst"]),
        "field_mapping": texts["field_mapping"] or None,
        "token_expires_at": f"{expires}T00:00:00Z" if expires else None,
        "event_overrides": overrides or None,
        "advertiser_events": list(
            dict.fromkeys([*split_lines(texts["advertiser_events"]), *form.getlist("defined")])
        )
        or None,
        "default_country": texts["default_country"] or None,
        "default_currency": texts["default_currency"] or None,
        "send_user_id": _YES_NO.get(texts["send_user_id"]),
        "product_id_source": texts["product_id_source"] or None,
        "product_id_prefix": texts["product_id_prefix"] or None,
        "product_id_suffix": texts["product_id_suffix"] or None,
        "value_basis": texts["value_basis"] or None,
        "schema_version": texts["schema_version"] or None,
    }
    config |= {name: None if flags[name] == default else flags[name] for name, default in _FLAGS.items()}
    if texts["access_token"] or texts["login"]:
        config["access_token"] = texts["access_token"] or TO_BE_MADE
    return {
        "name": texts["name"],
        "config": config,
        "consent_categories": form.getlist("consent_categories"),
    }


def parse_overrides(text: str) -> dict[str, Any]:
    """Read lines like "event name = pinterest_name, another", or the whole table as JSON."""
    if text.startswith("{"):
        try:
            overrides: dict[str, Any] = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise OverridesError(f"This is not JSON: {error}.") from None
        return overrides
    table: dict[str, Any] = {}
    for line in split_lines(text):
        event, equals, names = line.rpartition("=")
        targets = [name.strip() for name in names.split(",") if name.strip()]
        if not equals or not event.strip() or not targets:
            raise OverridesError(f"This line is not like “Event name = pinterest_name”: {line}")
        table[event.strip()] = targets[0] if len(targets) == 1 else targets
    return table


def _format_overrides(table: Mapping[str, Any]) -> str:
    """Write overrides as lines if possible, else as JSON."""
    if all(_is_plain(event, names) for event, names in table.items()):
        return "\n".join(f"{event} = {_joined(names)}" for event, names in table.items())
    return json.dumps(table, indent=2, ensure_ascii=False)


def _is_plain(event: str, names: Any) -> bool:
    name_list = [names] if isinstance(names, str) else names
    is_plain = isinstance(name_list, Sequence) and all(isinstance(name, str) for name in name_list)
    return is_plain and "=" not in event and not event.startswith("{")


def _joined(names: Any) -> str:
    return names if isinstance(names, str) else ", ".join(names)
