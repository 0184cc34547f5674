"""Turn inbox rows into deliveries."""

import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from sqlalchemy.exc import DataError, IntegrityError

from worker import logs
from worker.event import json_text
from worker.event.received import Trust
from worker.ledger.database import Ledger, is_ledger_unavailable
from worker.ledger.delivery import deliveries
from worker.ledger.delivery.deliveries import NewDelivery
from worker.ledger.intake import debug_inputs, inbox, visitors
from worker.ledger.intake.debug_inputs import NewInput
from worker.ledger.intake.inbox import Waiting
from worker.ledger.intake.visitors import StoredVisitor, VersionConflictError
from worker.ledger.reports import tallies, usage
from worker.ledger.setup import integrations
from worker.ledger.vault import SealError, Vault
from worker.monitoring import tracing
from worker.pinterest.mapping.call import Explanation
from worker.pinterest.user_data.visitor import Visitor
from worker.pipeline.ingest import lease_holder
from worker.pipeline.ingest.accepting import OpenedEvent, UnreadableError, open_row
from worker.pipeline.ingest.cost import CostlyEventError, within_budget
from worker.pipeline.ingest.debugging import Decision, decision_of, seal_debug_input
from worker.pipeline.ingest.outcomes import BulkVisitors, Destinations, read_visitors, to_deliveries
from worker.pipeline.ingest.quotas import NewVisitors, visitor_quotas
from worker.pipeline.ingest.turns import Chunk, ChunkResult, FairScheduler, mapping_order, rows_left

log = logs.of(__name__)

# Each lost race means that another worker got its event through, so this bounds trouble, not work.
MAX_RACES = 50

# Rows are safe while the database is away: what is not done after these pauses is hinted at again later.
LEDGER_RETRY_PAUSES_SECONDS = (0.2, 0.5, 1.0, 2.0)

# A transaction writes what was mapped within this time; the rest follows, after a look at what else waits.
SLICE_SECONDS = 1.0
# Where the events that came before a visitor's event take longer than this, they have to be settled first.
STALL_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class MappedEvent:
    """Hold what becomes of one event."""

    source_id: str
    outcome: str
    deliveries: list[NewDelivery]
    keys: tuple[bytes, ...]
    trust: int = Trust.PUBLIC
    # The event itself, while its source is debugged.
    seen: NewInput | None = None


@dataclass(slots=True)
class BulkResult:
    """Gather what one bulk will write, by inbox id."""

    fates: dict[int, MappedEvent] = field(default_factory=dict)
    parked: dict[int, str] = field(default_factory=dict)
    costly: dict[int, str] = field(default_factory=dict)
    # What the slice of time was too short for, and the source of the last row that it was long enough for.
    left: list[Waiting] = field(default_factory=list)
    last_source: str | None = None
    visitors: dict[bytes, dict[str, Any]] = field(default_factory=dict)


def ingest(ledger: Ledger, ids: Sequence[int]) -> Counter[str]:
    """Map the events of these inbox rows and write down what became of them, as a rule in one transaction.

    Where mapping takes long or the queue is backed up, the run takes turns between sources (`turns`), and so
    may also work on rows that nobody named. Rows that are gone were worked on by somebody else: working twice
    changes nothing. Returns how many events and deliveries ended up under each outcome of the tallies.
    """
    outcomes: Counter[str] = Counter()
    holdings = lease_holder.process_leases(ledger)
    with holdings.hold(ledger, ids) as held:
        turns = FairScheduler(ledger, holdings, held)
        for piece in turns.pieces():
            try:
                done = _ingest_piece(ledger, piece, turns)
            except VersionConflictError:
                # What belongs to others comes back by its own hints.
                if piece.is_own:
                    raise
                done = ChunkResult()
            outcomes += done.outcomes
            turns.note(piece, done)
    return outcomes


def _ingest_piece(ledger: Ledger, piece: Chunk, turns: FairScheduler) -> ChunkResult:
    """Work on a piece; what the database refuses is found by halves, and parked."""
    try:
        return _ingest_in_time(ledger, piece, turns)
    except (IntegrityError, DataError, OverflowError, UnicodeEncodeError) as error:
        # One of them is what the database refuses: find it, and let the others through.
        if len(piece.ids) > 1:
            middle = len(piece.ids) // 2
            halves = [replace(piece, ids=ids) for ids in (piece.ids[:middle], piece.ids[middle:])]
            first, second = [_ingest_piece(ledger, half, turns) for half in halves]
            left = [*first.left, *second.left]
            return ChunkResult(
                first.outcomes + second.outcomes, left, second.last_source or first.last_source
            )
        reason = f"The ledger refused the event ({type(error).__name__})."
        log.error("event_refused_by_ledger", inbox_id=piece.ids[0], error=type(error).__name__)
        with ledger.write() as connection:
            inbox.park_event(connection, piece.ids[0], reason)
        return ChunkResult()


