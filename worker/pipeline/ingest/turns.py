"""Decide what an ingest run works on next, so that no source waits for another one's flood.

A run works on the ids of its own hints. Two things make it look at what else waits: its rows have waited, so
that the queue is backed up, or mapping takes longer than a slice of time. It then takes the oldest events of
the other sources between its own slices, signed before public. Their hints find them gone later.
"""

import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, cycle
from uuid import uuid4

from sqlalchemy import Connection

from worker import logs
from worker.event.received import Trust
from worker.ledger.database import Ledger, is_ledger_unavailable
from worker.ledger.intake import backlog, leases
from worker.ledger.intake.backlog import InboxGroup, WaitingGroup
from worker.ledger.intake.inbox import Waiting
from worker.pipeline.ingest.lease_holder import LEASE_AFTER_SECONDS, LEASE_SECONDS, ProcessLeases, RunLease

log = logs.of(__name__)

# Where even the newest row of a run has waited for this long, the queue is backed up.
_WAITED_SECONDS = 1.0
# What others have waited for less may be in another worker's hands at this moment.
OVERDUE_SECONDS = 0.5
# All threads of a process together look this often at most.
CHECK_INTERVAL_SECONDS = 0.25
MAX_GROUPS = 20
MAX_ROWS = 200
# What others hold is left out after the fact; a group of which so many are held has its worker already.
_MAX_HELD = 500
# A slow run reads few rows at a time: their bodies may be large, and most would be left.
_MIN_ROWS = 8


@dataclass(frozen=True, slots=True)
class Chunk:
    """Name the rows to work on in one transaction, and the sources that have had their turn already."""

    ids: Sequence[int]
    is_own: bool
    served: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """Hold what came of a piece of work: counts, the rows that are left, and the source that was mapped last."""

    outcomes: Counter[str] = field(default_factory=Counter)
    left: Sequence[Waiting] = ()
    last_source: str | None = None


def _count_by_group(rows: Sequence[Waiting]) -> Counter[InboxGroup]:
    """Count rows by group."""
    return Counter(InboxGroup(row.source_id, row.trust) for row in rows)


def flooding_groups(rows: Sequence[Waiting]) -> set[InboxGroup]:
    """Return the groups that have at least an even share of the rows."""
    counts = _count_by_group(rows)
    return {group for group, n in counts.items() if n * len(counts) >= len(rows)}


def groups_to_serve(
    heads: Sequence[WaitingGroup], flooding: Collection[InboxGroup], trust: Trust, most_rows: int
) -> tuple[list[InboxGroup], int]:
    """Return the groups to take rows of, the longest waiting first, and how many rows of each."""
    waiting = [head.group for head in heads if head.group.trust == trust and head.group not in flooding]
    chosen = waiting[: min(MAX_GROUPS, most_rows)]
    return chosen, most_rows // max(1, len(chosen))


def source_order(rows: Sequence[Waiting], served: Mapping[str, int]) -> dict[str, int]:
    """Return the place of each source: those that were served least lately first, then those with few rows.

    Within a source events go by id, because a visitor belongs to one source, and its events have an order.
    """
    counts = Counter(row.source_id for row in rows)
    order = sorted(counts, key=lambda source_id: (served.get(source_id, 0), counts[source_id], source_id))
    return {source_id: place for place, source_id in enumerate(order)}


def mapping_order(
    rows: Sequence[Waiting], earlier: Sequence[Waiting], served: Mapping[str, int]
) -> list[tuple[Waiting, bool]]:
    """Return the rows in the order in which to map them, each with whether it is ours to settle.

    Sources take turns, and the events of each go in the order of their acceptance. Somebody else's rows only
    inform: whoever works on them writes what they tell, and parks what is broken.
    """
    own = {row.id for row in rows}
    last_ids = {row.source_id: row.id for row in rows}
    informing = [row for row in earlier if row.id not in own and row.id < last_ids.get(row.source_id, 0)]
    places = source_order(rows, served)
    ordered = sorted([*rows, *informing], key=lambda row: (places[row.source_id], row.id))
    return [(row, row.id in own) for row in ordered]


def rows_left(rows: Sequence[tuple[Waiting, bool]], stalled: str | None) -> list[Waiting]:
    """Return our rows that are left, without those of a source whose earlier events alone took too long.

    Those come first by their own hints, and the sweeper names the rest again.
    """
    own = [row for row, is_own in rows if is_own]
    left = [row for row in own if row.source_id != stalled]
    if stalled is not None:
        log.warning("earlier_events_first", source_id=stalled, events=len(own) - len(left))
    return left


