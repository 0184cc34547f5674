"""Store who changed what."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert, select

from worker.ledger.schema import audit


def append_audit_entry(
    connection: Connection, now: float, actor: str, action: str, target: str, changes: Mapping[str, Any]
) -> None:
    """Append an entry. ``changes`` maps a field to [from, to]; the caller masks secrets."""
    values = {"at": now, "actor": actor, "action": action, "object": target, "changes": dict(changes)}
    connection.execute(insert(audit).values(values))


def newest_audit_entries(
    connection: Connection, limit: int, before_id: int | None = None
) -> list[dict[str, Any]]:
    """Return entries, the newest first."""
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(audit.c.id < before_id)
    return [dict(row) for row in connection.execute(query).mappings()]
