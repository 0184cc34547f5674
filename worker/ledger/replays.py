"""Remember accepted signed requests, so that each is accepted once."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, select

from worker.ledger.rows import insert_all
from worker.ledger.schema import signed_request


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """Identify a signed request by a keyed hash of its signature; after ``forget_at`` the signature is void."""

    key: bytes
    forget_at: float


def remember(connection: Connection, requests: Iterable[SignedRequest]) -> set[bytes]:
    """Store signed requests; return the keys of those that were not accepted before.

    A concurrent transaction with the same key waits until this one ends.
    """
    by_key = {request.key: request for request in requests}
    # Sorted, so that two writers lock the same keys in the same order.
    rows = [{"key": key, "forget_at": by_key[key].forget_at} for key in sorted(by_key)]
    return {row.key for row in insert_all(connection, signed_request, rows, _skip_known)}


def _skip_known(new: Any) -> Any:
    return new.on_conflict_do_nothing(index_elements=["key"]).returning(signed_request.c.key)


def purge(connection: Connection, now: float, limit: int) -> int:
    """Delete up to ``limit`` expired requests; return how many."""
    expired = (
        select(signed_request.c.key)
        .where(signed_request.c.forget_at < now)
        .order_by(signed_request.c.forget_at)
        .limit(limit)
    )
    return connection.execute(delete(signed_request).where(signed_request.c.key.in_(expired))).rowcount
