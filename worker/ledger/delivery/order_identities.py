"""Find the order that a report is about, whichever of its ids the report states.

A shop's page knows an order's number, Shopify's web pixel its id or the token of its checkout, and the shop's webhook
all of them. The order's *business key* is one for all its reports: the first of them decides it.

Two reports with different ids of the shop's system are about different orders, whatever else they have in common. Only
signed reports connect ids with each other, so that nobody outside can make one order out of two.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, select, update

from worker.ledger.intake.visitors import VersionConflictError
from worker.ledger.rows import chunks, insert_all, is_among
from worker.ledger.schema import order_identity
from worker.ledger.vault import SECONDS_A_DAY

# An id of a system with at least this many characters is not the number of another order.
_SURELY_AN_ID = 9


@dataclass(frozen=True, slots=True)
class OrderIdentity:
    """Hold the keyed hashes by which one report names its order.

    ``keys``: the surest first; a new order gets the first as its business key. ``system_key``: the first key, if it is
    of the id that the shop's system gave the order. ``guesses``: keys under which another report may have named the
    order if a number is an id, or an id a number: only an order of the same ``amount_key``. ``connects``: whether the
    report makes its keys known as those of one order.
    """

    keys: tuple[bytes, ...]
    system_key: bytes | None = None
    guesses: tuple[bytes, ...] = ()
    amount_key: bytes | None = None
    connects: bool = False


class _KnownKey(NamedTuple):
    """Hold what is known of a key. Without a ``system_key`` it is the business key of its order, and its only key."""

    business_key: bytes
    system_key: bytes | None
    amount_key: bytes | None


def could_be_number(system_id: str) -> bool:
    """Return whether an id of a shop's system may equal the number of another order, so that their keys must differ."""
    return len(system_id) < _SURELY_AN_ID


def name_orders(
    connection: Connection, reports: Iterable[OrderIdentity], until: float
) -> dict[OrderIdentity, bytes]:
    """Return the business key of each report's order. New keys are remembered until a time.

    Raises:
        VersionConflictError: another process names the same orders; roll the transaction back.
    """
    # Those that connect keys come first, so that others of the same call find them.
    wanted = sorted(set(reports), key=lambda one: (not one.connects, one.keys))
    if not wanted:
        return {}
    known = _load(connection, {key for one in wanted for key in (*one.keys, *one.guesses)})
    before = dict(known)
    found = {one: _name_order(one, known) for one in wanted}
    _save(connection, before, known, int(until // SECONDS_A_DAY))
    return found


def _name_order(report: OrderIdentity, known: dict[bytes, _KnownKey]) -> bytes:
    """Return the business key of a report's order, and add to ``known`` what the report says of it."""
    shared = next((key for key in (*report.keys, *report.guesses) if _is_shared(report, key, known)), None)
    business_key = report.keys[0] if shared is None else known[shared].business_key
    if report.connects:
        now = _KnownKey(business_key, report.system_key, report.amount_key)
        for key in (*report.keys, *([] if shared is None else [shared])):
            if key not in known or known[key].system_key is None:
                known[key] = now
    elif shared is None:
        known[business_key] = _KnownKey(business_key, None, report.amount_key)
    return business_key


def _is_shared(report: OrderIdentity, key: bytes, known: Mapping[bytes, _KnownKey]) -> bool:
    """Return whether a key that a report has is known as that of its own order."""
    one = known.get(key)
    if one is None:
        return False
    if key not in report.keys:
        # A number that belongs to an order with an id is no other order's id.
        is_free = report.system_key is None or one.system_key is None
        return is_free and report.amount_key is not None and report.amount_key == one.amount_key
    return None in (report.system_key, one.system_key) or report.system_key == one.system_key


def _load(connection: Connection, keys: Iterable[bytes]) -> dict[bytes, _KnownKey]:
    known: dict[bytes, _KnownKey] = {}
    for some in chunks(sorted(keys)):
        rows = select(order_identity).where(is_among(connection, order_identity.c.key, some))
        for row in connection.execute(rows):
            known[row.key] = _KnownKey(row.business_key, row.system_key, row.amount_key)
    return known


def _save(
    connection: Connection, before: Mapping[bytes, _KnownKey], after: Mapping[bytes, _KnownKey], last_day: int
) -> None:
    # In the order of the keys: otherwise two processes deadlock on PostgreSQL.
    rows = [
        {"key": key, **after[key]._asdict(), "last_day": last_day}
        for key in sorted(after.keys() - before.keys())
    ]
    # The other process may connect these keys with others: read all of them again.
    if len(insert_all(connection, order_identity, rows, _unless_it_is_there)) < len(rows):
        raise VersionConflictError
    for key in sorted(key for key, one in before.items() if after[key] != one):
        connected = update(order_identity).where(
            order_identity.c.key == key, order_identity.c.system_key.is_(None)
        )
        values = after[key]._asdict() | {"last_day": last_day}
        if connection.execute(connected.values(values)).rowcount != 1:
            raise VersionConflictError


def _unless_it_is_there(new: Any) -> Any:
    return new.on_conflict_do_nothing().returning(order_identity.c.key)


def forget_orders(connection: Connection, now: float, most: int) -> int:
    """Delete up to ``most`` keys of orders whose time is over. Returns how many."""
    last_day = int(now // SECONDS_A_DAY)
    over = select(order_identity.c.key).where(order_identity.c.last_day < last_day).limit(most)
    return connection.execute(delete(order_identity).where(order_identity.c.key.in_(over))).rowcount
