"""Start, settle, postpone, split and requeue batches."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Double, Update, and_, bindparam, exists, func, insert, or_, select, update

from worker.ledger.delivery import ownership, signed_precedence
from worker.ledger.delivery.new_batches import BatchGroup, insert_batch
from worker.ledger.reports import measures, sales_by_day, tallies
from worker.ledger.reports.sales_by_day import Sale
from worker.ledger.rows import LONGEST_WAIT_SECONDS, chunks, has_passed, is_among
from worker.ledger.schema import (
    IS_LIVE,
    IS_OPEN_UNINDEXED,
    IS_READY_UNINDEXED,
    IS_SENDING_UNINDEXED,
    Arrival,
    BatchStatus,
    State,
    attempt,
    batch,
    credential,
    delivery,
    integration,
)
from worker.ledger.setup import ad_accounts

# Clocks of two machines differ a little: a batch may start this early.
_CLOCK_TOLERANCE_SECONDS = 1.0
MAX_TOKEN_WAIT_SECONDS = 2.0
# Reason class of events that Pinterest may have received. An operator decides what happens to them.
UNKNOWN_OUTCOME = "unknown_outcome"
# How long the other batches of a credential wait while one batch probes.
_WAIT_FOR_PROBE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Member:
    """Hold one event of a batch. The payload is sealed."""

    id: int
    integration_id: int
    source_id: str
    event_name: str
    event_time: int
    payload: bytes
    accepted_at: float
    sale: Sale
    # Whether its integration is there, enabled, and delivers to the same ad account.
    can_send: bool = True
    # An `Arrival`.
    may_have_arrived: int = Arrival.NO


@dataclass(frozen=True, slots=True)
class StartedBatch:
    """Hold a batch that this worker is sending. Only the holder of the current ``attempt`` may change it."""

    id: int
    attempt: int
    attempts_spent: int
    unreadable_answers: int
    first_tried_at: float
    test: bool
    offline: bool
    ad_account: int
    ad_account_id: str
    credential_id: int
    wait_seconds: float
    breaker_failures: int = 0
    is_probe: bool = False


@dataclass(frozen=True, slots=True)
class Postponed:
    """Say when a batch may start that may not start yet."""

    not_before: float


@dataclass(frozen=True, slots=True)
class MemberResult:
    """Hold why one event failed, or its warning. Without a ``reason_class`` the event was delivered with a warning."""

    id: int
    reason_class: str | None
    reason: str | None
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """Hold the outcome of one attempt, for the history of a batch."""

    at: float
    seconds: float
    http_status: int | None
    reason_class: str
    reason: str


# Statements that run for every batch are built once: building one takes longer than running it.
_OF = batch.c.id == bindparam("of")
_CREDENTIAL_OF = select(batch.c.credential_id).where(_OF, IS_READY_UNINDEXED)


def credential_of(connection: Connection, batch_id: int) -> int | None:
    """Return the credential of a batch that is ready, else None."""
    return connection.scalar(_CREDENTIAL_OF, {"of": batch_id})


_LATEST = has_passed(batch.c.not_before, bindparam("latest", type_=Double))
_CREDENTIAL_OF_DUE = _CREDENTIAL_OF.where(_LATEST)
_START = (
    update(batch)
    .where(
        _OF,
        IS_READY_UNINDEXED,
        _LATEST,
        batch.c.credential_id == bindparam("with_credential"),
        exists().where(
            credential.c.id == batch.c.credential_id,
            credential.c.ad_account == batch.c.ad_account,
            credential.c.paused_at.is_(None),
        ),
    )
    .values(
        status=BatchStatus.SENDING.value,
        attempt=batch.c.attempt + 1,
        lease_until=bindparam("lease"),
        first_tried_at=func.coalesce(batch.c.first_tried_at, bindparam("at", type_=Double)),
    )
    .returning(batch)
)


def start_batch(
    connection: Connection,
    batch_id: int,
    lease_seconds: float,
    now: float,
    longest_wait_seconds: float = MAX_TOKEN_WAIT_SECONDS,
) -> StartedBatch | Postponed | None:
    """Start sending a batch: set the fence and the lease and take one token of the ad account's rate, or none of these.

    A token that is due within ``longest_wait_seconds`` is taken in advance; the caller waits ``wait_seconds``.

    Returns None if another worker has the batch, if it is done, or if its credential is paused or belongs to another
    ad account. Without a started batch the caller must roll back, and after `Postponed` call `postpone_batch`.
    """
    latest = now + _CLOCK_TOLERANCE_SECONDS
    credential_id = connection.scalar(_CREDENTIAL_OF_DUE, {"of": batch_id, "latest": latest})
    if credential_id is None:
        return None
    account = ad_accounts.find_credential(connection, credential_id)
    open_until = account.breaker_open_until
    if account.paused_at is not None:
        return None
    if open_until is not None and now < open_until <= now + LONGEST_WAIT_SECONDS:
        return Postponed(open_until)
    # Rows are locked in the order of a change to an integration: ad account, credential, batch. Any other order
    # deadlocks with it on PostgreSQL.
    wait = ad_accounts.take_token(connection, account.ad_account, now)
    if wait > longest_wait_seconds:
        return Postponed(now + wait)
    if open_until is not None and not ad_accounts.begin_probe(connection, credential_id, lease_seconds, now):
        return Postponed(now + _WAIT_FOR_PROBE_SECONDS)
    lease = now + MAX_TOKEN_WAIT_SECONDS + lease_seconds
    values = {"of": batch_id, "at": now, "latest": latest, "lease": lease}
    row = connection.execute(_START, values | {"with_credential": credential_id}).one_or_none()
    return _started(row, account, wait_seconds=wait, is_probe=open_until is not None) if row else None


def postpone_batch(connection: Connection, batch_id: int, not_before: float) -> None:
    """Postpone a ready batch, unless it already waits longer. No attempt is spent."""
    waits_longer = batch.c.not_before.between(not_before, not_before + LONGEST_WAIT_SECONDS)
    statement = update(batch).where(batch.c.id == batch_id, IS_READY_UNINDEXED, ~waits_longer)
    connection.execute(statement.values(not_before=not_before))


_MEMBERS = (
    select(
        delivery.c.id,
        delivery.c.integration_id,
        func.coalesce(integration.c.source_id, ""),
        delivery.c.event_name,
        delivery.c.event_time,
        delivery.c.payload,
        delivery.c.accepted_at,
        delivery.c.day,
        delivery.c.currency,
        delivery.c.value_thousandths,
        ownership.CAN_SEND,
        delivery.c.may_have_arrived,
    )
    .outerjoin(integration, integration.c.id == delivery.c.integration_id)
    .where(delivery.c.batch_id == bindparam("of"), IS_OPEN_UNINDEXED)
    .order_by(delivery.c.id)
)


def batch_members(connection: Connection, batch_id: int) -> list[Member]:
    """Return a batch's events in the order of the request body."""
    members = connection.execute(_MEMBERS, {"of": batch_id})
    return [Member(*row[:7], Sale(row[7], row[8], row[9]), bool(row[10]), row[11]) for row in members]


