"""List, show, export, retry and discard failed deliveries."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from worker.event.times import iso
from worker.formats import count_text
from worker.ledger.delivery import failure_groups, failures
from worker.ledger.delivery.failure_groups import GroupState, ReasonGroup
from worker.ledger.delivery.failures import Failure, FailureFilter, RetryResult
from worker.ledger.delivery.new_deliveries import PAYLOAD
from worker.ledger.intake import inbox
from worker.ledger.intake.inbox import Parked
from worker.ledger.rows import LARGEST_ID
from worker.ledger.schema import Arrival
from worker.ledger.vault import SealError
from worker.operations.caller import Caller
from worker.operations.errors import ConflictError, InvalidError, NotFoundError
from worker.pipeline.upkeep import outage_retries

# A request of the Management API has to end while its caller waits.
MOST_A_CALL = 10_000
LONGEST_REASON = 300
_NOT_FAILED = "not failed, or no longer failed"
_TIMES = ("event_time", "failed_at")
_INTERNAL = ("integration_number", "ad_account")


@dataclass(frozen=True, slots=True)
class Extent:
    """Bound one call: the id to start after, how many deliveries to look at (None for all), whether to change any."""

    after_id: int = 0
    most: int | None = MOST_A_CALL
    dry_run: bool = False
    # Called after each step with the number of deliveries that it looked at.
    progress: Callable[[int], object] = lambda _looked_at: None


@dataclass(slots=True)
class BulkResult:
    """Count what a retry or a discard did, or would do in a dry run.

    ``left_alone`` counts deliveries that cannot be moved, by the reason in words. ``left`` is how many were not
    looked at: the next call starts after ``last_id``. ``in_vain`` counts those of ``moved`` that this alone will not
    deliver, by the reason in words.
    """

    moved: int = 0
    late: int = 0
    offline: int = 0
    in_vain: Counter[str] = field(default_factory=Counter)
    left_alone: Counter[str] = field(default_factory=Counter)
    left: int = 0
    last_id: int = 0

    def add(self, step: RetryResult) -> None:
        """Add the counts of one step."""
        self.moved += step.retried
        self.late += step.late
        self.offline += step.offline
        self.left_alone += step.refused
        self.in_vain += step.in_vain

    def warnings(self) -> list[str]:
        """Return a sentence for each kind of moved delivery that Pinterest may count twice."""
        late = count_text(
            self.late,
            "is over an hour old: Pinterest counts it as offline and may not deduplicate it.",
            "are over an hour old: Pinterest counts them as offline and may not deduplicate them.",
        )
        offline = count_text(
            self.offline,
            "is an offline event: Pinterest cannot deduplicate it.",
            "are offline events: Pinterest cannot deduplicate them.",
        )
        return [sentence for n, sentence in ((self.late, late), (self.offline, offline)) if n]


def list_failed(caller: Caller, criteria: FailureFilter, limit: int, after_id: int = 0) -> list[Failure]:
    """Return failed deliveries ordered by id."""
    with caller.ledger.read() as connection:
        return failures.failed_after(connection, criteria, limit, after_id)


def group_failed(caller: Caller, criteria: FailureFilter) -> list[ReasonGroup]:
    """Count failed deliveries by ad account, event name and reason class: open groups first, then the largest."""
    with caller.ledger.read() as connection:
        return failure_groups.failed_by_reason(connection, criteria, caller.now)


def mark_group(
    caller: Caller, ad_account_id: str, event_name: str, reason_class: str, state: str
) -> ReasonGroup:
    """Resolve or ignore a group of failed deliveries, or open it again; ``state`` is a `GroupState`.

    A new failure opens a resolved group again. An ignored one stays ignored and needs no attention.

    Raises:
        InvalidError: there is no such state.
        NotFoundError: no failed delivery is of this group.
    """
    if state not in list(GroupState):
        raise InvalidError("state", f"must be one of {', '.join(GroupState)}")
    criteria = FailureFilter(ad_account_id=ad_account_id, event_name=event_name, reason_class=reason_class)
    name = "/".join((ad_account_id, event_name, reason_class))
    with caller.changing() as change:
        groups = failure_groups.failed_by_reason(change.connection, criteria, caller.now)
        if not groups:
            raise NotFoundError("group of failed deliveries", name)
        if groups[0].state != state:
            failure_groups.decide_group(
                change.connection, groups[0], GroupState(state), caller.actor, caller.now
            )
            change.record("failed.mark", name, {"state": [groups[0].state, state]})
        return failure_groups.failed_by_reason(change.connection, criteria, caller.now)[0]


def count_failed(caller: Caller, criteria: FailureFilter) -> int:
    """Count failed deliveries."""
    with caller.ledger.read() as connection:
        return failures.count_failures(connection, criteria)


def get_failed(caller: Caller, number: int) -> tuple[Failure, list[dict[str, Any]]]:
    """Return one failed delivery with the requests that its batch was sent in, the first one first.

    Raises:
        NotFoundError: there is no such delivery, or it has not failed.
    """
    with caller.ledger.read() as connection:
        rows = (
            failures.failed_after(connection, FailureFilter(ids=(number,)), 1)
            if 0 < number <= LARGEST_ID
            else []
        )
        if not rows:
            raise NotFoundError("failed delivery", str(number))
        return rows[0], failures.attempts_of_batch(connection, rows[0].batch_id)


def show_payload(caller: Caller, number: int) -> str | None:
    """Return the JSON text that would be sent, and record who read it; None where there is no payload.

    It holds an IP address and a user agent in clear.

    Raises:
        NotFoundError: there is no such delivery, or it has not failed.
        ConflictError: its key is not in the ring any more.
    """
    get_failed(caller, number)
    with caller.changing() as change:
        sealed = failures.failed_payload(change.connection, number)
        if sealed is None:
            return None
        try:
            text = change.vault.open(sealed, PAYLOAD).decode()
        except SealError as error:
            raise ConflictError(f"The payload cannot be opened: {error}.") from None
        change.record("failed.show_payload", str(number), {})
    return text


def as_json(failure: Failure, now: float) -> dict[str, Any]:
    """Return a failed delivery as every surface exports it: all fields but the payload, times in ISO 8601."""
    fields = {name: value for name, value in asdict(failure).items() if name not in _INTERNAL}
    times = {name: iso(getattr(failure, name)) for name in _TIMES}
    arrival = {"may_have_arrived": failure.may_have_arrived != Arrival.NO}
    return fields | times | arrival | {"late": failure.is_late(now), "stale": failure.is_stale(now)}


def export_failed(caller: Caller, criteria: FailureFilter, limit: int | None = None) -> Iterator[str]:
    """Yield failed deliveries as lines of JSON, ordered by id; all of them without a limit."""
    for step in outage_retries.failures_in_steps(caller.ledger, criteria, limit=limit):
        for failure in step:
            yield f"{json.dumps(as_json(failure, caller.now), ensure_ascii=False)}\n"


def retry_failed(
    caller: Caller, criteria: FailureFilter, *, force: bool = False, extent: Extent | None = None
) -> BulkResult:
    """Send failed deliveries again. Safe to repeat: none is sent twice.

    ``force`` includes those older than 7 days, though Pinterest refuses them.
    """
    bounds = extent or Extent()

    def retry(step: list[Failure]) -> RetryResult:
        if bounds.dry_run:
            with caller.ledger.read() as connection:
                return failures.preview_retry(connection, step, caller.now, force=force)
        with caller.ledger.write() as connection:
            return failures.retry_deliveries(connection, step, caller.now, caller.actor, force=force)

    return _in_steps(caller, criteria, bounds, retry)


def discard_failed(
    caller: Caller, criteria: FailureFilter, reason: str, *, extent: Extent | None = None
) -> BulkResult:
    """Discard failed deliveries for good, with their payloads.

    Raises:
        InvalidError: the reason is empty or too long.
    """
    if not 1 <= len(reason.strip()) <= LONGEST_REASON:
        raise InvalidError("reason", f"must be 1 to {LONGEST_REASON} characters")
    bounds = extent or Extent()

    def discard(step: list[Failure]) -> RetryResult:
        if bounds.dry_run:
            return RetryResult(len(step), 0, 0, Counter())
        ids = [failure.id for failure in step]
        with caller.ledger.write() as connection:
            count = failures.discard_deliveries(connection, ids, reason.strip(), caller.now, caller.actor)
        return RetryResult(count, 0, 0, +Counter({_NOT_FAILED: len(step) - count}))

    return _in_steps(caller, criteria, bounds, discard)


def _in_steps(
    caller: Caller, criteria: FailureFilter, extent: Extent, move: Callable[[list[Failure]], RetryResult]
) -> BulkResult:
    result = BulkResult(last_id=extent.after_id)
    for step in outage_retries.failures_in_steps(caller.ledger, criteria, extent.after_id, extent.most):
        result.add(move(step))
        result.last_id = step[-1].id
        extent.progress(len(step))
    if extent.most is not None:
        with caller.ledger.read() as connection:
            result.left = failures.count_failures(connection, criteria, result.last_id)
    # What the caller named and no step has seen.
    if extent.after_id == 0 and not result.left:
        missing = len(set(criteria.ids)) - result.moved - result.left_alone.total()
        result.left_alone += Counter({_NOT_FAILED: max(0, missing)})
    return result


_ROWS_A_STEP = 500
# A request of the Management API has to end while its caller waits.
_MOST_A_CALL = 10_000


@dataclass(frozen=True, slots=True)
class _Unparked:
    """Count the events that are processed again, and those that are still set aside."""

    unparked: int
    left: int


def list_parked(caller: Caller) -> list[Parked]:
    """Count the events that are set aside, by reason, the most frequent reason first."""
    with caller.ledger.read() as connection:
        return inbox.parked_by_reason(connection)


def unpark(caller: Caller, limit: int | None = _MOST_A_CALL) -> _Unparked:
    """Let events that were set aside be processed again; the sweeper finds them in a minute or two.

    ``limit`` bounds one call, None bounds nothing. Safe to repeat: each event is processed once.
    """
    count = last_id = 0
    while limit is None or count < limit:
        rows_a_step = _ROWS_A_STEP if limit is None else min(_ROWS_A_STEP, limit - count)
        with caller.ledger.read() as connection:
            ids = inbox.parked_ids(connection, last_id, rows_a_step)
        if not ids:
            break
        last_id = ids[-1]
        with caller.changing() as change:
            step = inbox.unpark_events(change.connection, ids)
            if step:
                change.record("parked.retry", count_text(step, "event"), {"ids": ids})
        count += step
    return _Unparked(count, sum(group.events for group in list_parked(caller)))
