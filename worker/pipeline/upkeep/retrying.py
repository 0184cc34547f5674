"""Retry failed deliveries after an outage, in small steps."""

from collections.abc import Iterator, Set

from worker import logs
from worker.ledger.database import Ledger
from worker.ledger.delivery import failures, outages
from worker.ledger.delivery.failures import ROWS_PER_STEP, STALE_AFTER_SECONDS, Failure, FailureFilter
from worker.pinterest.client.answers import ReasonClass
from worker.pipeline.delivery.sending import DEDUP_SECONDS

log = logs.of(__name__)

_ACTOR = "auto retry"
MAX_AUTO_RETRIES = 5_000
# Failed deliveries that one run reads per reason class; the others wait for the next run or an operator.
_MAX_READ = 50_000

# After these Pinterest certainly has nothing, so sending again creates no second copy.
_NOT_ARRIVED = frozenset(
    {
        ReasonClass.NOT_REACHED,
        ReasonClass.SWITCHED_OFF,
        ReasonClass.RATE_LIMITED,
        ReasonClass.UNAUTHORIZED,
        ReasonClass.FORBIDDEN,
        ReasonClass.NO_SUCH_ACCOUNT,
        ReasonClass.NOT_SENDABLE,
    }
)
_OUTAGES = (
    ReasonClass.NOT_REACHED,
    ReasonClass.SWITCHED_OFF,
    ReasonClass.UNAVAILABLE,
    ReasonClass.NO_ANSWER,
)


def failures_in_steps(
    ledger: Ledger, chosen: FailureFilter, after_id: int = 0, most: int | None = None
) -> Iterator[list[Failure]]:
    """Yield failed deliveries in lists, ordered by id, at most ``most`` in total."""
    looked_at, last_id = 0, after_id
    while most is None or looked_at < most:
        limit = ROWS_PER_STEP if most is None else min(ROWS_PER_STEP, most - looked_at)
        with ledger.read() as connection:
            step = failures.failed_after(connection, chosen, limit, last_id)
        if not step:
            return
        looked_at, last_id = looked_at + len(step), step[-1].id
        yield step


def retry_after_outage(ledger: Ledger, now: float) -> int:
    """Retry deliveries that failed in an outage of Pinterest that is over; return how many.

    It is over when a later event of the same ad account was delivered. Deliveries that could count twice are
    left to an operator.
    """
    moved = 0
    for step in _after_outages(ledger, now):
        retryable = _retryable(ledger, step, now)[: MAX_AUTO_RETRIES - moved]
        if retryable:
            with ledger.write() as connection:
                moved += failures.retry_deliveries(
                    connection, retryable, now, _ACTOR, how="by itself"
                ).retried
        if moved >= MAX_AUTO_RETRIES:
            break
    if moved:
        log.info("retried_by_itself", deliveries=moved)
    return moved


def should_retry(failure: Failure, tried: Set[str], delivered_at: float | None, now: float) -> bool:
    """Decide whether a failed delivery is retried automatically.

    ``tried`` has the reason classes of all attempts; ``delivered_at`` is the last delivery of its ad account.
    """
    if failure.reason_class not in _OUTAGES or failure.event_time <= now - STALE_AFTER_SECONDS:
        return False
    if delivered_at is None or delivered_at <= failure.failed_at:
        return False
    may_have_arrived = not ({failure.reason_class} | tried) <= _NOT_ARRIVED
    counts_twice = failure.offline or failure.event_time < now - DEDUP_SECONDS
    return not (may_have_arrived and counts_twice)


def _after_outages(ledger: Ledger, now: float) -> Iterator[list[Failure]]:
    for reason_class in _OUTAGES:
        chosen = FailureFilter(reason_class=reason_class, since=now - STALE_AFTER_SECONDS)
        yield from failures_in_steps(ledger, chosen, most=_MAX_READ)


def _retryable(ledger: Ledger, step: list[Failure], now: float) -> list[Failure]:
    first_failed_at: dict[str, float] = {}
    for failure in step:
        earliest = first_failed_at.get(failure.ad_account_id, failure.failed_at)
        first_failed_at[failure.ad_account_id] = min(earliest, failure.failed_at)
    with ledger.read() as connection:
        tried = outages.attempt_reason_classes(
            connection, {failure.batch_id for failure in step if failure.batch_id is not None}
        )
        delivered_at = {
            account: outages.last_delivered_at(connection, account, since)
            for account, since in first_failed_at.items()
        }
    return [
        failure
        for failure in step
        if should_retry(
            failure, tried.get(failure.batch_id or 0, set()), delivered_at[failure.ad_account_id], now
        )
    ]
