"""The caller of an operation, and the transaction that a change runs in."""

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
