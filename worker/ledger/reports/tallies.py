"""Count events and deliveries in the transaction that changes them, also by time and by source."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, func, select, update

from worker.ledger import rows
from worker.ledger.reports import measures
from worker.ledger.schema import COUNTS_EVENTS, rollup, source_usage, tally
from worker.retention import CHART_MINUTES

SECONDS_A_MINUTE, _MINUTES_AN_HOUR = 60, 60

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


def _append_rollups(connection: Connection, counts: Counter[tuple[int, str]], now: float) -> None:
    """Append how often something happened to an integration, under the current minute."""
    minute = int(now // SECONDS_A_MINUTE)
    new = [
        {"minute": minute, "integration_id": integration, "what": what, "n": n}
        for (integration, what), n in counts.items()
        if n
    ]
    rows.insert_all(connection, rollup, new)


def latency_step(seconds: float) -> str:
    """Name the step of a delivery's latency. The last step also holds all longer ones."""
    step = min(bisect_left(STEPS_SECONDS, seconds), len(STEPS_SECONDS) - 1)
    return f"{_WITHIN}{STEPS_SECONDS[step]:g}"


def coarsen_rollups(connection: Connection, now: float, limit: int) -> int:
    """Change minutes older than a day to their hour. Returns how many rows changed."""
    before = int(now // SECONDS_A_MINUTE) - CHART_MINUTES
    past_the_hour = rollup.c.minute % _MINUTES_AN_HOUR
    old = select(rollup.c.id).where(rollup.c.minute < before, past_the_hour != 0).limit(limit)
    ids = list(connection.scalars(old))
    if ids:
        statement = update(rollup).where(rollup.c.id.in_(ids))
        connection.execute(statement.values(minute=rollup.c.minute - past_the_hour))
    return len(ids)


SECONDS_PER_HOUR = 3600

# Outcomes of an accepted event.
ACCEPTED, CONSUMED, WITHOUT_DESTINATION, MAPPED = "accepted", "consumed", "without_destination", "mapped"
EVENT_ERASED = "event_erased"
# Outcomes of a delivery.
CREATED, DELIVERED, TESTED, FAILED = "created", "delivered", "tested", "failed"
FILTERED, DUPLICATE, DROPPED = "filtered", "duplicate", "dropped"
RETRIED, DISCARDED, ERASED = "retried", "discarded", "erased"
# Prefix of outcomes that were final and ended: by a manual retry, a discard or an erasure.
LEFT = "left_"
PURGED = "purged_"
# A signed event whose id a public one with other content used before. This is not a state; it has another outcome, too.
CONTRADICTED = "contradicted"
# Prefixes of an event's match-quality words, and of the problems in its data. The books ignore these rows.
QUALITY, PROBLEM = "quality:", "problem:"
# Shown in charts.
_CHARTED = frozenset({DELIVERED, TESTED, FAILED, FILTERED})


class Entry(NamedTuple):
    """Name a counter. ``integration_id`` is 0 for an event as a whole; ``event_name`` is Pinterest's, or empty."""

    source_id: str
    integration_id: int
    event_name: str
    outcome: str


def append_tallies(
    connection: Connection,
    counts: Counter[Entry],
    now: float,
    steps: Mapping[tuple[int, str], int] = MappingProxyType({}),
) -> None:
    """Append counts under the current hour, and the charted ones under the current minute.

    ``steps`` adds latencies to the charts: deliveries by integration and step.
    """
    hour = int(now // SECONDS_PER_HOUR)
    new = [{"hour": hour, **entry._asdict(), "n": n, "last_at": now} for entry, n in counts.items() if n]
    rows.insert_all(connection, tally, new)
    charted = Counter(steps)
    for entry, n in counts.items():
        if entry.outcome in _CHARTED:
            charted[entry.integration_id, entry.outcome] += n
    _append_rollups(connection, charted, now)


def tally_totals(connection: Connection, since_hour: int = 0, before_hour: int | None = None) -> Counter[str]:
    """Sum every outcome over all time or a range of hours."""
    query = select(tally.c.outcome, func.sum(tally.c.n)).where(_is_move()).group_by(tally.c.outcome)
    if since_hour:
        query = query.where(tally.c.hour >= since_hour)
    if before_hour is not None:
        query = query.where(tally.c.hour < before_hour)
    return Counter({outcome: int(n) for outcome, n in connection.execute(query)})


def totals_by_integration(connection: Connection) -> dict[int, Counter[str]]:
    """Sum every outcome over all time by integration number; 0 is for events without one."""
    query = (
        select(tally.c.integration_id, tally.c.outcome, func.sum(tally.c.n))
        .where(_is_move())
        .group_by(tally.c.integration_id, tally.c.outcome)
    )
    totals: dict[int, Counter[str]] = defaultdict(Counter)
    for number, outcome, n in connection.execute(query):
        totals[number][outcome] = int(n)
    return totals


def tallies_by_hour(
    connection: Connection, since_hour: int, integration_ids: Iterable[int] | None = None
) -> list[tuple[int, int, str, int]]:
    """Return (hour, integration id, outcome, n) from an hour on, in order."""
    query = (
        select(tally.c.hour, tally.c.integration_id, tally.c.outcome, func.sum(tally.c.n))
        .where(tally.c.hour >= since_hour, _is_move())
        .group_by(tally.c.hour, tally.c.integration_id, tally.c.outcome)
        .order_by(tally.c.hour)
    )
    if integration_ids is not None:
        query = query.where(tally.c.integration_id.in_(list(integration_ids)))
    return [
        (hour, integration, outcome, int(n)) for hour, integration, outcome, n in connection.execute(query)
    ]


def last_seen(connection: Connection, since_hour: int) -> dict[str, dict[str, float]]:
    """Return when the newest event of each name came in, by source and Pinterest event name, in Unix seconds.

    Times from before they were kept are those of their hours. The name is empty where an event never got one.
    """
    at = func.max(func.coalesce(tally.c.last_at, tally.c.hour * float(SECONDS_PER_HOUR)))
    query = (
        select(tally.c.source_id, tally.c.event_name, at)
        .where(COUNTS_EVENTS, tally.c.hour >= since_hour, tally.c.outcome.in_([MAPPED, WITHOUT_DESTINATION]))
        .group_by(tally.c.source_id, tally.c.event_name)
    )
    times: dict[str, dict[str, float]] = defaultdict(dict)
    for source_id, name, last_at in connection.execute(query):
        times[source_id][name] = float(last_at)
    return times


def has_happened(connection: Connection, outcomes: Iterable[str]) -> bool:
    """Return whether any delivery has one of the outcomes. Where none has, there are few rows to read."""
    any_row = select(tally.c.id).where(tally.c.outcome.in_(list(outcomes)), tally.c.integration_id != 0)
    return connection.execute(any_row.limit(1)).first() is not None


def _is_move() -> ColumnElement[bool]:
    return ~tally.c.outcome.startswith(QUALITY) & ~tally.c.outcome.startswith(PROBLEM)


SECONDS_A_DAY = 86_400

# New visitors, by the trust of the event that brought them.
PUBLIC_VISITORS, SIGNED_VISITORS = "public_visitors", "signed_visitors"
# Refused by a quota, or replaced by newer rows. No event and no delivery is lost.
VISITORS_REFUSED, DEBUG_INPUTS_DROPPED = "public_visitors_refused", "debug_inputs_dropped"
REFUSED = (VISITORS_REFUSED, DEBUG_INPUTS_DROPPED)


def append_usage(connection: Connection, counts: Mapping[tuple[str, str], int], now: float) -> None:
    """Append counts by (source id, what) to the current day, and add refusals to the metrics."""
    day = int(now // SECONDS_A_DAY)
    new = [
        {"day": day, "source_id": source_id, "what": what, "n": n}
        for (source_id, what), n in counts.items()
        if n
    ]
    rows.insert_all(connection, source_usage, new)
    refusals: Counter[str] = Counter()
    for (_, what), n in counts.items():
        if what in REFUSED:
            refusals[what] += n
    measures.append_counts(connection, measures.REFUSED_BY_QUOTA, refusals)


def usage_of_source(
    connection: Connection, source_id: str, from_day: int, whats: Collection[str] = ()
) -> Counter[str]:
    """Sum a source's usage since a day (days since 1970). ``whats`` limits the sum to these."""
    query = (
        select(source_usage.c.what, func.sum(source_usage.c.n))
        .where(source_usage.c.day >= from_day, source_usage.c.source_id == source_id)
        .group_by(source_usage.c.what)
    )
    if whats:
        query = query.where(source_usage.c.what.in_(whats))
    return Counter({what: int(n) for what, n in connection.execute(query)})
