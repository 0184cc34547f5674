"""Decide what an ingest run works on next, so that a flood from one source does not delay the others.

A run works on the ids of its own hints. When its rows have waited (the queue is backed up), or mapping takes
longer than a time slice, it also takes the oldest events of other sources between its own slices, signed before
public. Hints for those events arrive later and do nothing.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, cycle
from uuid import uuid4

from sqlalchemy import Connection

from worker import logs
from worker.event.received import Trust
from worker.ledger.database import Ledger, is_ledger_unavailable
from worker.ledger.intake import leases
from worker.ledger.intake.inbox import Waiting
from worker.ledger.intake.leases import InboxGroup, WaitingGroup
from worker.pipeline.ingest.lease_holder import LEASE_AFTER_SECONDS, LEASE_SECONDS, ProcessLeases, RunLease

log = logs.of(__name__)

# The queue is backed up when even the newest row of a run has waited this long.
_WAITED_SECONDS = 1.0
# Newer rows may be at another worker right now.
_OVERDUE_SECONDS = 0.5
# At most one backlog check of all threads of a process in this time.
_CHECK_INTERVAL_SECONDS = 0.25
_MAX_GROUPS = 20
_MAX_ROWS = 200
# Held rows are filtered after the query; a group with this many held rows has its worker.
_MAX_HELD = 500
# Slow runs read few rows at a time, because bodies may be large and most would be left.
_MIN_ROWS = 8


@dataclass(frozen=True, slots=True)
class Chunk:
    """Hold the rows of one transaction, and when each source had its last turn."""

    ids: Sequence[int]
    is_own: bool
    served: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """Hold the result of a chunk: counts, rows that are left, the source mapped last."""

    outcomes: Counter[str] = field(default_factory=Counter)
    left: Sequence[Waiting] = ()
    last_source: str | None = None


def _count_by_group(rows: Sequence[Waiting]) -> Counter[InboxGroup]:
    """Count rows by group."""
    return Counter(InboxGroup(row.source_id, row.trust) for row in rows)


def _flooding_groups(rows: Sequence[Waiting]) -> set[InboxGroup]:
    """Return the groups with at least an equal share of the rows."""
    counts = _count_by_group(rows)
    return {group for group, n in counts.items() if n * len(counts) >= len(rows)}


def _groups_to_serve(
    heads: Sequence[WaitingGroup], flooding: Collection[InboxGroup], trust: Trust, most_rows: int
) -> tuple[list[InboxGroup], int]:
    """Return the groups to take rows from, oldest first, and the number of rows for each."""
    candidates = [head.group for head in heads if head.group.trust == trust and head.group not in flooding]
    groups = candidates[: min(_MAX_GROUPS, most_rows)]
    return groups, most_rows // max(1, len(groups))


def _source_order(rows: Sequence[Waiting], served: Mapping[str, int]) -> dict[str, int]:
    """Return the rank of each source: least recently served first, then fewest rows.

    Within a source events keep the order of their ids, because visitors belong to one source.
    """
    counts = Counter(row.source_id for row in rows)
    order = sorted(counts, key=lambda source_id: (served.get(source_id, 0), counts[source_id], source_id))
    return {source_id: place for place, source_id in enumerate(order)}


def mapping_order(
    rows: Sequence[Waiting], earlier: Sequence[Waiting], served: Mapping[str, int]
) -> list[tuple[Waiting, bool]]:
    """Return the rows in the order of mapping, each with whether this run settles it.

    Sources take turns; the events of each keep the order of acceptance. Earlier rows of other runs only inform
    about visitors: their own run writes visitors and parks broken rows.
    """
    own_ids = {row.id for row in rows}
    last_ids = {row.source_id: row.id for row in rows}
    informing = [row for row in earlier if row.id not in own_ids and row.id < last_ids.get(row.source_id, 0)]
    places = _source_order(rows, served)
    ordered = sorted([*rows, *informing], key=lambda row: (places[row.source_id], row.id))
    return [(row, row.id in own_ids) for row in ordered]


def rows_left(rows: Sequence[tuple[Waiting, bool]], stalled: str | None) -> list[Waiting]:
    """Return the own rows that are left, without those of a source whose earlier events took too long.

    Hints settle those earlier events first; the sweeper sends hints for the rest.
    """
    own_rows = [row for row, is_own in rows if is_own]
    remaining = [row for row in own_rows if row.source_id != stalled]
    if stalled is not None:
        log.warning("earlier_events_first", source_id=stalled, events=len(own_rows) - len(remaining))
    return remaining


class FairScheduler:
    """Choose the chunks of one run: its own rows and, when needed, rows of other runs."""

    def __init__(self, ledger: Ledger, process_leases: ProcessLeases, lease: RunLease) -> None:
        self._ledger, self._leases, self._lease = ledger, process_leases, lease
        # What is left of the run's own rows once they have been read, without bodies and in the order of ids.
        self._left: list[Waiting] = []
        # Rows that another worker holds.
        self._held_elsewhere: set[int] = set()
        self._flooding: set[InboxGroup] = set()
        self._heads: list[WaitingGroup] = []
        self._served: dict[str, int] = {}
        self._turns = count(1)
        self._was_admitted = self._gives_way = self._is_slow = False
        self._most_own, self._most_others = _MIN_ROWS, _MAX_ROWS
        self._last_trust: int = Trust.PUBLIC

    def chunks(self) -> Iterator[Chunk]:
        """Yield chunks; call `note` after each."""
        yield Chunk(self._lease.ids, is_own=True)
        for step in cycle((self._public_others, self._own)):
            if not self._left:
                return
            self._check_backlog()
            yield from self._others(Trust.SIGNED)
            yield from step()

    def admit(self, connection: Connection, rows: list[Waiting]) -> list[Waiting]:
        """Return the rows to map now; none when other sources have waited as well."""
        if not self._was_admitted and rows:
            self._was_admitted = True
            self._flooding = _flooding_groups(rows)
            now = self._ledger.now()
            if now - min(row.received_at for row in rows) > LEASE_AFTER_SECONDS:
                holder = self._lease.holder
                self._held_elsewhere = leases.leased_ids(connection, but=holder) | self._leases.ids_of_others(
                    holder
                )
            rows = [row for row in rows if row.id not in self._held_elsewhere]
            is_backlog = now - max((row.received_at for row in rows), default=now) > _WAITED_SECONDS
            if is_backlog and self._leases.may_check(_CHECK_INTERVAL_SECONDS):
                self._read_heads(connection)
                self._gives_way = any(head.group not in self._flooding for head in self._heads)
                if self._gives_way:
                    self._left = _without_bodies(rows)
                    return []
        return [row for row in rows if row.id not in self._held_elsewhere]

    def note(self, chunk: Chunk, result: ChunkResult) -> None:
        """Record the result of a chunk."""
        if self._gives_way:
            self._gives_way = False
            return
        rows_done = len(chunk.ids) - len(result.left)
        if chunk.is_own:
            chunk_ids = set(chunk.ids)
            other_rows = [row for row in self._left if row.id not in chunk_ids]
            self._left = sorted(other_rows + _without_bodies(result.left), key=lambda row: row.id)
            self._is_slow = self._is_slow or bool(result.left)
            self._most_own = max(_MIN_ROWS, 2 * rows_done)
        else:
            self._most_others = min(_MAX_ROWS, max(_MIN_ROWS, 2 * rows_done))
            self._give_back(result.left)
        if result.last_source is not None:
            self._served[result.last_source] = next(self._turns)
        self._lease.set_ids([row.id for row in self._left])

    def _own(self) -> Iterator[Chunk]:
        rows = self._left
        if self._is_slow:
            # Signed and public rows take turns: in one chunk an event sees the visitor data of earlier events only
            # in the order of ids.
            trusts = sorted(
                {row.trust for row in rows}, key=lambda trust: (trust == self._last_trust, -trust)
            )
            self._last_trust = trusts[0]
            rows = [row for row in rows if row.trust == trusts[0]]
            places = _source_order(rows, self._served)
            rows = sorted(rows, key=lambda row: (places[row.source_id], row.id))[: self._most_own]
        yield Chunk([row.id for row in rows], is_own=True, served=self._served)

    def _public_others(self) -> Iterator[Chunk]:
        yield from self._others(Trust.PUBLIC)

    def _others(self, trust: Trust) -> Iterator[Chunk]:
        groups, limit = _groups_to_serve(self._heads, self._flooding, trust, self._most_others)
        self._heads = [head for head in self._heads if head.group.trust != trust]
        if groups and (ids := self._claim(groups, limit)):
            yield Chunk(ids, is_own=False)

    def _claim(self, groups: Sequence[InboxGroup], limit: int) -> list[int]:
        """Lease the oldest rows of these groups in addition to the own rows; return their ids."""
        own = [row.id for row in self._left]
        try:
            with self._ledger.write() as connection:
                if not leases.try_claim_lock(connection):
                    return []
                holder = self._lease.holder
                held = (
                    leases.leased_ids(connection, but=holder) | self._leases.ids_of_others(holder) | set(own)
                )
                ids = _oldest_free(connection, groups, limit, held, self._ledger.now())
                if ids:
                    self._lease.was_leased([*own, *ids])
                    leases.save_lease(connection, holder, [*own, *ids], LEASE_SECONDS)
                return ids
        except Exception as error:
            # The own rows come next; their chunk handles the outage.
            if not is_ledger_unavailable(error):
                raise
            log.warning("ledger_away", events=0, error=type(error).__name__)
            return []

    def _give_back(self, rows: Sequence[Waiting]) -> None:
        """Let the sweeper send hints for claimed rows that were not processed.

        Their own hints may have reached a worker that skipped them because of this lease.
        """
        if rows:
            with self._ledger.write() as connection:
                leases.save_lease(connection, uuid4().hex, [row.id for row in rows], 0.0)

    def _check_backlog(self) -> None:
        if self._leases.may_check(_CHECK_INTERVAL_SECONDS):
            with self._ledger.read() as connection:
                self._read_heads(connection)

    def _read_heads(self, connection: Connection) -> None:
        self._heads = leases.waiting_groups(connection, self._ledger.now() - _OVERDUE_SECONDS)


def _oldest_free(
    connection: Connection, groups: Sequence[InboxGroup], limit: int, held_ids: Collection[int], now: float
) -> list[int]:
    margin = min(len(held_ids), _MAX_HELD)
    id_lists = leases.oldest_ids(connection, groups, now - _OVERDUE_SECONDS, limit + margin)
    free_lists = ([event_id for event_id in ids if event_id not in held_ids] for ids in id_lists)
    return [event_id for ids in free_lists for event_id in ids[:limit]]


def _without_bodies(rows: Sequence[Waiting]) -> list[Waiting]:
    return [row._replace(body=b"") for row in rows]
