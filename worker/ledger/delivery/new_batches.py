"""Claim pending events into batches: the oldest first, and the newest as well if there is a backlog."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Double,
    Select,
    and_,
    bindparam,
    case,
    false,
    func,
    insert,
    or_,
    select,
    update,
)

from worker.ledger.delivery.pending import KINDS, Kind, first_pending, is_pending_of
from worker.ledger.intake import inbox
from worker.ledger.rows import chunks, has_passed, is_among
from worker.ledger.schema import (
    IS_LIVE,
    IS_PENDING_UNINDEXED,
    PENDING_ORDER,
    BatchStatus,
    batch,
    credential,
    delivery,
    integration,
)

_BATCH_MAX_EVENTS = 1_000
# Pinterest looks only at the first 20 events of a test request.
_TEST_BATCH_MAX_EVENTS = 20
_BATCH_MAX_BYTES = 2_000_000
# More than a batcher makes in one interval, even if each batch has few events.
_LATEST_BATCHES = 256
# Enough to tell thousands of groups apart that take turns.
_CLAIMS_LOOKED_AT = 20_000
# A batch whose next attempt is due within this time counts as in flight.
_SOON_SECONDS = 1.0
_MOST_WINDOWS = 10
# Events that have waited longer form a backlog: after an outage, a pause or a manual retry of many.
_BACKLOG_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class BatchGroup:
    """Name the events that may share a request: same credential, test flag and offline flag."""

    credential_id: int
    ad_account: int
    test: bool
    offline: bool

    @property
    def kind(self) -> Kind:
        return self.test, self.offline

    @property
    def max_events(self) -> int:
        return _TEST_BATCH_MAX_EVENTS if self.test else _BATCH_MAX_EVENTS


class _Parent(Protocol):
    """Describe the batch that a new one was split from."""

    @property
    def id(self) -> int: ...
    @property
    def attempts_spent(self) -> int: ...
    @property
    def unreadable_answers(self) -> int: ...
    @property
    def first_tried_at(self) -> float: ...


# Statements that run for every batch are built once: building one takes longer than running it.
_OF: BindParameter[Any] = bindparam("of")


def _oldest_pending(test: bool, offline: bool) -> Select[Any]:
    # While a breaker is open, events stay pending. After its pause one batch is needed as a probe.
    is_closed = or_(
        credential.c.breaker_open_until.is_(None),
        has_passed(credential.c.breaker_open_until, bindparam("at", type_=Double)),
    )
    return (
        select(
            integration.c.credential_id,
            integration.c.ad_account,
            first_pending(delivery.c.accepted_at, test, offline),
        )
        .join(
            credential,
            and_(
                credential.c.id == integration.c.credential_id,
                credential.c.ad_account == integration.c.ad_account,
            ),
        )
        .where(integration.c.enabled, credential.c.paused_at.is_(None), is_closed)
    )


# One statement per kind, here and below: a partial index is matched by literal text, not by parameters.
_OLDEST_PENDING = {kind: _oldest_pending(*kind) for kind in KINDS}


def pending_groups(connection: Connection, now: float) -> list[tuple[BatchGroup, float]]:
    """Return the groups that have pending events and may send, each with the time its oldest event was accepted."""
    oldest_times: dict[BatchGroup, float] = {}
    for kind in KINDS:
        for credential_id, account, accepted_at in connection.execute(_OLDEST_PENDING[kind], {"at": now}):
            if accepted_at is not None:
                group = BatchGroup(credential_id, account, *kind)
                oldest_times[group] = min(accepted_at, oldest_times.get(group, accepted_at))
    return list(oldest_times.items())


def is_batch_due(
    connection: Connection, group: BatchGroup, oldest: float, interval_seconds: float, now: float
) -> bool:
    """Return whether a group has a full batch, or its oldest event, accepted at ``oldest``, has waited long enough."""
    return _has_waited(connection, group, oldest, interval_seconds, now) or _has_full_batch(connection, group)


def _pending(columns: Sequence[ColumnElement[Any]], order: ColumnElement[int], kind: Kind) -> Select[Any]:
    return select(*columns).where(is_pending_of(_OF, *kind)).order_by(order).limit(bindparam("most"))


_COUNT = {
    kind: select(func.count()).select_from(_pending((delivery.c.id,), PENDING_ORDER, kind).subquery())
    for kind in KINDS
}


def _has_full_batch(connection: Connection, group: BatchGroup) -> bool:
    """Return whether a group has enough pending events for a full batch."""
    missing = group.max_events
    for number in _integrations_of(connection, group):
        missing -= connection.scalar(_COUNT[group.kind], {"of": number, "most": missing}) or 0
        if missing <= 0:
            return True
    return False


def _claimed_between(test: bool, offline: bool) -> Select[Any]:
    newest = select(func.max(batch.c.id)).scalar_subquery()
    return (
        select(batch.c.id)
        .where(
            batch.c.id > newest - _LATEST_BATCHES,
            batch.c.credential_id == _OF,
            batch.c.test == test,
            batch.c.offline == offline,
            batch.c.created_at > bindparam("after"),
            batch.c.created_at <= bindparam("until"),
            # Parts of a split batch are not claims.
            batch.c.parent_id.is_(None),
        )
        .limit(1)
    )


_CLAIMED_BETWEEN = {kind: _claimed_between(*kind) for kind in KINDS}


def _was_claimed_between(connection: Connection, group: BatchGroup, after: float, until: float) -> bool:
    """Return whether a group's last batch was created between two times. Only the latest batches are searched."""
    values = {"of": group.credential_id, "after": after, "until": until}
    return connection.execute(_CLAIMED_BETWEEN[group.kind], values).first() is not None