def _ingest_in_time(ledger: Ledger, piece: Chunk, turns: FairScheduler) -> ChunkResult:
    """Try again what a race or a database that is away prevented; give up for the sweeper to come back to."""
    for pause_seconds in LEDGER_RETRY_PAUSES_SECONDS:
        try:
            return _ingest_in_races(ledger, piece, turns)
        except Exception as error:
            if not is_ledger_unavailable(error):
                raise
            log.warning("ledger_away", events=len(piece.ids), error=type(error).__name__)
            time.sleep(pause_seconds)
    return _ingest_in_races(ledger, piece, turns)


def _ingest_in_races(ledger: Ledger, piece: Chunk, turns: FairScheduler) -> ChunkResult:
    for _ in range(MAX_RACES):
        try:
            return _ingest_once(ledger, piece, turns)
        except VersionConflictError:
            # Another worker wrote one of these visitors in the meantime, or a hand changed an integration: see
            # what was written, and map again.
            time.sleep(random.uniform(0.0, 0.02))  # noqa: S311 - no secret depends on it
    raise VersionConflictError


def _ingest_once(ledger: Ledger, piece: Chunk, turns: FairScheduler) -> ChunkResult:
    began = time.time()
    with ledger.read() as connection:
        rows = inbox.load_events(connection, piece.ids)
        if piece.is_own:
            rows = turns.admit(connection, rows)
        if not rows:
            return ChunkResult()
        # The inbox is read before the visitors: what leaves the one in between is in the other.
        earlier = inbox.informing_events(connection, _keys_of(rows), rows[-1].id)
    with ledger.read() as connection:
        known = visitors.load_visitors(connection, _keys_of([*rows, *earlier]))
        destinations = Destinations(connection, {row.source_id for row in rows})
    # What the key ring lacks is missing for every event alike, and so is nobody's fault below.
    ledger.vault.prepare()
    work = _map_all(ledger.vault, mapping_order(rows, earlier, piece.served), known, destinations)
    if work.costly:
        # In a transaction of its own: a lost race would otherwise map these events again.
        with ledger.write() as connection:
            for event_id, reason in sorted(work.costly.items()):
                inbox.park_event(connection, event_id, reason)
    outcomes = _write(ledger, work, known, _new_visitors(ledger, work, known, destinations))
    if (tracer := tracing.tracer()) is not None:
        left = {row.id for row in work.left}
        requests = [tracing.Request(row.source_id, row.received_at) for row in rows if row.id not in left]
        tracer.record("ingest.map", requests, began)
    return ChunkResult(outcomes, work.left, work.last_source)


def _keys_of(rows: Iterable[Waiting]) -> set[bytes]:
    return {key for row in rows for key in (row.anonymous_key, row.user_key) if key is not None}


def _map_all(
    vault: Vault,
    rows: Sequence[tuple[Waiting, bool]],
    known: Mapping[bytes, StoredVisitor],
    destinations: Destinations,
) -> BulkResult:
    """Go through the events and learn about visitors on the way, for as long as a slice of time lasts."""
    work = BulkResult()
    learnt = BulkVisitors(read_visitors(vault, known))
    now, began = time.time(), time.monotonic()
    for place, (row, is_own) in enumerate(rows):
        spent_seconds = time.monotonic() - began
        if spent_seconds > SLICE_SECONDS and (work.last_source or spent_seconds > STALL_SECONDS):
            work.left = rows_left(rows[place:], stalled=None if work.last_source else row.source_id)
            break
        _map_one(vault, row, is_own, work, learnt, destinations, now)
    work.visitors = {key: record.to_dict() for key, record in learnt.changed().items()}
    return work


