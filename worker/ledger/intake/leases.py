"""Keep which inbox rows a worker holds for longer than usual, so that nobody else works on them meanwhile.

A lease saves work and is no fence: `inbox.remove` decides who settles an event.
"""

import time
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, Double, cast, delete, extract, func, literal, select

from worker.ledger.rows import upsert
from worker.ledger.schema import inbox_lease

# Any number that no other advisory lock has.
_CLAIM_LOCK = 7_161_201


def save_lease(connection: Connection, holder: str, ids: Sequence[int], seconds: float) -> None:
    """Lease rows to a holder, or renew the lease; the ids replace those of the lease before."""
    values = {"inbox_ids": list(ids), "lease_until": _now(connection) + seconds}
    statement = upsert(connection, inbox_lease).values(holder=holder, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["holder"], set_=values))


def end_lease(connection: Connection, holder: str) -> None:
    """End a holder's lease, if there is one."""
    connection.execute(delete(inbox_lease).where(inbox_lease.c.holder == holder))


def leased_ids(connection: Connection, but: str = "") -> set[int]:
    """Return the ids of all rows under a lease that has not expired, except those of one holder."""
    live = select(inbox_lease.c.inbox_ids).where(
        inbox_lease.c.holder != but, inbox_lease.c.lease_until > _now(connection)
    )
    return {event_id for ids in connection.scalars(live) for event_id in ids}


def any_lease_expired(connection: Connection) -> bool:
    """Return whether there is a lease that expired."""
    expired = select(inbox_lease.c.holder).where(inbox_lease.c.lease_until <= _now(connection))
    return connection.scalar(expired.limit(1)) is not None


def take_expired_leases(connection: Connection) -> list[int]:
    """Remove the leases that expired, and return the ids of the rows that nobody holds any more, in order."""
    expired = delete(inbox_lease).where(inbox_lease.c.lease_until <= _now(connection))
    gone = connection.scalars(expired.returning(inbox_lease.c.inbox_ids))
    return sorted({event_id for ids in gone for event_id in ids})


def try_claim_lock(connection: Connection) -> bool:
    """Return whether this transaction alone may choose rows to lease; others skip their turn meanwhile.

    SQLite has a single writer anyway.
    """
    if connection.dialect.name == "sqlite":
        return True
    return bool(connection.scalar(select(func.pg_try_advisory_xact_lock(_CLAIM_LOCK))))


def _now(connection: Connection) -> ColumnElement[float]:
    """Return the clock that decides leases: the database server's, or that of the only host."""
    if connection.dialect.name == "sqlite":
        return literal(time.time(), Double)
    return cast(extract("epoch", func.clock_timestamp()), Double)