_leaving = (
    update(batch)
    .where(_OF, IS_SENDING_UNINDEXED, batch.c.attempt == bindparam("held"))
    .values(lease_until=None)
)
_SETTLE = _leaving.values(status=BatchStatus.SETTLED.value, settled_at=bindparam("at"))


def settle_batch(
    connection: Connection,
    started: StartedBatch,
    all_members: Sequence[Member],
    endings: Sequence[MemberResult],
    now: float,
) -> bool:
    """Record how a batch ended. Returns False and changes nothing if this worker no longer holds the batch."""
    if not _leave(connection, started, _SETTLE, at=now):
        return False
    _write_endings(connection, endings, now)
    failed = _failed_ids(endings)
    success = tallies.TESTED if started.test else tallies.DELIVERED
    outcomes = {member.id: tallies.FAILED if member.id in failed else success for member in all_members}
    arrived = [member for member in all_members if member.id not in failed]
    steps = Counter(
        (member.integration_id, tallies.latency_step(now - member.accepted_at)) for member in arrived
    )
    tallies.append_tallies(connection, _counts(all_members, outcomes), now, steps)
    if not started.test:
        sales_by_day.append_sales(
            connection, ((member.integration_id, member.event_name, member.sale) for member in arrived)
        )
    return True


_AGAIN = _leaving.values(
    status=BatchStatus.READY.value,
    not_before=bindparam("then"),
    attempts_spent=batch.c.attempts_spent + bindparam("spent"),
    unreadable_answers=batch.c.unreadable_answers + bindparam("unreadable"),
)


