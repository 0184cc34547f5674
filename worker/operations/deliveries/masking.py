"""Mask personal data in payloads and events that people see."""

import re
from collections.abc import Mapping
from typing import Any

from worker.event.redaction import clean_free_text, clean_url, is_personal_key
from worker.event.text import fold_key
from worker.pinterest.user_data.traits import is_trait

_SHOWN = 4
# Personal keys of an event, in addition to the traits that the mapping reads.
_OF_A_PERSON = frozenset(
    [
        *("traits", "user", "customer", "userid", "anonymousid", "previousid", "ip", "useragent", "deviceid"),
        *("epik", "pinunauth", "clickid", "partnerid", "dfid"),
    ]
)
# The click id in a URL, after its first characters.
_EPIK = re.compile(rf"([?&]epik=[^&#]{{0,{_SHOWN}}})[^&#]*", re.IGNORECASE)


def masked_payload(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return a payload with the values of ``user_data`` shortened."""
    masked = {key: _clean_value(value) for key, value in payload.items()}
    if isinstance(payload.get("user_data"), Mapping):
        masked["user_data"] = {key: _short(value) for key, value in payload["user_data"].items()}
    return masked


def masked_event(event: Any) -> Any:
    """Return an event with personal values shortened."""
    if isinstance(event, Mapping):
        return {key: _short(part) if _is_personal(key) else masked_event(part) for key, part in event.items()}
    if isinstance(event, list):
        return [masked_event(part) for part in event]
    if isinstance(event, str):
        return _EPIK.sub(r"\1…", clean_url(event) if "://" in event[:12] else clean_free_text(event))
    return event


def _is_personal(key: str) -> bool:
    return fold_key(key) in _OF_A_PERSON or is_trait(key) or is_personal_key(key)


def _short(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {key: _short(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_short(part) for part in value]
    text = str(value)
    return f"{text[:_SHOWN]}… ({len(text)} characters)" if len(text) > _SHOWN else "…"


def _clean_value(value: Any) -> Any:
    if isinstance(value, str):
        return _EPIK.sub(r"\1…", clean_free_text(value))
    if isinstance(value, Mapping):
        return {key: _clean_value(part) for key, part in value.items()}
    return [_clean_value(part) for part in value] if isinstance(value, list) else value
