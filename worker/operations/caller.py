"""The caller of an operation, and the transaction and audit row of a change."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from worker.ledger.database import Ledger
from worker.ledger.setup import audit_log
from worker.ledger.vault import Vault


@dataclass(frozen=True, slots=True)
class Change:
    """Hold an open transaction, the actor and the time in Unix seconds."""

    connection: Connection
    vault: Vault
    actor: str
    now: float

    def record(self, action: str, target: str, changes: Mapping[str, Any]) -> None:
        """Write the audit row; ``changes`` maps a field to [from, to], secrets masked."""
        audit_log.append_audit_entry(self.connection, self.now, self.actor, action, target, changes)


@dataclass(frozen=True, slots=True)
class Caller:
    """Hold the ledger that an operation works on, the actor as the audit log names it, and the time.

    ``now`` is in Unix seconds.
    """

    ledger: Ledger
    actor: str
    now: float

    @contextmanager
    def changing(self) -> Iterator[Change]:
        """Open one transaction for a change and its audit row: both are written, or neither."""
        self.ledger.vault.prepare()
        with self.ledger.write() as connection:
            yield Change(connection, self.ledger.vault, self.actor, self.now)


MASK = "***"

_SECRETS = frozenset({"access_token", "server_secret"})
# They change by themselves, or repeat another field.
_LEFT_OUT = frozenset({"id", "number", "created_at", "updated_at", "domain", "pipeline_keys"})


def changed_fields(
    before: Mapping[str, Any], after: Mapping[str, Any], path: str = ""
) -> dict[str, list[Any]]:
    """Return {field: [from, to]} for the fields that differ, one level into objects, secrets masked."""
    changes: dict[str, list[Any]] = {}
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key), after.get(key)
        # Within an object the same names mean something else, like the domain of the cookies.
        if old == new or (not path and key in _LEFT_OUT):
            continue
        if not path and any(isinstance(value, Mapping) for value in (old, new)):
            changes |= changed_fields(old or {}, new or {}, f"{key}.")
        else:
            changes[path + key] = [_masked(key, old), _masked(key, new)]
    return changes


def _masked(key: str, value: Any) -> Any:
    return MASK if key in _SECRETS and value is not None else value
