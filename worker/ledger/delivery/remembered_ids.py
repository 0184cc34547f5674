"""Remember the ids of deliveries that retention or an erasure removed, so that no second copy is sent.

While a delivery exists, unique indexes find its second copy. The ids of the others are kept here, as keyed hashes, for
as long as a copy may come: `EVENT_ID_DAYS` for an event id, `BUSINESS_ID_DAYS` for an order and the like.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select, update

from worker.ledger.delivery.signed_precedence import DedupKey, dedup_key
from worker.ledger.intake.visitors import VersionConflictError
from worker.ledger.rows import chunks, insert_all, is_among
from worker.ledger.schema import delivery, order_identity, remembered_id
from worker.ledger.vault import SECONDS_A_DAY, Vault
from worker.retention import BUSINESS_ID_DAYS, EVENT_ID_DAYS


class _Remembered(NamedTuple):
    """Hold what is known of a delivery that is gone."""

    accepted_at: float
    trust: int
    may_have_arrived: bool
    content_key: bytes | None


@dataclass(frozen=True, slots=True)
class _Departing:
    """Hold a delivery that is about to go. ``ended_at`` is when it was sent, or when it goes."""

    key: DedupKey
    business_key: bytes | None
    ended_at: float
    known: _Remembered


DEPARTING_COLUMNS = (
    delivery.c.ad_account,
    delivery.c.event_id,
    delivery.c.business_key,
    delivery.c.accepted_at,
    delivery.c.trust,
    delivery.c.content_key,
    delivery.c.may_have_arrived,
)


def departing_of(row: Any, ended_at: float, *, may_have_arrived: bool) -> _Departing:
    """Read a delivery's row, which has the `DEPARTING_COLUMNS`, its test flag and its event name."""
    memory = _Remembered(
        row.accepted_at, row.trust, may_have_arrived or bool(row.may_have_arrived), row.content_key
    )
    return _Departing(dedup_key(row), row.business_key, ended_at, memory)


