"""Balance the books: what was accepted against what became of it."""

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from worker.ledger import inbox, tallies
from worker.ledger.schema import BatchStatus, State, batch, delivery

_ENDS = {
    State.FAILED: tallies.FAILED,
    State.FILTERED: tallies.FILTERED,
    State.DUPLICATE: tallies.DUPLICATE,
    State.DROPPED: tallies.DROPPED,
    State.DISCARDED: tallies.DISCARDED,
    State.ERASED: tallies.ERASED,
}


@dataclass(frozen=True, slots=True)
class Line:
    """Hold one comparison: what was counted when it happened, against what is there now."""

    what: str
    counted: int
    found: int

    @property
    def balances(self) -> bool:
        return self.counted == self.found


@dataclass(frozen=True, slots=True)
class Books:
    """Hold where every event and every delivery stands, and the proof."""

    events: dict[str, int]
    deliveries: dict[str, int]
    lines: tuple[Line, ...]

    @property
    def balance(self) -> bool:
        return all(line.balances for line in self.lines)


def close(connection: Connection) -> Books:
    """Count everything at one moment; the connection has to be a snapshot."""
    counted = tallies.totals(connection)
    events = {
        "inbox": inbox.size(connection),
        tallies.CONSUMED: counted[tallies.CONSUMED],
        tallies.WITHOUT_DESTINATION: counted[tallies.WITHOUT_DESTINATION],
        tallies.MAPPED: counted[tallies.MAPPED],
    }
    deliveries = _deliveries(connection)
    return Books(events, dict(deliveries), tuple(_lines(counted, events, deliveries)))


def _lines(counted: Counter[str], events: dict[str, int], deliveries: Counter[str]) -> list[Line]:
    gone = [(outcome, n) for outcome, n in counted.items() if outcome.startswith(tallies.PURGED)]
    purged = {outcome.removeprefix(tallies.PURGED): n for outcome, n in gone}
    lines = [
        Line("events accepted", counted[tallies.ACCEPTED], sum(events.values())),
        Line("deliveries created", counted[tallies.CREATED], deliveries.total() + sum(purged.values())),
    ]
    for outcome in (tallies.DELIVERED, tallies.TESTED, *_ENDS.values()):
        booked = counted[outcome] - (counted[tallies.LEFT_FAILED] if outcome == tallies.FAILED else 0)
        lines.append(Line(f"deliveries {outcome}", booked, deliveries[outcome] + purged.get(outcome, 0)))
    return lines


def _deliveries(connection: Connection) -> Counter[str]:
    grouped = (
        select(delivery.c.state, batch.c.status, delivery.c.test, func.count())
        .outerjoin(batch, batch.c.id == delivery.c.batch_id)
        .group_by(delivery.c.state, batch.c.status, delivery.c.test)
    )
    counts: Counter[str] = Counter()
    for state, status, test, n in connection.execute(grouped):
        counts[where_it_stands(state, status, test=test)] += n
    return counts


def where_it_stands(state: int, batch_status: int | None, *, test: bool) -> str:
    """Name the one state that a delivery is in."""
    if state != State.OPEN:
        return _ENDS[State(state)]
    if batch_status is None:
        return "pending"
    if batch_status == BatchStatus.SETTLED:
        return tallies.TESTED if test else tallies.DELIVERED
    return "in_flight"
