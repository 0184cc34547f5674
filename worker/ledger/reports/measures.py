"""Store counts and histograms for the metrics alone, and heartbeats.

The tallies prove the books and have hours and integrations. These have neither, so that they remain a few
hundred rows however long the service runs.
"""

import math
import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from worker.ledger import rows
from worker.ledger.database import Ledger
from worker.ledger.rows import upsert
from worker.ledger.schema import heartbeat, measure

# Counted by reason class, in the transaction that changes the delivery or batch.
FAILED, RETRIED, WARNED = "failed", "retried_batches", "warned"
# What sources' quotas refused, by kind.
REFUSED_BY_QUOTA = "refused_by_quota"
# "Heartbeat" of processes whose key ring lacks a key.
KEY_MISSING = "key_missing"
# Collected in each process and written every few seconds.
REJECTED, PUBLISHED, UNPUBLISHED = "rejected", "published", "unpublished"

_KEY = (measure.c.name, measure.c.label, measure.c.bound)


class Histogram(NamedTuple):
    """Name a histogram and the upper bounds of its buckets. The last bucket has no bound."""

    name: str
    bounds: tuple[float, ...]


# In seconds. A request's deadline is 25.
REQUEST_SECONDS = Histogram("request_seconds", (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0))
# In events; Pinterest takes 1,000.
BATCH_EVENTS = Histogram("batch_events", (1.0, 10.0, 50.0, 100.0, 250.0, 500.0, 1000.0))
# In seconds. The collector waits 10 for the ledger's lock.
ANSWER_SECONDS = Histogram("answer_seconds", (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0))


class _MeasureKey(NamedTuple):
    """Name a count or a bucket. ``bound`` is a bucket's upper bound; counts have none."""

    name: str
    label: str = ""
    bound: float = 0.0


@dataclass(slots=True)
class _Amount:
    """Hold how often something happened and the sum of the observed values."""

    n: int = 0
    total: float = 0.0


@dataclass(slots=True)
class Measured:
    """Collect amounts before they are written."""

    amounts: dict[_MeasureKey, _Amount] = field(default_factory=dict)

    def count(self, name: str, label: str = "", n: int = 1) -> None:
        """Count something that happened."""
        self._add(_MeasureKey(name, label), n, 0.0)

    def observe(self, histogram: Histogram, value: float, label: str = "") -> None:
        """Count a value in its bucket."""
        place = bisect_left(histogram.bounds, value)
        bound = histogram.bounds[place] if place < len(histogram.bounds) else math.inf
        self._add(_MeasureKey(histogram.name, label, bound), 1, value)

    def merge(self, other: "Measured") -> None:
        """Add another collection's amounts."""
        for key, amount in other.amounts.items():
            self._add(key, amount.n, amount.total)

    def n(self, name: str, label: str = "") -> int:
        """Return a count."""
        return self.amounts.get(_MeasureKey(name, label), _Amount()).n

    def buckets(self, histogram: Histogram, label: str = "") -> Iterator[tuple[float, _Amount]]:
        """Yield each bucket's upper bound and its own amount, whatever bounds were in use when it was counted."""
        regrouped = Measured()
        for key, amount in self.amounts.items():
            if key.name == histogram.name and key.label == label:
                place = bisect_left(histogram.bounds, key.bound)
                bound = histogram.bounds[place] if place < len(histogram.bounds) else math.inf
                regrouped._add(_MeasureKey("", "", bound), amount.n, amount.total)
        for bound in (*histogram.bounds, math.inf):
            yield bound, regrouped.amounts.get(_MeasureKey("", "", bound), _Amount())

    def _add(self, key: _MeasureKey, n: int, total: float) -> None:
        amount = self.amounts.get(key)
        if amount is None:
            amount = self.amounts[key] = _Amount()
        amount.n += n
        amount.total += total


def append_measures(connection: Connection, collection: Measured) -> None:
    """Append amounts. They are summed up later, so that no row is hot."""
    values = [
        {**key._asdict(), "n": amount.n, "total": amount.total}
        for key, amount in collection.amounts.items()
        if amount.n
    ]
    rows.insert_all(connection, measure, values)


def append_counts(connection: Connection, name: str, counts: Mapping[str, int]) -> None:
    """Append counts of one name by label."""
    collection = Measured()
    for label, n in counts.items():
        collection.count(name, label, n)
    append_measures(connection, collection)


def former_queues(connection: Connection, unused: Sequence[str]) -> Sequence[str]:
    """Return those of the unused queues of events, in order, that a larger number of them included.

    Messages for events are counted as `PUBLISHED` to the last of the queues in use.
    """
    labels = set(connection.scalars(select(measure.c.label).where(measure.c.name == PUBLISHED).distinct()))
    return unused[: max((place for place, queue in enumerate(unused, 1) if queue in labels), default=0)]


def measure_totals(connection: Connection) -> Measured:
    """Sum everything over all time."""
    query = select(*_KEY, func.sum(measure.c.n), func.sum(measure.c.total)).group_by(*_KEY)
    result = connection.execute(query)
    return Measured(
        {_MeasureKey(name, label, bound): _Amount(int(n), total) for name, label, bound, n, total in result}
    )


# The batcher and the sweeper run if beat and an upkeep worker run; the watch checks the alert rules.
BATCHER, SWEEPER, WATCH = "batcher", "sweeper", "watch"


# Before the name of a host: how far its clock is ahead, and when it said so.
_SKEW, _SKEW_AT = "clock skew of ", "clock of "
_HEARTBEAT_SECONDS = 10.0


def record_heartbeat(connection: Connection, name: str, now: float) -> None:
    """Record that a part is running."""
    statement = upsert(connection, heartbeat).values(name=name, at=now)
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"at": now}))


class Heartbeat:
    """Record that a part is alive, at most every ten seconds."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._written_at = float("-inf")

    def beat(self, ledger: Ledger, now: float) -> None:
        """Record that the part runs now."""
        with self._lock:
            # After a clock step back the heartbeat is written again.
            if 0 <= now - self._written_at < _HEARTBEAT_SECONDS:
                return
            self._written_at = now
        with ledger.write() as connection:
            record_heartbeat(connection, self._name, now)


def record_skew(connection: Connection, host: str, skew_seconds: float, now: float) -> None:
    """Record how far a host's clock is ahead of the database's."""
    record_heartbeat(connection, f"{_SKEW}{host}", skew_seconds)
    record_heartbeat(connection, f"{_SKEW_AT}{host}", now)


def skews_since(heartbeats: Mapping[str, float], since: float) -> dict[str, float]:
    """Return the skew of each host that recorded one since a time."""
    hosts = [
        name.removeprefix(_SKEW_AT)
        for name, at in heartbeats.items()
        if name.startswith(_SKEW_AT) and at >= since
    ]
    return {host: heartbeats[f"{_SKEW}{host}"] for host in hosts}


def last_heartbeats(connection: Connection) -> dict[str, float]:
    """Return each part's last heartbeat in Unix seconds."""
    return {row.name: row.at for row in connection.execute(select(heartbeat))}
