"""Let a signed event replace a public one with the same id, or of the same order."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
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
# mark. Ids from outside contain no control characters, so a sender cannot send a marked one.
REPLACED_MARK = "\x1fpublic"
_PUBLIC_REPLACED = "A signed event with this id and name took its place."
MAY_BE_COUNTED_ONCE = (
    "A public event with this event id or order id, and with another order id, value or currency, was sent before. "
    "Pinterest keeps one event of each event id and may have kept that one."
)
_FIRST_FAILED = "The public event with this id, which was sent first, failed."
# A batcher may claim a delivery between two statements.
_MOST_ROUNDS = 10
# As literal text: SQLite matches a partial index by the text of its condition.
_IS_OPEN = text(f"delivery.state = {State.OPEN.value}")
_IS_NOT_OPEN = text(f"delivery.state != {State.OPEN.value}")
_IS_OPEN_BUSINESS = text(f"delivery.state = {State.OPEN.value} AND delivery.business_key IS NOT NULL")
_IS_OTHER_BUSINESS = text(f"delivery.state != {State.OPEN.value} AND delivery.business_key IS NOT NULL")


def shown_time(at: float) -> str:
    """Write Unix seconds for people."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


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

    def is_same(self, other: "Content", *, same_order: bool = False) -> bool:
        """Return whether two copies have the same order, value and currency.

        If they are known to be of the ``same_order``, it does not matter how each states its id.
        """
        if same_order and self[2:] == other[2:]:
            return True
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
    business_key: bytes | None


@dataclass(frozen=True, slots=True)
class Claim:
    """Name what a signed event must hold alone: its id, and with a ``business_key`` also the order or the like."""

    key: DedupKey
    content: Content
    business_key: bytes | None = None

    def is_held_by(self, holder: _Holder) -> bool:
        """Return whether a delivery holds the id or the business key."""
        return self.key == holder.key or self.has_business_key_of(holder)

    def has_business_key_of(self, holder: _Holder) -> bool:
        """Return whether a delivery holds the business key."""
        return self.business_key is not None and (self.business_key, self.key[:2]) == (
            holder.business_key,
            holder.key[:2],
        )


def displace_public(
    connection: Connection, claims: Sequence[Claim], now: float
) -> dict[DedupKey, Precedence]:
    """Free the ids of signed events from public ones, and return the result for each signed event.

    A waiting public event becomes a duplicate, even in a batch that has not started. One that is being sent or was
    delivered stays; if its content differs, it loses the id. No two claims may have the same id or business key.

    Raises:
        VersionConflictError: other processes keep moving these deliveries; roll the transaction back.
    """
    ways: dict[DedupKey, Precedence] = {}
    for _ in range(_MOST_ROUNDS):
        open_claims = [claim for claim in claims if claim.key not in ways]
        if not open_claims:
            return ways
        holders, moving = _lock_holders(connection, open_claims)
        ready = [claim for claim in open_claims if not any(claim.is_held_by(holder) for holder in moving)]
        ways |= _take_over(connection, ready, holders, now)
    raise VersionConflictError


def displace_public_for_failed(connection: Connection, ids: Sequence[int], now: float) -> None:
    """Free the ids of failed signed deliveries from public ones before the failed ones are sent again."""
    claims: list[Claim] = []
    taken_keys: set[Any] = set()
    for chunk in chunks(ids):
        query = _select_holders().where(
            is_among(connection, delivery.c.id, chunk),
            delivery.c.state == State.FAILED.value,
            delivery.c.trust == Trust.SIGNED.value,
        )
        for holder in map(_holder, connection.execute(query.order_by(delivery.c.id))):
            # Of two failed copies only the first is sent again.
            keys = {holder.key, (holder.business_key or holder.key, *holder.key[:2])}
            if taken_keys.isdisjoint(keys):
                claims.append(Claim(holder.key, holder.content, holder.business_key))
                taken_keys |= keys
    displace_public(connection, claims, now)


def _lock_holders(connection: Connection, claims: Sequence[Claim]) -> tuple[list[_Holder], list[_Holder]]:
    """Lock and return the deliveries that hold the ids. Locks batches first, as settling does.

    The last value has the deliveries that were claimed meanwhile: their batches are not locked.
    """
    ids: list[int] = []
    batch_ids: set[int] = set()
    for row in open_holders(connection, [claim.key.event_id for claim in claims],
                              [claim.business_key for claim in claims]):  # fmt: skip
        holder = _holder(row)
        if any(claim.is_held_by(holder) for claim in claims):
            ids.append(holder.id)
            batch_ids |= {holder.batch_id} - {None}  # type: ignore[arg-type]
    for some_batches in chunks(sorted(batch_ids)):
        lock = select(batch.c.id).where(is_among(connection, batch.c.id, some_batches)).order_by(batch.c.id)
        connection.execute(lock.with_for_update()).all()
    holders: list[_Holder] = []
    for some_ids in chunks(sorted(set(ids))):
        query = _select_holders().where(is_among(connection, delivery.c.id, some_ids), IS_OPEN_UNINDEXED)
        rows = connection.execute(query.order_by(delivery.c.id).with_for_update())
        holders += map(_holder, rows)
    moving = [holder for holder in holders if holder.batch_id not in batch_ids | {None}]
    return [holder for holder in holders if holder not in moving], moving


