"""Report which identifiers events had, and how many events were late, incomplete or invalid."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, or_, select

from worker.ledger.reports.tallies import PROBLEM, QUALITY
from worker.ledger.rows import insert_all
from worker.ledger.schema import integration, tally

# Words that are stored with the identifiers.
LATE, COMPUTED, INVALID = "late", "computed", "invalid="
# Marks the count of a single word; other rows count a combination of words.
_ALONE, _VALID = "=", "valid"
# Callers choose an event's identifiers. With more combinations per hour than this, words are counted singly.
_MAX_COMBINATIONS = 64


class _QualityKey(NamedTuple):
    """Name a group. ``from_hour`` counts hours since 1970."""

    integration_id: str | None
    event_name: str
    from_hour: int


@dataclass(slots=True)
class Quality:
    """Hold the match quality of one event name. Copies of the same event count once.

    ``identifiers`` counts the valid events that had each; ``invalid`` counts the others by class.
    """

    valid: int = 0
    late: int = 0
    computed: int = 0
    identifiers: Counter[str] = field(default_factory=Counter)
    invalid: Counter[str] = field(default_factory=Counter)

    @property
    def events(self) -> int:
        return self.valid + self.invalid.total()

    def share(self, identifier: str) -> float:
        """Return the share of valid events that had an identifier, 0 to 1."""
        return self.identifiers[identifier] / self.valid if self.valid else 0.0

    def __add__(self, other: "Quality") -> "Quality":
        """Return both together."""
        return Quality(
            self.valid + other.valid,
            self.late + other.late,
            self.computed + other.computed,
            self.identifiers + other.identifiers,
            self.invalid + other.invalid,
        )

    def add(self, words: list[str], n: int) -> None:
        """Count events that have all of these words."""
        if words[0].startswith(INVALID):
            self.invalid[words[0].removeprefix(INVALID)] += n
            return
        if words[0].startswith(_ALONE):
            self._add_word(words[0].removeprefix(_ALONE), n)
            return
        for word in (_VALID, *words):
            self._add_word(word, n)

    def _add_word(self, word: str, n: int) -> None:
        if word == _VALID:
            self.valid += n
        elif word == LATE:
            self.late += n
        elif word == COMPUTED:
            self.computed += n
        else:
            self.identifiers[word] += n


def quality_since(
    connection: Connection,
    since_hour: int,
    integration_number: int | None = None,
    step_hours: int | None = None,
) -> dict[_QualityKey, Quality]:
    """Return the quality of events accepted since an hour, by integration and Pinterest's event name.

    ``step_hours`` also groups by time; the first step may be partial.
    """
    columns = [tally.c.integration_id, integration.c.public_id, tally.c.event_name, tally.c.outcome]
    step = tally.c.hour - tally.c.hour % step_hours if step_hours else func.min(tally.c.hour)
    # Grouped by the column's label: PostgreSQL treats two bound numbers as two different steps.
    groups = [*columns, "from_hour"] if step_hours else columns
    query = (
        select(*columns, step.label("from_hour"), func.sum(tally.c.n).label("n"))
        .outerjoin(integration, integration.c.id == tally.c.integration_id)
        .where(tally.c.hour >= since_hour, tally.c.outcome.startswith(QUALITY))
        .group_by(*groups)
        .order_by(tally.c.integration_id, tally.c.event_name)
    )
    if integration_number is not None:
        query = query.where(tally.c.integration_id == integration_number)
    qualities: dict[_QualityKey, Quality] = {}
    for row in connection.execute(query):
        from_hour = max(int(row.from_hour), since_hour) if step_hours else since_hour
        key = _QualityKey(row.public_id, row.event_name, from_hour)
        qualities.setdefault(key, Quality()).add(row.outcome.removeprefix(QUALITY).split(","), int(row.n))
    return dict(sorted(qualities.items(), key=lambda item: (item[0].integration_id or "", *item[0][1:])))


def split_combinations(connection: Connection, since_hour: int, limit: int) -> int:
    """Count words singly in hours with too many combinations of identifiers. Returns how many rows that saved.

    `quality_since` returns the same as before. Changes at most ``limit`` groups of hour, integration and event name.
    """
    keys = (tally.c.hour, tally.c.source_id, tally.c.integration_id, tally.c.event_name)
    is_combination = (
        tally.c.outcome.startswith(QUALITY),
        ~tally.c.outcome.startswith(QUALITY + _ALONE),
        ~tally.c.outcome.startswith(QUALITY + INVALID),
    )
    crowded = (
        select(*keys)
        .where(tally.c.hour >= since_hour, *is_combination)
        .group_by(*keys)
        .having(func.count(tally.c.outcome.distinct()) > _MAX_COMBINATIONS)
        .limit(limit)
    )
    saved = 0
    for row in connection.execute(crowded).all():
        group = [key == value for key, value in zip(keys, row, strict=True)]
        statement = delete(tally).where(*group, *is_combination).returning(tally.c.outcome, tally.c.n)
        removed_rows = connection.execute(statement).all()
        words = _words_alone(removed_rows)
        values = row._asdict()
        insert_all(connection, tally, [values | {"outcome": word, "n": n} for word, n in words.items()])
        saved += len(removed_rows) - len(words)
    return saved


def _words_alone(combinations: Iterable[tuple[str, int]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for outcome, n in combinations:
        for word in (_VALID, *outcome.removeprefix(QUALITY).split(",")):
            counts[f"{QUALITY}{_ALONE}{word}"] += n
    return counts


def quality_ids_before(connection: Connection, before_hour: int, limit: int) -> list[int]:
    """Return ids of counts of qualities and problems before an hour. The books do not need them."""
    is_old = or_(tally.c.outcome.startswith(QUALITY), tally.c.outcome.startswith(PROBLEM))
    query = select(tally.c.id).where(tally.c.hour < before_hour, is_old)
    return list(connection.scalars(query.limit(limit)))


def delete_quality(connection: Connection, ids: list[int]) -> int:
    """Delete quality counts. Returns how many."""
    return connection.execute(delete(tally).where(tally.c.id.in_(ids))).rowcount
