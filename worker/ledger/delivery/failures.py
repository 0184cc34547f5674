"""Query failed deliveries; retry or discard them."""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, exists, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from worker.event.received import Trust
from worker.formats import count_text
from worker.ledger.delivery import signed_precedence
from worker.ledger.delivery.signed_precedence import REPLACED_MARK, shown_event_id
from worker.ledger.intake.visitors import VersionConflictError
from worker.ledger.reports import tallies
from worker.ledger.schema import (
    IS_PENDING,
    IS_PENDING_UNINDEXED,
    PENDING_ORDER,
    Arrival,
    BatchStatus,
    State,
    ad_account,
    attempt,
    batch,
    credential,
    delivery,
    integration,
)
from worker.ledger.setup import audit_log

# Pinterest refuses older events; see "Dedup" in the contract.
STALE_AFTER_SECONDS = 7 * 86_400
_LATE_AFTER_SECONDS = 3_600
_LEFT_FAILED = tallies.LEFT + tallies.FAILED
_SENT_AGAIN = case(
    (delivery.c.may_have_arrived == Arrival.NO.value, Arrival.NO.value), else_=Arrival.SENT_AGAIN.value
)
_SENT_MEANWHILE = "not failed any more, or the same event was sent in the meantime"
_MANUALLY = "manually"
INTEGRATION_GONE = "Its integration was deleted, or delivers to another ad account now."
# Reason classes that judge the payload itself; a retry does not change it.
_ABOUT_CONTENT = ("refused", "malformed", "contract")
# Each lost race reveals one more copy to the next round.
_MAX_RACES = 20


@dataclass(frozen=True, slots=True)
class FailureFilter:
    """Select failed deliveries. Empty fields and None select all."""

    ad_account_id: str | None = None
    integration_number: int | None = None
    reason_class: str | None = None
    event_name: str | None = None
    event_id: str | None = None
    since: float | None = None
    until: float | None = None
    # Only those that cannot count twice if they are sent again at that time.
    safe_at: float | None = None
    ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """Hold one failed delivery without its payload.

    ``integration_id`` is absent if the integration was deleted or delivers to another ad account.
    """

    id: int
    integration_id: str | None
    ad_account_id: str
    event_name: str
    source_name: str
    event_id: str
    event_time: int
    failed_at: float
    reason_class: str
    reason: str
    warning: str | None
    test: bool
    offline: bool
    batch_id: int | None
    has_payload: bool
    # An `Arrival`.
    may_have_arrived: int = Arrival.NO
    integration_number: int = 0
    ad_account: int = 0

    def expected_trouble(self, now: float, wait_reason: str | None) -> str | None:
        """Return why a retry alone will not deliver it, if known; ``wait_reason`` is why its credential waits."""
        if self.is_stale(now):
            return "older than 7 days: Pinterest will refuse it"
        if self.reason_class in _ABOUT_CONTENT:
            return "the same content was refused before, and it is sent unchanged"
        return wait_reason and f"will wait: {wait_reason}"

    def is_late(self, now: float) -> bool:
        """Return whether the event is over an hour old, so that Pinterest may count a second copy."""
        return self.event_time < now - _LATE_AFTER_SECONDS

    def is_stale(self, now: float) -> bool:
        """Return whether the event is too old for Pinterest."""
        return self.event_time < now - STALE_AFTER_SECONDS


@dataclass(frozen=True, slots=True)
class RetryResult:
    """Count what a retry did: deliveries returned to pending, and refused ones by reason.

    Of those returned, ``late`` are over an hour old, and ``offline`` cannot be deduplicated at all. ``in_vain`` are
    not delivered by a retry alone, by reason.
    """

    retried: int
    late: int
    offline: int
    refused: Counter[str]
    in_vain: Counter[str] = field(default_factory=Counter)


def count_failures(connection: Connection, criteria: FailureFilter, after_id: int = 0) -> int:
    """Count the failed deliveries that a filter selects."""
    rows = _select_failures(criteria).where(delivery.c.id > after_id).subquery()
    return connection.scalar(select(func.count()).select_from(rows)) or 0


def failed_after(
    connection: Connection, criteria: FailureFilter, limit: int, after_id: int = 0
) -> list[Failure]:
    """Return failed deliveries in the order of their ids."""
    query = _select_failures(criteria).where(delivery.c.id > after_id).order_by(delivery.c.id).limit(limit)
    rows = connection.execute(query).mappings()
    return [Failure(**{**row, "event_id": shown_event_id(row["event_id"])}) for row in rows]


