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
    ledger: Ledger, chosen: FailureFilter, after_id: int = 0, most: int | None = None
) -> Iterator[list[Failure]]:
    """Yield failed deliveries in lists, ordered by id, at most ``most`` in total."""
    looked_at, last_id = 0, after_id
    while most is None or looked_at < most:
        limit = _ROWS_PER_STEP if most is None else min(_ROWS_PER_STEP, most - looked_at)
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
        with ledger.write() as connection:
            some = step[: _MAX_AUTO_RETRIES - moved]
            moved += failures.retry_deliveries(connection, some, now, _ACTOR, how="by itself").retried
        if moved >= _MAX_AUTO_RETRIES:
            break
    if moved:
        log.info("retried_by_itself", deliveries=moved)
    return moved


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
            chosen = FailureFilter(account, reason_class=reason_class, since=since, until=until, safe_at=now)
            for step in failures_in_steps(ledger, chosen):
                yield [failure for failure in step if not failure.is_stale(now)]