def requeue_batch(
    connection: Connection,
    started: StartedBatch,
    not_before: float,
    *,
    spent: bool,
    unreadable: bool = False,
    reason_class: str | None = None,
) -> bool:
    """Return a batch to the ready state. Returns False if this worker no longer holds it.

    Events whose integration was disabled or deleted meanwhile leave the batch. A ``reason_class`` is counted as a
    retry in the metrics; without one nothing was sent.
    """
    held = _leave(connection, started, _AGAIN, then=not_before, spent=int(spent), unreadable=int(unreadable))
    if held and reason_class is not None:
        measures.append_counts(connection, measures.RETRIED, {reason_class: 1})
    if held:
        ownership.release_orphans(connection, [started.id], time.time())
    return held


_SPLIT = _leaving.values(status=BatchStatus.SPLIT.value, settled_at=bindparam("at"))


def split_batch(
    connection: Connection,
    started: StartedBatch,
    all_members: Sequence[Member],
    parts: Sequence[Sequence[int]],
    endings: Sequence[MemberResult],
    now: float,
    not_before: float,
) -> list[int] | None:
    """Replace a batch by smaller ones, one per part. Events in no part need a failing result.

    Returns None and changes nothing if this worker no longer holds the batch.
    """
    if not _leave(connection, started, _SPLIT, at=now):
        return None
    _write_endings(connection, endings, now)
    tallies.append_tallies(
        connection, _counts(all_members, dict.fromkeys(_failed_ids(endings), tallies.FAILED)), now
    )
    # A new token may have taken over the batch while it was being sent.
    credential_id = connection.execute(
        select(batch.c.credential_id).where(batch.c.id == started.id)
    ).scalar_one()
    group = BatchGroup(credential_id, started.ad_account, started.test, started.offline)
    ids = []
    for part in parts:
        part_id = insert_batch(connection, group, len(part), now, parent=started, not_before=not_before)
        for chunk in chunks(part):
            connection.execute(update(delivery).where(delivery.c.id.in_(chunk)).values(batch_id=part_id))
        ids.append(part_id)
    ownership.release_orphans(connection, ids, now)
    return ids


def record_attempt(
    connection: Connection, started: StartedBatch, record: Attempt, may_have_arrived: Iterable[Member] = ()
) -> None:
    """Record an attempt, and which events Pinterest may have received by it, even if another worker has them now."""
    for chunk in chunks([member.id for member in may_have_arrived]):
        new = update(delivery).where(
            is_among(connection, delivery.c.id, chunk), delivery.c.may_have_arrived != Arrival.POSSIBLE.value
        )
        connection.execute(new.values(may_have_arrived=Arrival.POSSIBLE.value))
    values = {
        "batch_id": started.id,
        "number": started.attempt,
        "at": record.at,
        "seconds": record.seconds,
        "http_status": record.http_status,
        "reason_class": record.reason_class,
        "reason": record.reason,
    }
    connection.execute(insert(attempt).values(values))


def expired_batches(connection: Connection, now: float, limit: int = 500) -> list[int]:
    """Return sending batches whose lease has expired."""
    query = select(batch.c.id).where(*_is_expired(now)).order_by(batch.c.lease_until).limit(limit)
    return list(connection.scalars(query))


def lock_expired_batch(connection: Connection, batch_id: int, now: float) -> StartedBatch | None:
    """Lock and return a batch whose lease has expired, as its worker holds it. The caller may change it."""
    query = select(batch).where(batch.c.id == batch_id, *_is_expired(now)).with_for_update()
    row = connection.execute(query).one_or_none()
    return _started(row, ad_accounts.find_credential(connection, row.credential_id)) if row else None