def attempts_of_batch(connection: Connection, batch_id: int | None) -> list[dict[str, Any]]:
    """Return a batch's attempts, the oldest first."""
    query = select(attempt).where(attempt.c.batch_id == batch_id).order_by(attempt.c.id)
    return [dict(row) for row in connection.execute(query).mappings()]


def failed_payload(connection: Connection, failure_id: int) -> bytes | None:
    """Return the sealed payload of a failed delivery."""
    return connection.scalar(select(delivery.c.payload).where(delivery.c.id == failure_id))


def _owners(connection: Connection, failures: Sequence[Failure], *, locked: bool) -> dict[int, Any]:
    """Return the integrations of failures by number. ``locked`` keeps them as they are until the commit."""
    columns = integration.c.id, integration.c.ad_account, integration.c.enabled, integration.c.config
    query = select(*columns, credential.c.paused_at, credential.c.breaker_open_until)
    query = query.join(credential, credential.c.id == integration.c.credential_id)
    query = query.where(integration.c.id.in_({failure.integration_number for failure in failures}))
    query = query.order_by(integration.c.id)
    rows = connection.execute(query.with_for_update(read=True, of=integration) if locked else query)
    return {row.id: row for row in rows}


def _select_retryable(
    failures: Sequence[Failure], owners: Mapping[int, Any], now: float, *, force: bool
) -> tuple[list[Failure], Counter[str]]:
    """Return the failures that may be retried, and count the others by reason."""
    retryable: list[Failure] = []
    refusals: Counter[str] = Counter()
    for failure in failures:
        if not failure.has_payload:
            refusals["nothing to send: it failed before it was mapped"] += 1
        elif (owner := owners.get(failure.integration_number)) is None or (
            owner.ad_account != failure.ad_account
        ):
            refusals["its integration is gone, or delivers to another ad account now"] += 1
        elif not owner.enabled:
            refusals["its integration is disabled"] += 1
        elif bool(owner.config.get("test_mode")) != failure.test:
            refusals["its integration has changed its test mode since"] += 1
        elif failure.is_stale(now) and not force:
            refusals["older than 7 days: Pinterest refuses it, unless forced"] += 1
        else:
            retryable.append(failure)
    return retryable, refusals


def preview_retry(
    connection: Connection, failures: Sequence[Failure], now: float, *, force: bool = False
) -> RetryResult:
    """Return what `retry_deliveries` would do now."""
    owners = _owners(connection, failures, locked=False)
    retryable, refusals = _select_retryable(failures, owners, now, force=force)
    query = select(delivery.c.id).where(*_may_reopen([failure.id for failure in retryable]))
    return _retry_result(retryable, set(connection.scalars(query)), refusals, now, owners)


def retry_deliveries(
    connection: Connection,
    failures: Sequence[Failure],
    now: float,
    actor: str,
    *,
    force: bool = False,
    how: str = _MANUALLY,
) -> RetryResult:
    """Return failed deliveries to pending. Safe to repeat: nothing is sent twice.

    A delivery stays failed if another copy of its event is pending or was delivered meanwhile.
    """
    owners = _owners(connection, failures, locked=True)
    retryable, refusals = _select_retryable(failures, owners, now, force=force)
    entries = _reopen_in_races(connection, [failure.id for failure in retryable], how, now)
    _count(connection, entries, (tallies.RETRIED, _LEFT_FAILED), now)
    if entries:
        audit_log.append_audit_entry(
            connection,
            now,
            actor,
            "failed.retry",
            count_text(len(entries), "delivery", "deliveries"),
            {"ids": sorted(entries)},
        )
    return _retry_result(retryable, entries.keys(), refusals, now, owners)


def discard_deliveries(
    connection: Connection, ids: Sequence[int], reason: str, now: float, actor: str
) -> int:
    """Discard failed deliveries and delete their payloads. Returns how many."""
    failed = update(delivery).where(delivery.c.id.in_(ids), delivery.c.state == State.FAILED)
    entries = end_discarded(connection, failed, reason, now, (tallies.DISCARDED, _LEFT_FAILED))
    if entries:
        changes = {"ids": sorted(entries), "reason": reason}
        audit_log.append_audit_entry(
            connection,
            now,
            actor,
            "failed.discard",
            count_text(len(entries), "delivery", "deliveries"),
            changes,
        )
    return len(entries)


