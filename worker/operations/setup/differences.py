"""Compare two states of an object for the audit log."""

from collections.abc import Mapping
from typing import Any

MASK = "***"

_SECRETS = frozenset({"access_token", "server_secret"})
# They change by themselves, or repeat another field.
_LEFT_OUT = frozenset({"id", "number", "created_at", "updated_at", "domain", "pipeline_keys"})


def changed_fields(
    before: Mapping[str, Any], after: Mapping[str, Any], path: str = ""
) -> dict[str, list[Any]]:
    """Return {field: [from, to]} for the fields that differ, one level into objects, secrets masked."""
    found: dict[str, list[Any]] = {}
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key), after.get(key)
        # Within an object the same names mean something else, like the domain of the cookies.
        if old == new or (not path and key in _LEFT_OUT):
            continue
        if not path and any(isinstance(value, Mapping) for value in (old, new)):
            found |= changed_fields(old or {}, new or {}, f"{key}.")
        else:
            found[path + key] = [_masked(key, old), _masked(key, new)]
    return found


def _masked(key: str, value: Any) -> Any:
    return MASK if key in _SECRETS and value is not None else value