def latest_claims(connection: Connection) -> dict[BatchGroup, int]:
    """Return the latest batch of each group that has one among the latest thousands."""
    newest = select(func.max(batch.c.id)).scalar_subquery()
    keys = (batch.c.credential_id, batch.c.ad_account, batch.c.test, batch.c.offline)
    latest = select(*keys, func.max(batch.c.id)).where(
        batch.c.id > newest - _CLAIMS_LOOKED_AT, batch.c.parent_id.is_(None)
    )
    return {BatchGroup(*row[:4]): row[4] for row in connection.execute(latest.group_by(*keys))}


def claim_batch(
    connection: Connection, group: BatchGroup, window: int, now: float, interval_seconds: float | None = None
) -> int | None:
    """Create one batch of a group's oldest pending events and return its id.

    With an interval, the events must fill a batch or have waited that long.

    If there is a backlog, every second batch takes the newest events. Otherwise an hour of backlog would delay all
    later events by an hour, and events older than an hour lose their deduplication.

    Returns None if nothing is due, if ``window`` batches of the credential are in flight, or if another batcher
    works on this credential.
    """
    if not _lock(connection, group) or not _has_free_slot(connection, group.credential_id, window, now):
        return None
    ids = _next_ids(connection, group, interval_seconds, now)
    if not ids:
        return None
    batch_id = insert_batch(connection, group, len(ids), now)
    count = 0
    for chunk in chunks(ids):
        # An operator may have discarded some of them since they were read.
        pending = update(delivery).where(is_among(connection, delivery.c.id, chunk), IS_PENDING_UNINDEXED)
        count += connection.execute(pending.values(batch_id=batch_id)).rowcount
    if count != len(ids):
        connection.execute(update(batch).where(batch.c.id == batch_id).values(events=count))
    return batch_id


_INSERT_BATCH = insert(batch).returning(batch.c.id)


def insert_batch(
    connection: Connection,
    group: BatchGroup,
    events: int,
    now: float,
    *,
    parent: _Parent | None = None,
    not_before: float | None = None,
) -> int:
    """Insert a ready batch. A part of a split batch continues its parent's history."""
    values = {
        "ad_account": group.ad_account,
        "credential_id": group.credential_id,
        "test": group.test,
        "offline": group.offline,
        "events": events,
        "status": BatchStatus.READY.value,
        "attempt": 0,
        "attempts_spent": parent.attempts_spent if parent else 0,
        "unreadable_answers": parent.unreadable_answers if parent else 0,
        "not_before": now if not_before is None else not_before,
        "hinted_at": now,
        "created_at": now,
        "first_tried_at": parent.first_tried_at if parent else None,
        "parent_id": parent.id if parent else None,
    }
    return int(connection.execute(_INSERT_BATCH, values).scalar_one())


_INTEGRATIONS = select(integration.c.id).where(
    integration.c.credential_id == _OF,
    integration.c.ad_account == bindparam("account"),
    integration.c.enabled,
)


def _integrations_of(connection: Connection, group: BatchGroup) -> list[int]:
    values = {"of": group.credential_id, "account": group.ad_account}
    return list(connection.scalars(_INTEGRATIONS, values))


