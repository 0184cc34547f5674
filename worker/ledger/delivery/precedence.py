"""Let a signed event replace a public one with the same id."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, exists, select, text, update

from worker.event.received import Trust
from worker.ledger.intake.visitors import VersionConflictError
from worker.ledger.reports import tallies
from worker.ledger.reports.tallies import Entry
from worker.ledger.rows import chunks, is_among
from worker.ledger.schema import IS_OPEN_UNINDEXED, BatchStatus, State, batch, delivery, integration

# A public delivery that can no longer be changed loses its event id to the signed one. It keeps the id before this
# mark. Ids from outside contain no control characters, so that nobody can send a marked one.
REPLACED_MARK = "\x1fpublic"
PUBLIC_REPLACED = "A signed event with this id and name took its place."
MAY_BE_COUNTED_ONCE = (
    "A public event with this id and name, and with another order id, value or currency, was sent before. "
    "Pinterest keeps one event of each id and may have kept that one."
)
FIRST_FAILED = "The public event with this id, which was sent first, failed."
# A batcher may claim a delivery between two statements.
_MOST_ROUNDS = 10
# As literal text: SQLite matches a partial index by the text of its condition.
_IS_OPEN = text(f"delivery.state = {State.OPEN.value}")
_IS_NOT_OPEN = text(f"delivery.state != {State.OPEN.value}")


def shown_event_id(event_id: str) -> str:
    """Return the id that an event came with, without the mark of a lost id."""
    return event_id.partition(REPLACED_MARK[0])[0]


class DedupKey(NamedTuple):
    """Name what may be pending or sent only once."""

    ad_account: int
    test: bool
    event_id: str
    event_name: str


class Content(NamedTuple):
    """Hold the content by which two copies are compared. Old deliveries have no ``content_key``."""

    content_key: bytes | None
    order_key: bytes | None
    currency: str | None
    value_thousandths: int | None

    def is_same(self, other: "Content") -> bool:
        """Return whether two copies have the same order, value and currency."""
        if self.content_key is not None and other.content_key is not None:
            return self.content_key == other.content_key
        return self[1:] == other[1:]


class Precedence(Enum):
    """Say what happens to a signed event because of earlier events with its id."""

    # No delivery holds the id any more: the signed event can be written.
    FREE = "free"
    # As FREE, but a public event with other content was or may have been sent under the id.
    CONTRADICTED = "contradicted"
    # A public event with the same content is being sent: the signed one is needed only if that one fails.
    BEING_SENT = "being_sent"
    # Another signed event, or a delivered public one with the same content, has the id.
    TAKEN = "taken"


@dataclass(frozen=True, slots=True)
class _Holder:
    id: int
    key: DedupKey
    trust: int
    content: Content
    batch_id: int | None
    integration_id: int


def displace_public(
    connection: Connection, claims: Mapping[DedupKey, Content], now: float
) -> dict[DedupKey, Precedence]:
    """Free the ids of signed events from public ones, and return the result for each signed event.

    A waiting public event becomes a duplicate, even in a batch that has not started. One that is being sent or was
    delivered stays; if its content differs, it loses the id.

    Raises:
        VersionConflictError: other processes keep moving these deliveries; roll the transaction back.
    """
    ways: dict[DedupKey, Precedence] = {}
    for _ in range(_MOST_ROUNDS):
        left = [key for key in claims if key not in ways]
        if not left:
            return ways
        holders, moving = _lock_holders(connection, left)
        held = moving | {holder.key for holder in holders}
        ways |= {key: Precedence.FREE for key in left if key not in held}
        ways |= _take_over(connection, claims, holders, now)
    raise VersionConflictError


def displace_public_for_failed(connection: Connection, ids: Sequence[int], now: float) -> None:
    """Free the ids of failed signed deliveries from public ones before the failed ones are sent again."""
    claims: dict[DedupKey, Content] = {}
    for some in chunks(ids):
        wanted = _select_holders().where(
            is_among(connection, delivery.c.id, some),
            delivery.c.state == State.FAILED.value,
            delivery.c.trust == Trust.SIGNED.value,
        )
        claims |= {holder.key: holder.content for holder in map(_holder, connection.execute(wanted))}
    displace_public(connection, claims, now)


def _lock_holders(connection: Connection, keys: Iterable[DedupKey]) -> tuple[list[_Holder], set[DedupKey]]:
    """Lock and return the deliveries that hold the ids. Locks batches first, as settling does.

    The last value has the ids whose deliveries were claimed meanwhile: their batches are not locked.
    """
    wanted = set(keys)
    ids: list[int] = []
    batch_ids: set[int] = set()
    for some in chunks(sorted({key.event_id for key in wanted})):
        found = _select_holders().where(is_among(connection, delivery.c.event_id, some), _IS_OPEN)
        for row in connection.execute(found):
            if _key(row) in wanted:
                ids.append(row.id)
                batch_ids |= {row.batch_id} - {None}
    for some_batches in chunks(sorted(batch_ids)):
        held = select(batch.c.id).where(is_among(connection, batch.c.id, some_batches)).order_by(batch.c.id)
        connection.execute(held.with_for_update()).all()
    holders: list[_Holder] = []
    for some_ids in chunks(sorted(ids)):
        locked = _select_holders().where(is_among(connection, delivery.c.id, some_ids), IS_OPEN_UNINDEXED)
        rows = connection.execute(locked.order_by(delivery.c.id).with_for_update())
        # Another process may have taken an id from one of them meanwhile.
        holders += [_holder(row) for row in rows if _key(row) in wanted]
    moving = {holder.key for holder in holders if holder.batch_id not in batch_ids | {None}}
    return [holder for holder in holders if holder.key not in moving], moving


def _select_holders() -> Any:
    return select(
        delivery.c.id,
        delivery.c.ad_account,
        delivery.c.test,
        delivery.c.event_id,
        delivery.c.event_name,
        delivery.c.trust,
        delivery.c.content_key,
        delivery.c.order_key,
        delivery.c.currency,
        delivery.c.value_thousandths,
        delivery.c.batch_id,
        delivery.c.integration_id,
    )


def _key(row: Any) -> DedupKey:
    return DedupKey(row.ad_account, bool(row.test), row.event_id, row.event_name)


def _holder(row: Any) -> _Holder:
    content = Content(row.content_key, row.order_key, row.currency, row.value_thousandths)
    return _Holder(row.id, _key(row), row.trust, content, row.batch_id, row.integration_id)


def _take_over(
    connection: Connection, claims: Mapping[DedupKey, Content], holders: Sequence[_Holder], now: float
) -> dict[DedupKey, Precedence]:
    ways: dict[DedupKey, Precedence] = {}
    waiting: list[_Holder] = []
    renamed: list[_Holder] = []
    batches = _batches(connection, holders)
    for holder in holders:
        is_same = claims[holder.key].is_same(holder.content)
        status, was_tried = batches.get(holder.batch_id, (None, False))
        if holder.trust == Trust.SIGNED:
            ways[holder.key] = Precedence.TAKEN
        elif status in (None, BatchStatus.READY):
            waiting.append(holder)
            ways[holder.key] = Precedence.CONTRADICTED if was_tried and not is_same else Precedence.FREE
        elif is_same:
            ways[holder.key] = Precedence.TAKEN if status == BatchStatus.SETTLED else Precedence.BEING_SENT
        else:
            renamed.append(holder)
            ways[holder.key] = Precedence.CONTRADICTED
    _end_as_duplicates(connection, waiting, now)
    _give_up_ids(connection, renamed)
    return ways


def _batches(connection: Connection, holders: Iterable[_Holder]) -> dict[int | None, tuple[int, bool]]:
    """Return each batch's status, and whether an attempt may have reached Pinterest."""
    found: dict[int | None, tuple[int, bool]] = {}
    for some in chunks(sorted({holder.batch_id for holder in holders if holder.batch_id is not None})):
        wanted = select(batch.c.id, batch.c.status, batch.c.first_tried_at).where(
            is_among(connection, batch.c.id, some)
        )
        found |= {row.id: (row.status, row.first_tried_at is not None) for row in connection.execute(wanted)}
    return found