def remember_ids(connection: Connection, vault: Vault, departures: Iterable[_Departing], now: float) -> None:
    """Remember deliveries for as long as a second copy may come."""
    rows_by_key: dict[bytes, dict[str, Any]] = {}
    for departure in departures:
        for key, until in _keys_with_end(vault, departure):
            if until > now:
                last_day = int(until // SECONDS_A_DAY)
                rows_by_key[key] = {"key": key, "last_day": last_day} | departure.known._asdict()
    rows = [rows_by_key[key] for key in sorted(rows_by_key)]
    insert_all(connection, remembered_id, rows, _over_less_trusted)


def _keys_with_end(vault: Vault, departure: _Departing) -> Iterable[tuple[bytes, float]]:
    yield _event_key(vault, departure.key), departure.ended_at + EVENT_ID_DAYS * SECONDS_A_DAY
    if departure.business_key is not None:
        end = max(
            departure.known.accepted_at + BUSINESS_ID_DAYS * SECONDS_A_DAY,
            departure.ended_at + EVENT_ID_DAYS * SECONDS_A_DAY,
        )
        yield _business_memory_key(vault, departure.key, departure.business_key), end


def _event_key(vault: Vault, key: DedupKey) -> bytes:
    return vault.keyed_hash("once", str(key.ad_account), str(int(key.test)), key.event_name, key.event_id)


def _business_memory_key(vault: Vault, key: DedupKey, business_key: bytes) -> bytes:
    return vault.keyed_hash("business once", str(key.ad_account), str(int(key.test)), business_key.hex())


def _over_less_trusted(new: Any) -> Any:
    names = [column.name for column in remembered_id.columns if column.name != "key"]
    return new.on_conflict_do_update(
        index_elements=[remembered_id.c.key],
        set_={name: new.excluded[name] for name in names},
        where=remembered_id.c.trust <= new.excluded.trust,
    )


def recall_ids(
    connection: Connection, vault: Vault, id_pairs: Iterable[tuple[DedupKey, bytes | None]]
) -> Callable[[DedupKey, bytes | None], _Remembered | None] | None:
    """Return a function that returns what is remembered of an event id and a business key; None if nothing is."""
    # Usually nothing is remembered: events stay for longer than a copy may come.
    if connection.scalar(select(func.max(remembered_id.c.last_day))) is None:
        return None
    keys: dict[tuple[DedupKey, bytes | None], tuple[bytes, ...]] = {}
    by_key: dict[bytes, _Remembered] = {}
    for key, business_key in id_pairs:
        own_keys = () if business_key is None else (_business_memory_key(vault, key, business_key),)
        keys[key, business_key] = (_event_key(vault, key), *own_keys)
    for chunk in chunks(sorted({key for own_keys in keys.values() for key in own_keys})):
        rows = select(remembered_id).where(is_among(connection, remembered_id.c.key, chunk))
        for row in connection.execute(rows):
            by_key[row.key] = _Remembered(
                row.accepted_at, row.trust, bool(row.may_have_arrived), row.content_key
            )

    def recall(key: DedupKey, business_key: bytes | None) -> _Remembered | None:
        memories = [by_key[own] for own in keys.get((key, business_key), ()) if own in by_key]
        return max(memories, key=lambda memory: memory.trust, default=None)

    return recall


# An id of a system with at least this many characters is not the number of another order.
_SURELY_AN_ID = 9


@dataclass(frozen=True, slots=True)
class OrderIdentity:
    """Hold the keyed hashes by which one report names its order.

    ``keys``: the surest first; a new order gets the first as its business key. ``system_key``: the first key, if it is
    of the id that the shop's system gave the order. ``guesses``: keys under which another report may have named the
    order if a number is an id, or an id a number: only an order of the same ``amount_key``. ``meets``: keys that both
    such reports write, so that of two at the same moment one is read again. ``connects``: whether the report makes its
    keys known as those of one order.
    """

    keys: tuple[bytes, ...]
    system_key: bytes | None = None
    guesses: tuple[bytes, ...] = ()
    amount_key: bytes | None = None
    meets: tuple[bytes, ...] = ()
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
    distinct = sorted(set(reports), key=lambda report: (not report.connects, report.keys))
    if not distinct:
        return {}
    keys = _load(
        connection, {key for report in distinct for key in (*report.keys, *report.guesses, *report.meets)}
    )
    before = dict(keys)
    business_keys = {report: _name_order(report, keys) for report in distinct}
    _save(connection, before, keys, int(until // SECONDS_A_DAY))
    return business_keys


def _name_order(report: OrderIdentity, keys: dict[bytes, _KnownKey]) -> bytes:
    """Return the business key of a report's order, and add to ``keys`` what the report says of it."""
    shared = next((key for key in (*report.keys, *report.guesses) if _is_shared(report, key, keys)), None)
    business_key = report.keys[0] if shared is None else keys[shared].business_key
    if report.connects:
        now = _KnownKey(business_key, report.system_key, report.amount_key)
        for key in (*report.keys, *([] if shared is None else [shared])):
            if key not in keys or keys[key].system_key is None:
                keys[key] = now
    elif shared is None:
        keys[business_key] = _KnownKey(business_key, None, report.amount_key)
    for key in report.meets:
        keys.setdefault(key, _KnownKey(business_key, None, None))
    return business_key


def _is_shared(report: OrderIdentity, key: bytes, keys: Mapping[bytes, _KnownKey]) -> bool:
    """Return whether a key that a report has is known as that of its own order."""
    stored = keys.get(key)
    if stored is None:
        return False
    if key not in report.keys:
        # A number that belongs to an order with an id is no other order's id.
        is_free = report.system_key is None or stored.system_key is None
        return is_free and report.amount_key is not None and report.amount_key == stored.amount_key
    return None in (report.system_key, stored.system_key) or report.system_key == stored.system_key


def _load(connection: Connection, keys: Iterable[bytes]) -> dict[bytes, _KnownKey]:
    stored_keys: dict[bytes, _KnownKey] = {}
    for chunk in chunks(sorted(keys)):
        rows = select(order_identity).where(is_among(connection, order_identity.c.key, chunk))
        for row in connection.execute(rows):
            stored_keys[row.key] = _KnownKey(row.business_key, row.system_key, row.amount_key)
    return stored_keys


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
    for key in sorted(key for key, stored in before.items() if after[key] != stored):
        connected = update(order_identity).where(
            order_identity.c.key == key, order_identity.c.system_key.is_(None)
        )
        values = after[key]._asdict() | {"last_day": last_day}
        if connection.execute(connected.values(values)).rowcount != 1:
            raise VersionConflictError


def _unless_it_is_there(new: Any) -> Any:
    return new.on_conflict_do_nothing().returning(order_identity.c.key)