def any_batch_due(connection: Connection, now: float, hinted_before: float) -> bool:
    """Return whether `take_due_batches` would return anything."""
    return connection.execute(_select_due(now, hinted_before).limit(1)).first() is not None


def take_due_batches(connection: Connection, now: float, hinted_before: float, limit: int = 500) -> list[int]:
    """Return batches that may start now and had no recent hint, and mark them as hinted."""
    ids = list(connection.scalars(_select_due(now, hinted_before).order_by(batch.c.not_before).limit(limit)))
    for chunk in chunks(ids):
        connection.execute(update(batch).where(batch.c.id.in_(chunk)).values(hinted_at=now))
    return ids


def _started(
    row: Any, account: ad_accounts.Credential, *, wait_seconds: float = 0.0, is_probe: bool = False
) -> StartedBatch:
    return StartedBatch(
        id=row.id,
        attempt=row.attempt,
        attempts_spent=row.attempts_spent,
        unreadable_answers=row.unreadable_answers,
        first_tried_at=row.first_tried_at,
        test=row.test,
        offline=row.offline,
        ad_account=row.ad_account,
        ad_account_id=account.ad_account_id,
        credential_id=row.credential_id,
        wait_seconds=wait_seconds,
        breaker_failures=account.breaker_failures,
        is_probe=is_probe,
    )


def _is_expired(now: float) -> tuple[Any, ...]:
    return (IS_LIVE, batch.c.status == BatchStatus.SENDING.value, has_passed(batch.c.lease_until, now))


def _select_due(now: float, hinted_before: float) -> Any:
    unpaused_ids = select(credential.c.id).where(credential.c.paused_at.is_(None))
    return select(batch.c.id).where(
        IS_LIVE,
        batch.c.status == BatchStatus.READY.value,
        has_passed(batch.c.not_before, now),
        # A postponed batch that came due after its last hint needs a new hint at once.
        or_(
            batch.c.hinted_at < hinted_before,
            and_(batch.c.hinted_at < batch.c.not_before, batch.c.not_before <= now),
            batch.c.hinted_at > now + LONGEST_WAIT_SECONDS,
        ),
        batch.c.credential_id.in_(unpaused_ids),
    )


def _leave(connection: Connection, started: StartedBatch, statement: Update, **values: Any) -> bool:
    """Take a batch out of the sending state if this worker still holds it."""
    key = {"of": started.id, "held": started.attempt}
    return connection.execute(statement, key | values).rowcount == 1


def _write_endings(connection: Connection, endings: Sequence[MemberResult], now: float) -> None:
    failed = Counter(ending.reason_class for ending in endings if ending.reason_class is not None)
    measures.append_counts(connection, measures.FAILED, failed)
    measures.append_counts(connection, measures.WARNED, {"": sum(bool(ending.warning) for ending in endings)})
    for ending in endings:
        values: dict[str, Any] = {}
        if ending.warning:
            # Keeps the warning from ingest, too.
            values["warning"] = func.coalesce(delivery.c.warning + " ", "") + ending.warning
        if ending.reason_class is not None:
            values |= {
                "state": State.FAILED.value,
                "reason_class": ending.reason_class,
                "reason": ending.reason,
                "ended_at": now,
            }
        if values:
            connection.execute(update(delivery).where(delivery.c.id == ending.id).values(values))
    # Events that Pinterest may have received are left alone: a second copy could count twice.
    surely_failed = [ending.id for ending in endings if ending.reason_class not in (None, UNKNOWN_OUTCOME)]
    if surely_failed:
        signed_precedence.reopen_waiting(connection, surely_failed, now)


def _failed_ids(endings: Iterable[MemberResult]) -> set[int]:
    return {ending.id for ending in endings if ending.reason_class is not None}


def _counts(all_members: Iterable[Member], outcomes: Mapping[int, str]) -> Counter[tallies.Entry]:
    return Counter(
        tallies.Entry(member.source_id, member.integration_id, member.event_name, outcomes[member.id])
        for member in all_members
        if member.id in outcomes
    )