def open_holders(
    connection: Connection, event_ids: Iterable[str], business_keys: Iterable[bytes | None]
) -> list[Any]:
    """Return the deliveries that are pending or sent and have one of the ids or business keys. Some twice."""
    rows: list[Any] = []
    # Each has its own index.
    for column, values, condition in (
        (delivery.c.event_id, set(event_ids), _IS_OPEN),
        (delivery.c.business_key, set(business_keys) - {None}, _IS_OPEN_BUSINESS),
    ):
        for chunk in chunks(sorted(values)):  # type: ignore[type-var]
            query = _select_holders().where(is_among(connection, column, chunk), condition)
            rows += connection.execute(query)
    return rows


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
        delivery.c.business_key,
        delivery.c.accepted_at,
    )


def dedup_key(row: Any) -> DedupKey:
    """Return the key of a delivery's row."""
    return DedupKey(row.ad_account, bool(row.test), row.event_id, row.event_name)


def _holder(row: Any) -> _Holder:
    content = Content(row.content_key, row.order_key, row.currency, row.value_thousandths)
    return _Holder(
        row.id, dedup_key(row), row.trust, content, row.batch_id, row.integration_id, row.business_key
    )


# The strongest reason decides if an event's id and its business key are held by two deliveries.
_STRONGEST_FIRST = (Precedence.TAKEN, Precedence.BEING_SENT, Precedence.CONTRADICTED)


def _take_over(
    connection: Connection, claims: Sequence[Claim], holders: Sequence[_Holder], now: float
) -> dict[DedupKey, Precedence]:
    ways: dict[DedupKey, Precedence] = {}
    waiting_holders: dict[int, _Holder] = {}
    batches = _batches(connection, holders)
    for claim in claims:
        own = [holder for holder in holders if claim.is_held_by(holder)]
        verdicts = {
            holder.id: _verdict(claim, holder, *batches.get(holder.batch_id, _NO_BATCH)) for holder in own
        }
        way = next((verdict for verdict in _STRONGEST_FIRST if verdict in verdicts.values()), Precedence.FREE)
        ways[claim.key] = way
        if way in (Precedence.TAKEN, Precedence.BEING_SENT):
            continue
        for holder in own:
            if _is_waiting(batches.get(holder.batch_id, _NO_BATCH)[0]):
                waiting_holders[holder.id] = holder
            else:
                _give_up(connection, claim, holder)
    _end_as_duplicates(connection, list(waiting_holders.values()), now)
    return ways


_NO_BATCH: tuple[int | None, bool] = (None, False)


def _is_waiting(status: int | None) -> bool:
    return status in (None, BatchStatus.READY)


def _verdict(claim: Claim, holder: _Holder, status: int | None, was_tried: bool) -> Precedence:
    is_same = claim.content.is_same(holder.content, same_order=claim.has_business_key_of(holder))
    if holder.trust == Trust.SIGNED:
        return Precedence.TAKEN
    if _is_waiting(status):
        return Precedence.CONTRADICTED if was_tried and not is_same else Precedence.FREE
    if is_same:
        return Precedence.TAKEN if status == BatchStatus.SETTLED else Precedence.BEING_SENT
    return Precedence.CONTRADICTED


def _batches(connection: Connection, holders: Iterable[_Holder]) -> dict[int | None, tuple[int, bool]]:
    """Return each batch's status, and whether an attempt may have reached Pinterest."""
    by_id: dict[int | None, tuple[int, bool]] = {}
    for chunk in chunks(sorted({holder.batch_id for holder in holders if holder.batch_id is not None})):
        query = select(batch.c.id, batch.c.status, batch.c.first_tried_at).where(
            is_among(connection, batch.c.id, chunk)
        )
        by_id |= {row.id: (row.status, row.first_tried_at is not None) for row in connection.execute(query)}
    return by_id


