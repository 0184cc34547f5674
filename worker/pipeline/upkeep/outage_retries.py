"""Retry failed deliveries after an outage, in small steps."""

from collections.abc import Iterator

from worker import logs
from worker.ledger.database import Ledger
from worker.ledger.delivery import failure_groups, failures
from worker.ledger.delivery.failures import STALE_AFTER_SECONDS, Failure, FailureFilter
from worker.ledger.reports import account_status
from worker.pinterest.client.answer_decisions import OUTAGES

_ROWS_PER_STEP = 500

log = logs.of(__name__)

_ACTOR = "auto retry"
_MAX_AUTO_RETRIES = 5_000


def failures_in_steps(
    ledger: Ledger, criteria: FailureFilter, after_id: int = 0, limit: int | None = None
) -> Iterator[list[Failure]]:
    """Yield failed deliveries in lists, ordered by id, at most ``limit`` in total."""
    looked_at, last_id = 0, after_id
    while limit is None or looked_at < limit:
        rows_a_step = _ROWS_PER_STEP if limit is None else min(_ROWS_PER_STEP, limit - looked_at)
        with ledger.read() as connection:
            step = failures.failed_after(connection, criteria, rows_a_step, last_id)
        if not step:
            return
        looked_at, last_id = looked_at + len(step), step[-1].id
        yield step


def retry_after_outage(ledger: Ledger, now: float) -> int:
    """Retry deliveries that failed in an outage of Pinterest that is over; return how many.

    It is over when a later event of the same ad account was delivered. Deliveries that could count twice are
    left to an operator.
    """
    count = 0
    for step in _after_outages(ledger, now):
        with ledger.write() as connection:
            part = step[: _MAX_AUTO_RETRIES - count]
            count += failures.retry_deliveries(connection, part, now, _ACTOR, how="by itself").retried
        if count >= _MAX_AUTO_RETRIES:
            break
    if count:
        log.info("retried_by_itself", deliveries=count)
    return count


def _after_outages(ledger: Ledger, now: float) -> Iterator[list[Failure]]:
    """Yield what may be retried, however much in front of it waits for an operator or for Pinterest."""
    since = now - STALE_AFTER_SECONDS
    with ledger.read() as connection:
        delivered_at = {
            account: account_status.last_delivered_at(connection, account, first_failed_at)
            for account, first_failed_at in failure_groups.first_failures(connection, OUTAGES, since).items()
        }
    for account, until in delivered_at.items():
        for reason_class in OUTAGES if until is not None else ():
            criteria = FailureFilter(
                account, reason_class=reason_class, since=since, until=until, safe_at=now
            )
            for step in failures_in_steps(ledger, criteria):
                yield [failure for failure in step if not failure.is_stale(now)]
