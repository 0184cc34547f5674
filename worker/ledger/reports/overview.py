"""Query the numbers of the overview: what moved in a time, and the requests of each ad account."""

from collections import Counter
from collections.abc import Iterable

from sqlalchemy import Connection, func, select

from worker.ledger.reports.tallies import SECONDS_A_MINUTE
from worker.ledger.schema import ad_account, integration, rollup


def moved_by_account(connection: Connection, since: float) -> dict[str, Counter[str]]:
    """Return the charted counts since a time, by ad account id. Deleted integrations are left out."""
    query = (
        select(ad_account.c.ad_account_id, rollup.c.what, func.sum(rollup.c.n))
        .join(integration, integration.c.id == rollup.c.integration_id)
        .join(ad_account, ad_account.c.id == integration.c.ad_account)
        .where(rollup.c.minute >= int(since // SECONDS_A_MINUTE))
        .group_by(ad_account.c.ad_account_id, rollup.c.what)
    )
    counts: dict[str, Counter[str]] = {}
    for ad_account_id, what, n in connection.execute(query):
        counts.setdefault(ad_account_id, Counter())[what] = int(n)
    return counts


def moved_by_step(
    connection: Connection,
    since: float,
    step_seconds: int,
    integration_ids: Iterable[int] | None = None,
    until: float | None = None,
) -> dict[float, Counter[str]]:
    """Return counts from one time to another by the start of each step, in Unix seconds. Steps are whole minutes."""
    step = step_seconds // SECONDS_A_MINUTE
    first = (rollup.c.minute - rollup.c.minute % step).label("first")
    query = (
        select(first, rollup.c.what, func.sum(rollup.c.n))
        .where(rollup.c.minute >= int(since // SECONDS_A_MINUTE))
        # By the label: PostgreSQL treats two bound numbers as two different steps.
        .group_by("first", rollup.c.what)
    )
    if until is not None:
        query = query.where(rollup.c.minute < int(until // SECONDS_A_MINUTE))
    if integration_ids is not None:
        query = query.where(rollup.c.integration_id.in_(list(integration_ids)))
    counts: dict[float, Counter[str]] = {}
    for minute, what, n in connection.execute(query):
        counts.setdefault(float(minute * SECONDS_A_MINUTE), Counter())[what] += int(n)
    return counts


def requests_per_minute(connection: Connection, now: float) -> dict[str, float]:
    """Return each ad account's requests in the last minute. The part from the previous minute is estimated."""
    minute, elapsed = divmod(now, SECONDS_A_MINUTE)
    query = select(ad_account).where(ad_account.c.rate_minute >= minute - 1)
    requests: dict[str, float] = {}
    for row in connection.execute(query):
        # Another machine's clock may be ahead.
        this_minute, last_minute = row.rate_requests, row.rate_requests_before
        if row.rate_minute < minute:
            this_minute, last_minute = 0, row.rate_requests
        requests[row.ad_account_id] = this_minute + last_minute * (1 - elapsed / SECONDS_A_MINUTE)
    return requests