def discard_pending_deliveries(
    connection: Connection, integration_number: int, actor: str, now: float, limit: int
) -> int:
    """Discard up to ``limit`` pending deliveries of an integration. Returns how many."""
    query = select(delivery.c.id).where(delivery.c.integration_id == integration_number, IS_PENDING)
    # In the order of their index, so that only these rows are read.
    first_ids = query.order_by(delivery.c.test, delivery.c.offline, PENDING_ORDER).limit(limit)
    pending = update(delivery).where(delivery.c.id.in_(first_ids), IS_PENDING_UNINDEXED)
    entries = end_discarded(connection, pending, INTEGRATION_GONE, now)
    if entries:
        audit_log.append_audit_entry(
            connection, now, actor, "pending.discard", count_text(len(entries), "delivery", "deliveries"), {}
        )
    return len(entries)


def _select_failures(criteria: FailureFilter) -> Any:
    query = (
        select(
            delivery.c.id,
            integration.c.public_id.label("integration_id"),
            ad_account.c.ad_account_id,
            delivery.c.event_name,
            delivery.c.source_name,
            delivery.c.event_id,
            delivery.c.event_time,
            delivery.c.ended_at.label("failed_at"),
            delivery.c.reason_class,
            delivery.c.reason,
            delivery.c.warning,
            delivery.c.test,
            delivery.c.offline,
            delivery.c.batch_id,
            delivery.c.payload.is_not(None).label("has_payload"),
            delivery.c.may_have_arrived,
            delivery.c.integration_id.label("integration_number"),
            delivery.c.ad_account,
        )
        .join(ad_account, ad_account.c.id == delivery.c.ad_account)
        .outerjoin(
            integration,
            and_(
                integration.c.id == delivery.c.integration_id,
                integration.c.ad_account == delivery.c.ad_account,
            ),
        )
    )
    return query.where(*failure_conditions(criteria))


def failure_conditions(criteria: FailureFilter) -> list[ColumnElement[bool]]:
    """Return the conditions of deliveries that select the same failures as a filter, without a join."""
    equal = {
        delivery.c.integration_id: criteria.integration_number,
        delivery.c.reason_class: criteria.reason_class,
        delivery.c.event_name: criteria.event_name,
        delivery.c.event_id: criteria.event_id,
    }
    conditions = [delivery.c.state == State.FAILED.value]
    conditions += [column == value for column, value in equal.items() if value is not None]
    if criteria.ad_account_id is not None:
        account_ids = select(ad_account.c.id).where(ad_account.c.ad_account_id == criteria.ad_account_id)
        conditions.append(delivery.c.ad_account.in_(account_ids))
    if criteria.since is not None:
        conditions.append(delivery.c.ended_at >= criteria.since)
    if criteria.until is not None:
        conditions.append(delivery.c.ended_at < criteria.until)
    if criteria.safe_at is not None:
        is_deduplicated = ~delivery.c.offline & (
            delivery.c.event_time >= criteria.safe_at - _LATE_AFTER_SECONDS
        )
        conditions.append((delivery.c.may_have_arrived == Arrival.NO.value) | is_deduplicated)
    if criteria.ids:
        conditions.append(delivery.c.id.in_(criteria.ids))
    return conditions


def _retry_result(
    retryable: Sequence[Failure],
    moved_ids: Set[int],
    refusals: Counter[str],
    now: float,
    owners: Mapping[int, Any],
) -> RetryResult:
    if len(moved_ids) < len(retryable):
        refusals[_SENT_MEANWHILE] += len(retryable) - len(moved_ids)
    retried = [failure for failure in retryable if failure.id in moved_ids]
    late = sum(failure.is_late(now) for failure in retried)
    troubles = (
        failure.expected_trouble(now, _held(owners[failure.integration_number], now)) for failure in retried
    )
    in_vain = Counter(trouble for trouble in troubles if trouble)
    return RetryResult(len(retried), late, sum(failure.offline for failure in retried), refusals, in_vain)


def _held(owner: Any, now: float) -> str | None:
    """Return why the credential of an integration sends nothing now."""
    if owner.paused_at is not None:
        return "sending to its ad account is paused"
    is_broken = owner.breaker_open_until is not None and owner.breaker_open_until > now
    return "sending has stopped for a while, after failures in a row" if is_broken else None


