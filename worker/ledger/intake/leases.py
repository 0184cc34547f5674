"""Store which inbox rows a worker holds for long, so that no other worker processes them.

A lease saves work but is not a fence: `inbox.take_events` decides who settles an event.
"""

import time
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, Double, cast, delete, extract, func, literal, not_, select

from worker.ledger.rows import has_passed, upsert
from worker.ledger.schema import inbox_lease

# Any number that no other advisory lock has.
_CLAIM_LOCK = 7_161_201


def save_lease(connection: Connection, holder: str, ids: Sequence[int], seconds: float) -> None:
    """Lease rows to a holder or renew the lease. The ids replace those of the holder's earlier lease."""
    values = {"inbox_ids": list(ids), "lease_until": _now(connection) + seconds}
    statement = upsert(connection, inbox_lease).values(holder=holder, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["holder"], set_=values))


def end_lease(connection: Connection, holder: str) -> None:
    """End a holder's lease, if it has one."""
    connection.execute(delete(inbox_lease).where(inbox_lease.c.holder == holder))


def leased_ids(connection: Connection, but: str = "") -> set[int]:
    """Return the ids of all rows with a valid lease, except those of one holder."""
    live = select(inbox_lease.c.inbox_ids).where(
        inbox_lease.c.holder != but, not_(has_passed(inbox_lease.c.lease_until, _now(connection)))
    )
    return {event_id for ids in connection.scalars(live) for event_id in ids}


def any_lease_expired(connection: Connection) -> bool:
    """Return whether any lease has expired."""
    expired = select(inbox_lease.c.holder).where(has_passed(inbox_lease.c.lease_until, _now(connection)))
    return connection.scalar(expired.limit(1)) is not None


def take_expired_leases(connection: Connection) -> list[int]:
    """Delete expired leases. Returns the ids, in order, that no valid lease holds."""
    expired = delete(inbox_lease).where(has_passed(inbox_lease.c.lease_until, _now(connection)))
    gone = connection.scalars(expired.returning(inbox_lease.c.inbox_ids))
    return sorted({event_id for ids in gone for event_id in ids})


def try_claim_lock(connection: Connection) -> bool:
    """Return whether only this transaction may choose rows to lease. Others skip their turn.

    SQLite has a single writer anyway.
    """
    if connection.dialect.name == "sqlite":
        return True
    return bool(connection.scalar(select(func.pg_try_advisory_xact_lock(_CLAIM_LOCK))))


def _now(connection: Connection) -> ColumnElement[float]:
    """Return the time that decides leases, by the database server's clock or that of the only host."""
    if connection.dialect.name == "sqlite":
        return literal(time.time(), Double)
    return cast(extract("epoch", func.clock_timestamp()), Double)