def _end_as_duplicates(connection: Connection, holders: Sequence[_Holder], now: float) -> None:
    values = {
        "state": State.DUPLICATE.value,
        "batch_id": None,
        "payload": None,
        "ended_at": now,
        "reason_class": "duplicate",
        "reason": _PUBLIC_REPLACED,
    }
    for chunk in chunks([holder.id for holder in holders]):
        connection.execute(update(delivery).where(is_among(connection, delivery.c.id, chunk)).values(values))
    counts = Counter(holder.batch_id for holder in holders if holder.batch_id is not None)
    for batch_id, n in sorted(counts.items()):
        connection.execute(update(batch).where(batch.c.id == batch_id).values(events=batch.c.events - n))
    names = [(holder.integration_id, holder.key.event_name) for holder in holders]
    tallies.append_tallies(connection, _count(connection, names, tallies.DUPLICATE), now)


def _give_up(connection: Connection, claim: Claim, holder: _Holder) -> None:
    """Take the id and the business key from a delivery that can no longer be changed."""
    values: dict[str, Any] = {"business_key": None} if claim.has_business_key_of(holder) else {}
    if claim.key == holder.key:
        marked = holder.key._replace(event_id=holder.key.event_id + REPLACED_MARK)
        before = open_holders(connection, [marked.event_id], [])
        # Rare: the id was taken over before, and that signed delivery is gone.
        is_used = marked in map(dedup_key, before)
        values["event_id"] = f"{marked.event_id}\x1f{holder.id}" if is_used else marked.event_id
    connection.execute(update(delivery).where(delivery.c.id == holder.id).values(values))


def reopen_waiting(connection: Connection, failed_ids: Sequence[int], now: float) -> int:
    """Make signed duplicates pending if the public copies that they waited for failed. Returns how many."""
    names: list[tuple[int, str]] = []
    for chunk in chunks(failed_ids):
        public = _select_holders().where(
            is_among(connection, delivery.c.id, chunk), delivery.c.trust == Trust.PUBLIC.value
        )
        failed = [_holder(row) for row in connection.execute(public)]
        for holder in _first_waiting(connection, failed):
            values = {
                "state": State.OPEN.value,
                "ended_at": None,
                "reason_class": None,
                "reason": None,
                "warning": _FIRST_FAILED,
            }
            connection.execute(update(delivery).where(delivery.c.id == holder.id).values(values))
            names.append((holder.integration_id, holder.key.event_name))
    tallies.append_tallies(connection, _count(connection, names, tallies.LEFT + tallies.DUPLICATE), now)
    return len(names)


def _first_waiting(connection: Connection, failed: Sequence[_Holder]) -> list[_Holder]:
    """Return the first signed duplicate with a payload for each id and business key of the failed deliveries."""
    is_kept = and_(
        delivery.c.state == State.DUPLICATE.value,
        delivery.c.trust == Trust.SIGNED.value,
        delivery.c.payload.is_not(None),
    )
    # An event whose integration is gone would wait for ever.
    has_owner = exists().where(
        integration.c.id == delivery.c.integration_id, integration.c.ad_account == delivery.c.ad_account
    )
    waiting_holders: dict[int, _Holder] = {}
    for column, values, condition in (
        (delivery.c.event_id, {holder.key.event_id for holder in failed}, _IS_NOT_OPEN),
        (delivery.c.business_key, {holder.business_key for holder in failed} - {None}, _IS_OTHER_BUSINESS),
    ):
        if values:
            query = _select_holders().where(
                is_among(connection, column, sorted(values)),
                condition,
                is_kept,
                has_owner,
            )
            waiting_holders |= {row.id: _holder(row) for row in connection.execute(query)}
    claims = [Claim(holder.key, holder.content, holder.business_key) for holder in failed]
    firsts: list[_Holder] = []
    for _, holder in sorted(waiting_holders.items()):
        own_claim = Claim(holder.key, holder.content, holder.business_key)
        waits = any(claim.is_held_by(holder) for claim in claims)
        if waits and not any(own_claim.is_held_by(other) for other in firsts):
            firsts.append(holder)
    # Another copy may have got one of their keys meanwhile.
    used = [
        _holder(row)
        for row in open_holders(
            connection, [claim.key.event_id for claim in firsts], [claim.business_key for claim in firsts]
        )
    ]
    return [
        claim
        for claim in firsts
        if not any(Claim(claim.key, claim.content, claim.business_key).is_held_by(holder) for holder in used)
    ]


def _count(connection: Connection, names: Sequence[tuple[int, str]], outcome: str) -> Counter[Entry]:
    numbers = {number for number, _ in names}
    if not numbers:
        return Counter()
    query = select(integration.c.id, integration.c.source_id).where(integration.c.id.in_(numbers))
    sources = {row.id: row.source_id for row in connection.execute(query)}
    return Counter(Entry(sources.get(number, ""), number, name, outcome) for number, name in names)
