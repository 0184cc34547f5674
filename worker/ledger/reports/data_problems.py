"""Count the problems in a source's data per hour, and keep the newest examples."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, case, delete, func, or_, select, text, union_all

from worker.event.problems import FoundProblem
from worker.ledger.delivery.new_deliveries import NewDelivery
from worker.ledger.reports import tallies
from worker.ledger.reports.tallies import PROBLEM, Entry
from worker.ledger.rows import insert_all
from worker.ledger.schema import COUNTS_EVENTS, State, delivery, problem_example, tally

# Examples of one source and kind: each has another event name. Callers choose the names.
_MOST_EXAMPLES = 10
ALL_EVENTS = ""
# As literal text: SQLite matches a partial index by the text of its condition.
_EACH_INDEX = tuple(text(f"delivery.state {sign} {State.OPEN.value}") for sign in ("=", "!="))


class ProblemCount(NamedTuple):
    """Count events of one source and Pinterest event name, since each of several hours.

    ``problem`` is the kind of problem that they have; empty for all events that were mapped.
    """

    source_id: str
    problem: str
    event_name: str
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Share:
    """Count the events with a problem among all events of the same name."""

    event_name: str
    n: int
    events: int

    @property
    def share(self) -> float:
        """Return the share, 0 to 1."""
        return min(1.0, self.n / self.events) if self.events else 0.0


def shares_by_kind(counts: Iterable[ProblemCount], place: int) -> dict[tuple[str, str], dict[str, Share]]:
    """Return the shares by event name, for each source and kind, of the counts at one place.

    Under `ALL_EVENTS` are all names together, with the events that have none.
    """
    events: Counter[tuple[str, str]] = Counter()
    problems: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for count in counts:
        # In a fixed order: of two equal shares, the one of all events is reported.
        for name in dict.fromkeys((ALL_EVENTS, count.event_name)):
            if count.problem:
                problems[count.source_id, count.problem][name] += count.counts[place]
            else:
                events[count.source_id, name] += count.counts[place]
    return {
        key: {name: Share(name, n, events[key[0], name]) for name, n in by_name.items()}
        for key, by_name in problems.items()
    }


@dataclass(frozen=True, slots=True)
class ProblemExample:
    """Hold the newest event of one name with a problem. ``sentence`` may be empty; ``address`` is a private one."""

    problem: str
    event_name: str
    delivery_id: int | None
    at: float
    sentence: str
    address: str | None


def append_problems(connection: Connection, events: Iterable[Sequence[NewDelivery]], now: float) -> None:
    """Count the problems of inserted events, each given by its deliveries, once per event and kind."""
    counts: Counter[Entry] = Counter()
    names: dict[tuple[str, str], set[str]] = defaultdict(set)
    examples: dict[tuple[str, str, str], tuple[NewDelivery, FoundProblem]] = {}
    for deliveries in events:
        by_kind = {problem.kind: (new, problem) for new in reversed(deliveries) for problem in new.problems}
        for kind, (new, problem) in by_kind.items():
            counts[Entry(new.source_id, 0, deliveries[0].event_name, PROBLEM + kind)] += 1
            shown_names = names[new.source_id, kind]
            if len(shown_names) < _MOST_EXAMPLES or new.source_name in shown_names:
                shown_names.add(new.source_name)
                examples[new.source_id, kind, new.source_name] = new, problem
    tallies.append_tallies(connection, counts, now)
    numbers = _newest_delivery_ids(connection, {new.event_id for new, _ in examples.values()})
    rows = [
        {
            "source_id": new.source_id,
            "problem": str(problem.kind),
            "event_name": new.source_name,
            "delivery_id": numbers.get((new.event_id, new.integration_id)),
            "at": now,
            "sentence": problem.sentence,
            "address": problem.address,
        }
        for new, problem in examples.values()
    ]
    insert_all(connection, problem_example, rows)


def _newest_delivery_ids(connection: Connection, event_ids: Collection[str]) -> dict[tuple[str, int], int]:
    """Return the newest delivery of each of a few events, by event id and integration number."""
    with_id = select(delivery.c.event_id, delivery.c.integration_id, delivery.c.id).where(
        delivery.c.event_id.in_(event_ids)
    )
    rows = connection.execute(union_all(*map(with_id.where, _EACH_INDEX)))
    return {(event_id, number): delivery_id for event_id, number, delivery_id in sorted(rows)}


def count_problems(
    connection: Connection, since_hours: Sequence[int], source_id: str | None = None
) -> list[ProblemCount]:
    """Return the counts of a source, or of all sources, since each of some hours (counted since 1970)."""
    keys = (tally.c.source_id, tally.c.outcome, tally.c.event_name)
    sums = [func.sum(case((tally.c.hour >= since, tally.c.n), else_=0)) for since in since_hours]
    query = select(*keys, *sums).where(
        COUNTS_EVENTS,
        tally.c.hour >= min(since_hours),
        or_(tally.c.outcome == tallies.MAPPED, tally.c.outcome.startswith(PROBLEM)),
    )
    if source_id is not None:
        query = query.where(tally.c.source_id == source_id)
    return [
        ProblemCount(row[0], row[1].removeprefix(PROBLEM) if row[1] != tallies.MAPPED else "", row[2], n)
        for row in connection.execute(query.group_by(*keys))
        if any(n := tuple(int(count) for count in row[3:]))
    ]


def newest_examples(connection: Connection, source_id: str) -> list[ProblemExample]:
    """Return the newest example of each kind and event name, the newest first."""
    newest = (
        select(func.max(problem_example.c.id))
        .where(problem_example.c.source_id == source_id)
        .group_by(problem_example.c.problem, problem_example.c.event_name)
    )
    query = select(
        problem_example.c.problem,
        problem_example.c.event_name,
        problem_example.c.delivery_id,
        problem_example.c.at,
        problem_example.c.sentence,
        problem_example.c.address,
    ).where(problem_example.c.id.in_(newest))
    return [ProblemExample(*row) for row in connection.execute(query.order_by(problem_example.c.id.desc()))]


def drop_older_examples(connection: Connection, limit: int) -> int:
    """Keep the newest example of each event name, and few names for each source and kind. Returns how many went."""
    kind = (problem_example.c.source_id, problem_example.c.problem)
    newest = select(func.max(problem_example.c.id)).group_by(*kind, problem_example.c.event_name)
    older_ids = select(problem_example.c.id).where(problem_example.c.id.not_in(newest)).limit(limit)
    ids = list(connection.scalars(older_ids))
    if not ids:
        place = func.row_number().over(partition_by=kind, order_by=problem_example.c.id.desc())
        ranked = select(problem_example.c.id, place.label("place")).subquery()
        excess_ids = select(ranked.c.id).where(ranked.c.place > _MOST_EXAMPLES).limit(limit)
        ids = list(connection.scalars(excess_ids))
    return connection.execute(delete(problem_example).where(problem_example.c.id.in_(ids))).rowcount
