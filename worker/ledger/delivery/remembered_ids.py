"""Remember the ids of deliveries that retention or an erasure removed, so that no second copy is sent.

While a delivery exists, unique indexes find its second copy. The ids of the others are kept here, as keyed hashes, for
as long as a copy may come: `_EVENT_DAYS` for an event id, `BUSINESS_DAYS` for an order and the like.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, select

from worker.ledger.delivery.precedence import DedupKey, dedup_key
from worker.ledger.rows import chunks, insert_all, is_among
from worker.ledger.schema import delivery, remembered_id
from worker.ledger.vault import SECONDS_A_DAY, Vault

# Pinterest takes no event that is over seven days old, and the day may have just begun.
_EVENT_DAYS = 9
BUSINESS_DAYS = 30


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
    known = _Remembered(
        row.accepted_at, row.trust, may_have_arrived or bool(row.may_have_arrived), row.content_key
    )
    return _Departing(dedup_key(row), row.business_key, ended_at, known)


def remember_ids(connection: Connection, vault: Vault, gone: Iterable[_Departing], now: float) -> None:
    """Remember deliveries for as long as a second copy may come."""
    found: dict[bytes, dict[str, Any]] = {}
    for one in gone:
        for key, until in _keys_with_end(vault, one):
            if until > now:
                last_day = int(until // SECONDS_A_DAY)
                found[key] = {"key": key, "last_day": last_day} | one.known._asdict()
    rows = [found[key] for key in sorted(found)]
    insert_all(connection, remembered_id, rows, _over_less_trusted)


def _keys_with_end(vault: Vault, one: _Departing) -> Iterable[tuple[bytes, float]]:
    yield _event_key(vault, one.key), one.ended_at + _EVENT_DAYS * SECONDS_A_DAY
    if one.business_key is not None:
        end = max(
            one.known.accepted_at + BUSINESS_DAYS * SECONDS_A_DAY, one.ended_at + _EVENT_DAYS * SECONDS_A_DAY
        )
        yield _business_memory_key(vault, one.key, one.business_key), end


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
    connection: Connection, vault: Vault, wanted: Sequence[tuple[DedupKey, bytes | None]]
) -> Callable[[DedupKey, bytes | None], _Remembered | None]:
    """Return a function that tells what is remembered of an event id and a business key."""
    keys: dict[tuple[DedupKey, bytes | None], tuple[bytes, ...]] = {}
    found: dict[bytes, _Remembered] = {}
    # Usually nothing is remembered: events stay for longer than a copy may come.
    if wanted and connection.scalar(select(func.max(remembered_id.c.last_day))) is not None:
        for key, business_key in wanted:
            own = () if business_key is None else (_business_memory_key(vault, key, business_key),)
            keys[key, business_key] = (_event_key(vault, key), *own)
        for some in chunks(sorted({key for own in keys.values() for key in own})):
            rows = select(remembered_id).where(is_among(connection, remembered_id.c.key, some))
            for row in connection.execute(rows):
                found[row.key] = _Remembered(
                    row.accepted_at, row.trust, bool(row.may_have_arrived), row.content_key
                )

    def recall(key: DedupKey, business_key: bytes | None) -> _Remembered | None:
        known = [found[one] for one in keys.get((key, business_key), ()) if one in found]
        return max(known, key=lambda one: one.trust, default=None)

    return recall


def forget_ids(connection: Connection, now: float, most: int) -> int:
    """Delete up to ``most`` ids whose time is over. Returns how many."""
    over = select(remembered_id.c.key).where(remembered_id.c.last_day < int(now // SECONDS_A_DAY)).limit(most)
    return connection.execute(delete(remembered_id).where(remembered_id.c.key.in_(over))).rowcount