class FairScheduler:
    """Lead one run through its own rows and, where there is need, through those of others."""

    def __init__(self, ledger: Ledger, holdings: ProcessLeases, holding: RunLease) -> None:
        self._ledger, self._holdings, self._holding = ledger, holdings, holding
        # What is left of the run's own rows once they have been read, without bodies and in the order of ids.
        self._left: list[Waiting] = []
        # Rows that another worker holds.
        self._elsewhere: set[int] = set()
        self._flooding: set[InboxGroup] = set()
        self._heads: list[WaitingGroup] = []
        self._served: dict[str, int] = {}
        self._turns = count(1)
        self._was_admitted = self._gives_way = self._is_slow = False
        self._most_own, self._most_others = _MIN_ROWS, MAX_ROWS
        self._last_trust: int = Trust.PUBLIC

    def pieces(self) -> Iterator[Chunk]:
        """Yield what to work on; `note` has to be called after each piece."""
        yield Chunk(self._holding.ids, is_own=True)
        for step in cycle((self._public_others, self._own)):
            if not self._left:
                return
            self._look_again()
            yield from self._others(Trust.SIGNED)
            yield from step()

    def admit(self, connection: Connection, rows: list[Waiting]) -> list[Waiting]:
        """Return which of the rows just read are to be mapped now; none where others have waited, too."""
        if not self._was_admitted and rows:
            self._was_admitted = True
            self._flooding = flooding_groups(rows)
            now = time.time()
            if now - min(row.received_at for row in rows) > LEASE_AFTER_SECONDS:
                holder = self._holding.holder
                self._elsewhere = leases.leased_ids(connection, but=holder) | self._holdings.ids_but(holder)
            rows = [row for row in rows if row.id not in self._elsewhere]
            is_backlog = now - max((row.received_at for row in rows), default=now) > _WAITED_SECONDS
            if is_backlog and self._holdings.may_look(CHECK_INTERVAL_SECONDS):
                self._look(connection)
                self._gives_way = any(head.group not in self._flooding for head in self._heads)
                if self._gives_way:
                    self._left = _without_bodies(rows)
                    return []
        return [row for row in rows if row.id not in self._elsewhere]

    def note(self, piece: Chunk, done: ChunkResult) -> None:
        """Take note of what came of a piece of work."""
        if self._gives_way:
            self._gives_way = False
            return
        rows_done = len(piece.ids) - len(done.left)
        if piece.is_own:
            named = set(piece.ids)
            rest = [row for row in self._left if row.id not in named]
            self._left = sorted(rest + _without_bodies(done.left), key=lambda row: row.id)
            self._is_slow = self._is_slow or bool(done.left)
            self._most_own = max(_MIN_ROWS, 2 * rows_done)
        else:
            self._most_others = min(MAX_ROWS, max(_MIN_ROWS, 2 * rows_done))
            self._give_back(done.left)
        if done.last_source is not None:
            self._served[done.last_source] = next(self._turns)
        self._holding.set_ids([row.id for row in self._left])

    def _own(self) -> Iterator[Chunk]:
        rows = self._left
        if self._is_slow:
            # Signed and public take turns. In one piece an event would not see what an earlier one tells of its
            # visitor, unless both were mapped in the order of their ids.
            ways = sorted({row.trust for row in rows}, key=lambda trust: (trust == self._last_trust, -trust))
            self._last_trust = ways[0]
            rows = [row for row in rows if row.trust == ways[0]]
            places = source_order(rows, self._served)
            rows = sorted(rows, key=lambda row: (places[row.source_id], row.id))[: self._most_own]
        yield Chunk([row.id for row in rows], is_own=True, served=self._served)

    def _public_others(self) -> Iterator[Chunk]:
        yield from self._others(Trust.PUBLIC)

    def _others(self, trust: Trust) -> Iterator[Chunk]:
        groups, most = groups_to_serve(self._heads, self._flooding, trust, self._most_others)
        self._heads = [head for head in self._heads if head.group.trust != trust]
        if groups and (ids := self._claim(groups, most)):
            yield Chunk(ids, is_own=False)

    def _claim(self, groups: Sequence[InboxGroup], most: int) -> list[int]:
        """Lease the oldest rows of these groups, beside the run's own; return their ids."""
        own = [row.id for row in self._left]
        try:
            with self._ledger.write() as connection:
                if not leases.try_claim_lock(connection):
                    return []
                holder = self._holding.holder
                held = leases.leased_ids(connection, but=holder) | self._holdings.ids_but(holder) | set(own)
                ids = _oldest_free(connection, groups, most, held)
                if ids:
                    self._holding.was_leased([*own, *ids])
                    leases.save_lease(connection, holder, [*own, *ids], LEASE_SECONDS)
                return ids
        except Exception as error:
            # The run's own rows come next, and meet the same trouble where it is handled.
            if not is_ledger_unavailable(error):
                raise
            log.warning("ledger_away", events=0, error=type(error).__name__)
            return []

    def _give_back(self, left: Sequence[Waiting]) -> None:
        """Let the sweeper send hints for rows of others that were claimed and not worked on.

        Their own hints may have come meanwhile, to a worker that left the rows to this one.
        """
        if left:
            with self._ledger.write() as connection:
                leases.save_lease(connection, uuid4().hex, [row.id for row in left], 0.0)

    def _look_again(self) -> None:
        if self._holdings.may_look(CHECK_INTERVAL_SECONDS):
            with self._ledger.read() as connection:
                self._look(connection)

    def _look(self, connection: Connection) -> None:
        self._heads = backlog.waiting_groups(connection, time.time() - OVERDUE_SECONDS)


def _oldest_free(
    connection: Connection, groups: Sequence[InboxGroup], most: int, held: Collection[int]
) -> list[int]:
    margin = min(len(held), _MAX_HELD)
    found = backlog.oldest_ids(connection, groups, time.time() - OVERDUE_SECONDS, most + margin)
    free = ([event_id for event_id in ids if event_id not in held] for ids in found)
    return [event_id for ids in free for event_id in ids[:most]]


def _without_bodies(rows: Sequence[Waiting]) -> list[Waiting]:
    return [replace(row, body=b"") for row in rows]
