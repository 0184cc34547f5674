"""Write down what became of events: one row for each integration and Pinterest event name."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, text

from worker.ledger import measures, tallies
from worker.ledger.rows import insert_all
from worker.ledger.schema import State, delivery

PAYLOAD = b"payload"

_OUTCOMES = {
    State.FAILED: tallies.FAILED,
    State.FILTERED: tallies.FILTERED,
    State.DUPLICATE: tallies.DUPLICATE,
    State.DROPPED: tallies.DROPPED,
}


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """Hold a delivery as it is first written; ``payload`` is sealed under `PAYLOAD` already."""

    source_id: str
    integration_id: int
    ad_account: int
    test: bool
    offline: bool
    event_id: str
    event_name: str
    source_name: str
    event_time: int
    accepted_at: float
    state: State
    payload: bytes | None = None
    size_bytes: int = 0
    reason_class: str | None = None
    reason: str | None = None
    warning: str | None = None
    order_key: bytes | None = None
    anonymous_key: bytes | None = None
    user_key: bytes | None = None
    # What it adds to the books of a day once it is delivered: see `worker.ledger.sales`.
    day: int | None = None
    currency: str | None = None
    value_thousandths: int | None = None
    # What the event brought with it, for the tallies alone.
    qualities: tuple[str, ...] = ()

    @property
    def unique_key(self) -> tuple[int, bool, str, str]:
        return (self.ad_account, self.test, self.event_id, self.event_name)


def write(connection: Connection, new: Sequence[NewDelivery], now: float) -> Counter[str]:
    """Write deliveries; a second copy of what is pending or sent becomes a duplicate.

    Returns how many deliveries ended up under each outcome of the tallies. A duplicate's qualities do not count.
    """
    # Sorted by the unique key: unsorted, two bulks that share events deadlock on PostgreSQL.
    wanted = sorted((one for one in new if one.state is State.OPEN), key=lambda one: one.unique_key)
    rest = [one for one in new if one.state is not State.OPEN]
    fresh = _insert_once(connection, wanted)
    duplicates: list[NewDelivery] = []
    for one in wanted:
        # Of two copies in one bulk the first is the delivery.
        if one.unique_key in fresh:
            fresh.discard(one.unique_key)
        else:
            duplicates.append(one)
    insert_all(connection, delivery, [_values(one, now) for one in rest])
    insert_all(connection, delivery, [_duplicate(one, now) for one in duplicates])
    counts = _count(wanted, rest, duplicates)
    tallies.append(connection, counts + (_qualities((*wanted, *rest)) - _qualities(duplicates)), now)
    failed = Counter(one.reason_class or "" for one in rest if one.state is State.FAILED)
    measures.count(connection, measures.FAILED, failed)
    return _by_outcome(counts)


def _insert_once(connection: Connection, wanted: Sequence[NewDelivery]) -> set[tuple[int, bool, str, str]]:
    rows = insert_all(connection, delivery, [_values(one, 0.0) for one in wanted], _unless_it_is_there)
    return {(row[0], bool(row[1]), row[2], row[3]) for row in rows}


def _unless_it_is_there(new: Any) -> Any:
    key = (delivery.c.ad_account, delivery.c.test, delivery.c.event_id, delivery.c.event_name)
    is_open = text(f"state = {State.OPEN.value}")
    return new.on_conflict_do_nothing(index_elements=key, index_where=is_open).returning(*key)


# A tenth of what `dataclasses.asdict` costs, which walks into every value.
_PLAIN = tuple(
    field.name for field in fields(NewDelivery) if field.name not in ("source_id", "qualities", "state")
)
_read_plain = attrgetter(*_PLAIN)


def _values(one: NewDelivery, now: float) -> dict[str, Any]:
    values = dict(zip(_PLAIN, _read_plain(one), strict=True))
    values["state"] = one.state.value
    values["ended_at"] = None if one.state is State.OPEN else now
    return values


def _duplicate(one: NewDelivery, now: float) -> dict[str, Any]:
    return _values(one, now) | {
        "state": State.DUPLICATE.value,
        "ended_at": now,
        "payload": None,
        "reason_class": "duplicate",
        "reason": "An event with this id and name was accepted before.",
    }


def _count(
    wanted: Iterable[NewDelivery], rest: Iterable[NewDelivery], duplicates: Iterable[NewDelivery]
) -> Counter[tallies.Entry]:
    counts: Counter[tallies.Entry] = Counter()
    for one in (*wanted, *rest):
        counts[_entry(one, tallies.CREATED)] += 1
    for one in rest:
        counts[_entry(one, _OUTCOMES[one.state])] += 1
    for one in duplicates:
        counts[_entry(one, tallies.DUPLICATE)] += 1
    return counts


def _qualities(some: Iterable[NewDelivery]) -> Counter[tallies.Entry]:
    # One entry for each combination: there are few of them, and far more identifiers.
    return Counter(_entry(one, tallies.QUALITY + ",".join(one.qualities)) for one in some if one.qualities)


def _by_outcome(counts: Counter[tallies.Entry]) -> Counter[str]:
    summed: Counter[str] = Counter()
    for entry, n in counts.items():
        summed[entry.outcome] += n
    return summed


def _entry(one: NewDelivery, outcome: str) -> tallies.Entry:
    return tallies.Entry(one.source_id, one.integration_id, one.event_name, outcome)