_LOCK = (
    select(credential.c.id)
    .where(credential.c.id == _OF, credential.c.paused_at.is_(None))
    # SQLite ignores this: its immediate transaction has locked everything already.
    .with_for_update(skip_locked=True)
)


def _lock(connection: Connection, group: BatchGroup) -> bool:
    return connection.execute(_LOCK, {"of": group.credential_id}).first() is not None


_is_put_aside = and_(
    batch.c.status == BatchStatus.READY.value,
    batch.c.first_tried_at.is_not(None),
    batch.c.not_before > bindparam("soon"),
)
_PLACES = select(func.count(), func.count(case((~_is_put_aside, 1)))).where(
    batch.c.credential_id == _OF, IS_LIVE
)


def _has_free_slot(connection: Connection, credential_id: int, window: int, now: float) -> bool:
    """Return whether fewer than ``window`` batches are in flight, or ten times as many with the postponed ones.

    A batch that waits for its next attempt takes no slot. Otherwise two dozen batches that wait for a quarter of an
    hour would hold up all new events.
    """
    values = {"of": credential_id, "soon": now + _SOON_SECONDS}
    live, under_way = connection.execute(_PLACES, values).one()
    return bool(under_way < window and live < _MOST_WINDOWS * window)


def _has_waited(
    connection: Connection, group: BatchGroup, oldest: float, interval_seconds: float, now: float
) -> bool:
    """Return whether a group's oldest event waited an interval and no batch of the group was made in that time.

    During a backlog every event is old. Without the second condition each check would make a batch of the few
    events since the last check. An event waits two intervals at most.
    """
    earliest, latest = now - interval_seconds, now + inbox.CLOCK_STEP_SECONDS
    # An event accepted in the future was accepted before the clock stepped back.
    is_old = not earliest < oldest <= latest
    return is_old and not _was_claimed_between(connection, group, earliest, latest)


def _next_ids(
    connection: Connection, group: BatchGroup, interval_seconds: float | None, now: float
) -> list[int]:
    """Return the ids for the next batch, or none if it would not be full and may wait for more."""
    numbers = _integrations_of(connection, group)
    oldest = _rows(connection, group, numbers, newest_first=False)
    if not oldest:
        return []
    ids, first = _fitting_ids(oldest), oldest[0].accepted_at
    # Fewer than a full batch means that these are all.
    if len(oldest) < group.max_events:
        may_go = (
            interval_seconds is None
            or len(ids) < len(oldest)
            or _has_waited(connection, group, first, interval_seconds, now)
        )
        return ids if may_go else []
    if first > now - _BACKLOG_SECONDS:
        return ids
    newest = _rows(connection, group, numbers, newest_first=True)
    # PostgreSQL lets others write between the two queries, so that their lengths may differ.
    merged_rows = chain.from_iterable(zip(oldest, newest, strict=False))
    return _fitting_ids(list({row.id: row for row in merged_rows}.values())[: group.max_events])


_ROW = (delivery.c.id, delivery.c.size_bytes, delivery.c.accepted_at)
# An event never goes to another ad account than the one that it was mapped for. In this form PostgreSQL expects that
# most rows meet the condition, as they do. If it expected few, it would scan the whole history for them.
_IS_OF_ACCOUNT = func.coalesce(delivery.c.ad_account == bindparam("account"), false())
_OLDEST = {kind: _pending(_ROW, PENDING_ORDER, kind).where(_IS_OF_ACCOUNT) for kind in KINDS}
_NEWEST = {kind: _pending(_ROW, PENDING_ORDER.desc(), kind).where(_IS_OF_ACCOUNT) for kind in KINDS}


def _rows(
    connection: Connection, group: BatchGroup, numbers: Iterable[int], *, newest_first: bool
) -> list[Any]:
    """Return up to one batch of pending events, from the oldest or the newest end."""
    query = (_NEWEST if newest_first else _OLDEST)[group.kind]
    rows: list[Any] = []
    for number in numbers:
        values = {"of": number, "most": group.max_events, "account": group.ad_account}
        rows += connection.execute(query, values).all()
    return sorted(rows, key=lambda row: row.id, reverse=newest_first)[: group.max_events]


def _fitting_ids(rows: Sequence[Any]) -> list[int]:
    """Return the leading ids whose texts fit into one request, at least one."""
    ids: list[int] = []
    total = 0
    for row in rows:
        total += row.size_bytes + 1
        if ids and total > _BATCH_MAX_BYTES:
            break
        ids.append(row.id)
    return ids
