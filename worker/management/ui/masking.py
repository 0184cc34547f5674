"""Hide personal data where people look at what is sent."""

from collections.abc import Mapping
from typing import Any

from worker.events.redact import clean_free_text

_SHOWN = 4


def masked(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return a Pinterest event whose ``user_data`` still tells what is there, and not whose."""
    shown = {key: _cleaned(value) for key, value in payload.items()}
    if isinstance(payload.get("user_data"), Mapping):
        shown["user_data"] = {key: _short(value) for key, value in payload["user_data"].items()}
    return shown


def _short(value: Any) -> Any:
    if isinstance(value, list):
        return [_short(one) for one in value]
    text = str(value)
    return f"{text[:_SHOWN]}… ({len(text)} characters)" if len(text) > _SHOWN else "…"


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean_free_text(value)
    if isinstance(value, Mapping):
        return {key: _cleaned(one) for key, one in value.items()}
    return [_cleaned(one) for one in value] if isinstance(value, list) else value