def _end_as_duplicates(connection: Connection, waiting: Sequence[_Holder], now: float) -> None:
    values = {
        "state": State.DUPLICATE.value,
        "batch_id": None,
        "payload": None,
        "ended_at": now,
        "reason_class": "duplicate",
        "reason": PUBLIC_REPLACED,
    }
    for some in chunks([holder.id for holder in waiting]):
        connection.execute(update(delivery).where(is_among(connection, delivery.c.id, some)).values(values))
    gone = Counter(holder.batch_id for holder in waiting if holder.batch_id is not None)
    for batch_id, n in sorted(gone.items()):
        connection.execute(update(batch).where(batch.c.id == batch_id).values(events=batch.c.events - n))
    moved = [(holder.integration_id, holder.key.event_name) for holder in waiting]
    tallies.append_tallies(connection, _count(connection, moved, tallies.DUPLICATE), now)


def _give_up_ids(connection: Connection, renamed: Sequence[_Holder]) -> None:
    """Mark the ids of deliveries that can no longer be changed, so that signed events can use them."""
    marked = {holder.key._replace(event_id=holder.key.event_id + REPLACED_MARK): holder for holder in renamed}
    if not marked:
        return
    event_ids = sorted({key.event_id for key in marked})
    before = _select_holders().where(is_among(connection, delivery.c.event_id, event_ids), _IS_OPEN)
    # Rare: the id was taken over before, and that signed delivery is gone.
    used = {_key(row) for row in connection.execute(before)}
    for key, holder in marked.items():
        event_id = f"{key.event_id}\x1f{holder.id}" if key in used else key.event_id
        connection.execute(update(delivery).where(delivery.c.id == holder.id).values(event_id=event_id))