def _map_one(
    vault: Vault,
    row: Waiting,
    is_own: bool,
    work: BulkResult,
    learnt: BulkVisitors,
    destinations: Destinations,
    now: float,
) -> None:
    try:
        one = open_row(vault, row)
        visitor = learnt.learn(one, destinations.default_country(row.source_id), keep=is_own)
        if is_own:
            map_event = partial(_map_event, one, visitor, destinations, vault, now)
            work.fates[row.id] = within_budget(map_event, lambda fate: len(fate.deliveries))
    except CostlyEventError as error:
        log.error("event_too_costly", inbox_id=row.id, seconds=round(error.seconds, 3))
        work.costly[row.id] = str(error)
    except UnreadableError as error:
        if is_own:
            work.parked[row.id] = str(error)
    except Exception as error:
        if is_ledger_unavailable(error) or isinstance(error, SealError):
            raise
        # A mistake of ours costs no event: the row stays, sealed and complete, until a version that can
        # map it. Only the kind of the exception is told: its text could hold what the visitor typed.
        log.error("mapping_error", inbox_id=row.id, error=logs.error_location(error))
        if is_own:
            work.parked[row.id] = f"The worker could not map the event ({type(error).__name__})."
    if is_own:
        work.last_source = row.source_id


def _map_event(
    one: OpenedEvent, visitor: Visitor, destinations: Destinations, vault: Vault, now: float
) -> MappedEvent:
    source_id = one.row.source_id
    debug_until = destinations.debug_until(source_id)
    debugged = debug_until > now
    made: list[NewDelivery] = []
    decisions: list[Decision] = []
    outcome = tallies.CONSUMED
    if one.event.get("type") not in ("identify", "group"):
        for target in destinations.of(source_id):
            explanation = Explanation() if debugged else None
            mapped = to_deliveries(target, one, visitor, vault, now, explanation)
            made += mapped
            if explanation is not None:
                decisions.append(decision_of(target, explanation))
        outcome = tallies.MAPPED if made else tallies.WITHOUT_DESTINATION
    seen = seal_debug_input(one, outcome, decisions, made, vault, debug_until) if debugged else None
    return MappedEvent(source_id, outcome, made, one.keys, one.row.trust, seen)


def _new_visitors(
    ledger: Ledger, work: BulkResult, known: Mapping[bytes, StoredVisitor], destinations: Destinations
) -> NewVisitors | None:
    """Return the visitors that this bulk creates, with those that a quota refuses; None where there are none."""
    new_keys = work.visitors.keys() - known.keys()
    if not new_keys:
        return None
    created = NewVisitors.of(work.fates, new_keys)
    created.refuse_beyond_quota(visitor_quotas(ledger), destinations.public_visitors_per_day)
    return created


def _write(
    ledger: Ledger, work: BulkResult, known: Mapping[bytes, StoredVisitor], created: NewVisitors | None
) -> Counter[str]:
    # Sealed before the write begins: the vault may have to write a new day's key first.
    sealed = {
        key: StoredVisitor(
            ledger.vault.seal(json_text.format_json(body), visitors.BODY),
            known[key].version if key in known else 0,
        )
        for key, body in work.visitors.items()
        if created is None or key not in created.refused
    }
    targets = {new.integration_id: new.ad_account for fate in work.fates.values() for new in fate.deliveries}
    now = time.time()
    with ledger.write() as connection:
        if not integrations.lock_targets(connection, targets):
            raise VersionConflictError
        gone = sorted(inbox.take_events(connection, list(work.fates)))
        for event_id, reason in sorted(work.parked.items()):
            inbox.park_event(connection, event_id, reason)
        mine = {key for event_id in gone for key in work.fates[event_id].keys}
        visitors.save_visitors(connection, {key: one for key, one in sealed.items() if key in mine}, now)
        fates = [work.fates[event_id] for event_id in gone]
        events = Counter(tallies.Entry(fate.source_id, 0, "", fate.outcome) for fate in fates)
        tallies.append_tallies(connection, events, now)
        dropped = debug_inputs.save_debug_inputs(
            connection, [fate.seen for fate in fates if fate.seen is not None]
        )
        used = created.usage(mine) if created is not None else Counter()
        used.update({(source_id, usage.DEBUG_INPUTS_DROPPED): n for source_id, n in dropped.items()})
        if used:
            usage.append_usage(connection, used, now)
        outcomes = deliveries.insert_deliveries(
            connection, [new for fate in fates for new in fate.deliveries], now
        )
    if outcomes[tallies.CONTRADICTED]:
        log.warning("event_ids_used_before", events=outcomes[tallies.CONTRADICTED])
    return outcomes + Counter(fate.outcome for fate in fates)
