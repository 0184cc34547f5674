"""Tell which fields a change touched."""

from collections.abc import Iterable, Mapping
from typing import Any

from worker.management.errors import invalid

MASK = "***"

_SECRETS = frozenset({"access_token", "server_secret"})
# They change by themselves, or repeat another field.
_UNTOLD = frozenset({"id", "created_at", "updated_at", "domain", "pipeline_keys"})


def between(before: Mapping[str, Any], after: Mapping[str, Any], path: str = "") -> dict[str, list[Any]]:
    """Return {field: [from, to]} for the fields that differ, one level into objects, secrets masked."""
    told: dict[str, list[Any]] = {}
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key), after.get(key)
        if key in _UNTOLD or old == new:
            continue
        if not path and any(isinstance(value, Mapping) for value in (old, new)):
            told |= between(old or {}, new or {}, f"{key}.")
        else:
            told[path + key] = [_masked(key, old), _masked(key, new)]
    return told


def keep(given: Mapping[str, Any], current: Mapping[str, Any], fixed: Iterable[str]) -> None:
    """Let the fields that nobody may change stand in a request as they were read.

    Raises:
        ApiError: 422 for one that is to become something else.
    """
    for field in fixed:
        if field in given and given[field] != current[field]:
            raise invalid(field, "cannot be changed")


def _masked(key: str, value: Any) -> Any:
    return MASK if key in _SECRETS and value is not None else value