def _reopen_in_races(
    connection: Connection, ids: Sequence[int], how: str, now: float
) -> dict[int, tallies.Entry]:
    """Reopen failed deliveries. If another process opens a copy at the same time, the next round sees it."""
    for _ in range(_MAX_RACES):
        try:
            with connection.begin_nested():
                return _reopen(connection, ids, how, now)
        except (IntegrityError, VersionConflictError):
            continue
    return {}


def _reopen(connection: Connection, ids: Sequence[int], how: str, now: float) -> dict[int, tallies.Entry]:
    signed_precedence.displace_public_for_failed(connection, ids, now)
    # A person decides for this delivery, whatever Pinterest may have.
    arrival = {} if how != _MANUALLY else {"may_have_arrived": _SENT_AGAIN}
    # The earlier failure stays visible as a warning after a successful retry.
    statement = (
        update(delivery)
        .where(*_may_reopen(ids))
        .values(
            state=State.OPEN.value,
            batch_id=None,
            ended_at=None,
            warning=f"Retried {how} after: " + func.coalesce(delivery.c.reason, ""),
            reason_class=None,
            reason=None,
            **arrival,
        )
    )
    return _move(connection, statement)


def _may_reopen(ids: Sequence[int]) -> tuple[Any, ...]:
    """Select the failures whose event is neither in flight nor delivered.

    Of two copies it selects the signed one, then the earlier one.
    """
    other = delivery.alias()
    is_there = and_(other.c.ad_account == delivery.c.ad_account, other.c.test == delivery.c.test)
    # In two conditions, because each has its own index.
    same = (
        and_(is_there, other.c.event_id == delivery.c.event_id, other.c.event_name == delivery.c.event_name),
        and_(is_there, other.c.business_key == delivery.c.business_key),
    )
    # A public copy that was not sent yet, or has other content, gives way to a signed one.
    gives_way = and_(
        delivery.c.trust == Trust.SIGNED.value,
        other.c.trust == Trust.PUBLIC.value,
        or_(
            other.c.batch_id.is_(None),
            exists().where(batch.c.id == other.c.batch_id, batch.c.status == BatchStatus.READY.value),
            other.c.content_key.is_distinct_from(delivery.c.content_key),
        ),
    )
    is_open = or_(*(exists().where(match, other.c.state == State.OPEN.value, ~gives_way) for match in same))
    # A public delivery that lost its id to a signed one: see `worker.ledger.delivery.signed_precedence`.
    has_own_id = ~delivery.c.event_id.contains(REPLACED_MARK[0])
    goes_first = or_(
        other.c.trust > delivery.c.trust,
        and_(other.c.trust == delivery.c.trust, other.c.id < delivery.c.id),
    )
    is_twin = (other.c.state == State.FAILED.value, goes_first, other.c.id.in_(ids))
    earlier_twin = or_(*(exists().where(match, *is_twin) for match in same))
    return (delivery.c.id.in_(ids), delivery.c.state == State.FAILED, has_own_id, ~is_open, ~earlier_twin)


def end_discarded(
    connection: Connection,
    statement: Any,
    reason: str,
    now: float,
    outcomes: Sequence[str] = (tallies.DISCARDED,),
) -> dict[int, tallies.Entry]:
    """Discard what an update selects, delete its payloads, and count it. Returns the deliveries by id."""
    values = {
        "state": State.DISCARDED.value,
        "ended_at": now,
        "payload": None,
        "public_fields": None,
        "reason_class": "discarded",
        "reason": reason,
    }
    entries = _move(connection, statement.values(values))
    _count(connection, entries, outcomes, now)
    return entries


def _move(connection: Connection, statement: Any) -> dict[int, tallies.Entry]:
    rows = connection.execute(
        statement.returning(delivery.c.id, delivery.c.integration_id, delivery.c.event_name)
    ).all()
    numbers = {row.integration_id for row in rows}
    query = select(integration.c.id, integration.c.source_id).where(integration.c.id.in_(numbers))
    sources = {row.id: row.source_id for row in connection.execute(query)}
    return {
        row.id: tallies.Entry(sources.get(row.integration_id, ""), row.integration_id, row.event_name, "")
        for row in rows
    }


def _count(
    connection: Connection, entries: dict[int, tallies.Entry], outcomes: Sequence[str], now: float
) -> None:
    counts = Counter(entry._replace(outcome=outcome) for entry in entries.values() for outcome in outcomes)
    tallies.append_tallies(connection, counts, now)
