"""Count events and deliveries in the transaction that changes them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, func, select

from worker.ledger import rows
from worker.ledger.reports import rollups
from worker.ledger.schema import COUNTS_EVENTS, tally

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
LEFT_FAILED = LEFT + FAILED
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
    rollups.append_rollups(connection, charted, now)


def tally_totals(connection: Connection, since_hour: int = 0, before_hour: int | None = None) -> Counter[str]:
    """Sum every outcome over all time or a range of hours."""
    summed = select(tally.c.outcome, func.sum(tally.c.n)).where(_is_move()).group_by(tally.c.outcome)
    if since_hour:
        summed = summed.where(tally.c.hour >= since_hour)
    if before_hour is not None:
        summed = summed.where(tally.c.hour < before_hour)
    return Counter({outcome: int(n) for outcome, n in connection.execute(summed)})


def totals_by_integration(connection: Connection) -> dict[int, Counter[str]]:
    """Sum every outcome over all time by integration number; 0 is for events without one."""
    summed = (
        select(tally.c.integration_id, tally.c.outcome, func.sum(tally.c.n))
        .where(_is_move())
        .group_by(tally.c.integration_id, tally.c.outcome)
    )
    found: dict[int, Counter[str]] = defaultdict(Counter)
    for number, outcome, n in connection.execute(summed):
        found[number][outcome] = int(n)
    return found


def tallies_by_hour(
    connection: Connection, since_hour: int, integration_ids: Iterable[int] | None = None
) -> list[tuple[int, int, str, int]]:
    """Return (hour, integration id, outcome, n) from an hour on, in order."""
    summed = (
        select(tally.c.hour, tally.c.integration_id, tally.c.outcome, func.sum(tally.c.n))
        .where(tally.c.hour >= since_hour, _is_move())
        .group_by(tally.c.hour, tally.c.integration_id, tally.c.outcome)
        .order_by(tally.c.hour)
    )
    if integration_ids is not None:
        summed = summed.where(tally.c.integration_id.in_(list(integration_ids)))
    return [
        (hour, integration, outcome, int(n)) for hour, integration, outcome, n in connection.execute(summed)
    ]


def last_seen(connection: Connection, since_hour: int) -> dict[str, dict[str, float]]:
    """Return when the newest event of each name came in, by source and Pinterest event name, in Unix seconds.

    Times from before they were kept are those of their hours. The name is empty where an event never got one.
    """
    at = func.max(func.coalesce(tally.c.last_at, tally.c.hour * float(SECONDS_PER_HOUR)))
    wanted = (
        select(tally.c.source_id, tally.c.event_name, at)
        .where(COUNTS_EVENTS, tally.c.hour >= since_hour, tally.c.outcome.in_([MAPPED, WITHOUT_DESTINATION]))
        .group_by(tally.c.source_id, tally.c.event_name)
    )
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for source_id, name, last_at in connection.execute(wanted):
        found[source_id][name] = float(last_at)
    return found


def has_happened(connection: Connection, outcomes: Iterable[str]) -> bool:
    """Return whether any delivery has one of the outcomes. Where none has, there are few rows to read."""
    any_row = select(tally.c.id).where(tally.c.outcome.in_(list(outcomes)), tally.c.integration_id != 0)
    return connection.execute(any_row.limit(1)).first() is not None


def fold_tally_rows(connection: Connection, most_groups: int = 500, since_hour: int = 0) -> int:
    """Sum up single entries with the same key. Returns how many rows that saved.

    All rows from ``since_hour`` on are read: a frequent caller gives the first hour that can have new entries.
    """
    keys = (tally.c.hour, tally.c.source_id, tally.c.integration_id, tally.c.event_name, tally.c.outcome)
    recent = tally.c.hour >= since_hour
    return rows.fold_rows(connection, tally, keys, (tally.c.n,), recent, most_groups, (tally.c.last_at,))


def _is_move() -> ColumnElement[bool]:
    return ~tally.c.outcome.startswith(QUALITY) & ~tally.c.outcome.startswith(PROBLEM)
