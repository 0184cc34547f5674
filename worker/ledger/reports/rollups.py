"""Sum up outcomes and latencies for charts that outlive the events."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable

from sqlalchemy import Connection, func, select, update

from worker.ledger import rows
from worker.ledger.schema import rollup

SECONDS_A_MINUTE, _MINUTES_AN_HOUR = 60, 60
# Charts show minutes for the last hour; a day allows for wrong clocks and sleeping machines.
_MINUTES_KEPT = 24 * _MINUTES_AN_HOUR

# Latency from acceptance to Pinterest's answer: upper bound of each step in seconds.
STEPS_SECONDS = (
    0.5,
    1,
    2,
    3,
    5,
    7,
    10,
    15,
    20,
    30,
    45,
    60,
    120,
    300,
    600,
    1_200,
    3_600,
    10_800,
    43_200,
    604_800,
)
_WITHIN = "within:"


def append_rollups(connection: Connection, moved: Counter[tuple[int, str]], now: float) -> None:
    """Append how often something happened to an integration, under the current minute."""
    minute = int(now // SECONDS_A_MINUTE)
    new = [
        {"minute": minute, "integration_id": integration, "what": what, "n": n}
        for (integration, what), n in moved.items()
        if n
    ]
    rows.insert_all(connection, rollup, new)


def latency_step(seconds: float) -> str:
    """Name the step of a delivery's latency. The last step also holds all longer ones."""
    step = min(bisect_left(STEPS_SECONDS, seconds), len(STEPS_SECONDS) - 1)
    return f"{_WITHIN}{STEPS_SECONDS[step]:g}"


def rollups_since(
    connection: Connection,
    since: float,
    step_seconds: int,
    integration_ids: Iterable[int] | None = None,
    until: float | None = None,
) -> dict[float, Counter[str]]:
    """Return counts from one time to another by the start of each step, in Unix seconds. Steps are whole minutes."""
    step = step_seconds // SECONDS_A_MINUTE
    first = (rollup.c.minute - rollup.c.minute % step).label("first")
    summed = (
        select(first, rollup.c.what, func.sum(rollup.c.n))
        .where(rollup.c.minute >= int(since // SECONDS_A_MINUTE))
        # By the label: PostgreSQL treats two bound numbers as two different steps.
        .group_by("first", rollup.c.what)
    )
    if until is not None:
        summed = summed.where(rollup.c.minute < int(until // SECONDS_A_MINUTE))
    if integration_ids is not None:
        summed = summed.where(rollup.c.integration_id.in_(list(integration_ids)))
    found: dict[float, Counter[str]] = {}
    for minute, what, n in connection.execute(summed):
        found.setdefault(float(minute * SECONDS_A_MINUTE), Counter())[what] += int(n)
    return found


def rollups_by_integration(connection: Connection, since: float) -> dict[int, Counter[str]]:
    """Return counts since a time by integration."""
    summed = (
        select(rollup.c.integration_id, rollup.c.what, func.sum(rollup.c.n))
        .where(rollup.c.minute >= int(since // SECONDS_A_MINUTE))
        .group_by(rollup.c.integration_id, rollup.c.what)
    )
    found: dict[int, Counter[str]] = {}
    for integration, what, n in connection.execute(summed):
        found.setdefault(integration, Counter())[what] += int(n)
    return found


def coarsen_rollups(connection: Connection, now: float, most: int) -> int:
    """Change minutes older than a day to their hour. Returns how many rows changed."""
    before = int(now // SECONDS_A_MINUTE) - _MINUTES_KEPT
    past_the_hour = rollup.c.minute % _MINUTES_AN_HOUR
    old = select(rollup.c.id).where(rollup.c.minute < before, past_the_hour != 0).limit(most)
    ids = list(connection.scalars(old))
    if ids:
        changed = update(rollup).where(rollup.c.id.in_(ids))
        connection.execute(changed.values(minute=rollup.c.minute - past_the_hour))
    return len(ids)


def fold_rollups(connection: Connection, most_groups: int, since: float) -> int:
    """Sum up rows with the same key since a time. Returns how many rows that saved."""
    keys = (rollup.c.minute, rollup.c.integration_id, rollup.c.what)
    since_then = rollup.c.minute >= int(since // SECONDS_A_MINUTE)
    return rows.fold_rows(connection, rollup, keys, (rollup.c.n,), since_then, most_groups)