def reopen_waiting(connection: Connection, failed_ids: Sequence[int], now: float) -> int:
    """Make signed duplicates pending if the public copies that they waited for failed. Returns how many."""
    moved: list[tuple[int, str]] = []
    for some in chunks(failed_ids):
        public = _select_holders().where(is_among(connection, delivery.c.id, some))
        keys = {_key(row) for row in connection.execute(public.where(delivery.c.trust == Trust.PUBLIC.value))}
        for holder in _first_waiting(connection, keys).values():
            values = {
                "state": State.OPEN.value,
                "ended_at": None,
                "reason_class": None,
                "reason": None,
                "warning": FIRST_FAILED,
            }
            connection.execute(update(delivery).where(delivery.c.id == holder.id).values(values))
            moved.append((holder.integration_id, holder.key.event_name))
    tallies.append_tallies(connection, _count(connection, moved, tallies.LEFT + tallies.DUPLICATE), now)
    return len(moved)


def _first_waiting(connection: Connection, keys: set[DedupKey]) -> dict[DedupKey, _Holder]:
    """Return the first signed duplicate with a payload for each id."""
    if not keys:
        return {}
    is_kept = and_(
        delivery.c.state == State.DUPLICATE.value,
        delivery.c.trust == Trust.SIGNED.value,
        delivery.c.payload.is_not(None),
    )
    # An event whose integration is gone would wait for ever.
    has_owner = exists().where(
        integration.c.id == delivery.c.integration_id, integration.c.ad_account == delivery.c.ad_account
    )
    event_ids = sorted({key.event_id for key in keys})
    wanted = _select_holders().where(
        is_among(connection, delivery.c.event_id, event_ids), _IS_NOT_OPEN, is_kept, has_owner
    )
    found: dict[DedupKey, _Holder] = {}
    for row in connection.execute(wanted.order_by(delivery.c.id)):
        if _key(row) in keys:
            found.setdefault(_key(row), _holder(row))
    return found


def _count(connection: Connection, moved: Sequence[tuple[int, str]], outcome: str) -> Counter[Entry]:
    numbers = {number for number, _ in moved}
    if not numbers:
        return Counter()
    found = select(integration.c.id, integration.c.source_id).where(integration.c.id.in_(numbers))
    sources = {row.id: row.source_id for row in connection.execute(found)}
    return Counter(Entry(sources.get(number, ""), number, name, outcome) for number, name in moved)
