"""Turn inbox rows into deliveries."""

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy.exc import DataError, IntegrityError

from worker import logs
from worker.event import json_text
from worker.event.consent.consent import renews_consent
from worker.event.received import Trust
from worker.ledger.database import Ledger, is_ledger_unavailable
from worker.ledger.delivery import new_deliveries
from worker.ledger.delivery.new_deliveries import NewDelivery
from worker.ledger.intake import debug_inputs, inbox, visitors
from worker.ledger.intake.debug_inputs import NewInput
from worker.ledger.intake.inbox import Waiting
from worker.ledger.intake.visitors import StoredVisitor, VersionConflictError
from worker.ledger.reports import data_problems, tallies
from worker.ledger.setup import integrations
from worker.ledger.vault import MissingKeyError, SealError, Vault
from worker.monitoring import tracing
from worker.pinterest.mapping.call import Explanation
from worker.pinterest.mapping.mapping import Outcome
from worker.pinterest.user_data.visitor import Visitor
from worker.pipeline.ingest import lease_holder, order_clicks
from worker.pipeline.ingest.accepting import OpenedEvent, UnreadableError, open_row, open_rows
from worker.pipeline.ingest.cpu_budget import CostlyEventError, within_budget
from worker.pipeline.ingest.debugging import Decision, decision_of, seal_debug_input
from worker.pipeline.ingest.fair_scheduler import Chunk, ChunkResult, FairScheduler, mapping_order, rows_left
from worker.pipeline.ingest.order_clicks import ClickIdsOfOrders
from worker.pipeline.ingest.outcomes import (
    BulkVisitors,
    Destinations,
    map_together,
    read_visitors,
    to_deliveries,
)
from worker.pipeline.ingest.quotas import NewVisitors, visitor_quotas
from worker.pipeline.ingest.suppression import Lift, Named, Screening, lift, named_by, screen
from worker.pipeline.missing_key import report_missing_key

log = logs.of(__name__)

# Each lost race means that another worker made progress.
_MAX_RACES = 50

# Rows are safe while the database is away; after these pauses the sweeper sends new hints.
_LEDGER_RETRY_PAUSES_SECONDS = (0.2, 0.5, 1.0, 2.0)

# A transaction writes the events mapped within this time; the rest follows after a check of the backlog.
_SLICE_SECONDS = 1.0
# When earlier events of the visitors take longer than this, they have to be settled first.
_STALL_SECONDS = 5.0


class _MappedEvent(NamedTuple):
    """Hold the result of mapping one event."""

    source_id: str
    outcome: str
    deliveries: list[NewDelivery]
    keys: tuple[bytes, ...]
    trust: int = Trust.PUBLIC
    # The event itself, while its source is debugged.
    debug_input: NewInput | None = None
    # Integrations that could not map it, with the reasons. The event is parked for these alone.
    parked_for: Mapping[int, str] = MappingProxyType({})
    # Whom the event is about, if someone is suppressed.
    named: Named | None = None
    # Maps a signed event without what only public calls said of its visitor.
    from_signed: Callable[[], "_MappedEvent"] | None = None

    @property
    def event_name(self) -> str:
        """Return Pinterest's name for the event, or "" without one."""
        return self.deliveries[0].event_name if self.deliveries else ""


@dataclass(slots=True)
class _BulkResult:
    """Collect the writes of one bulk, by inbox id."""

    mapped: dict[int, _MappedEvent] = field(default_factory=dict)
    parked: dict[int, str] = field(default_factory=dict)
    costly: dict[int, str] = field(default_factory=dict)
    # Rows beyond the time slice, and the source of the last row within it.
    left: list[Waiting] = field(default_factory=list)
    last_source: str | None = None
    visitors: dict[bytes, dict[str, Any]] = field(default_factory=dict)


def ingest(ledger: Ledger, ids: Sequence[int]) -> Counter[str]:
    """Map the events of these inbox rows and write the results, normally in one transaction.

    When mapping takes long or the queue is backed up, the run takes turns between sources (`fair_scheduler`) and
    may also process other rows. Safe to repeat: rows that another worker finished are skipped. Returns the number
    of events and deliveries per outcome of the tallies.
    """
    outcomes: Counter[str] = Counter()
    process_leases = lease_holder.process_leases(ledger)
    with process_leases.hold(ledger, ids) as lease:
        turns = FairScheduler(ledger, process_leases, lease)
        for chunk in turns.chunks():
            try:
                result = _ingest_chunk(ledger, chunk, turns)
            except MissingKeyError:
                report_missing_key(ledger)
                raise
            except VersionConflictError:
                # Rows of other runs have hints of their own.
                if chunk.is_own:
                    raise
                result = ChunkResult()
            outcomes += result.outcomes
            turns.note(chunk, result)
    return outcomes


def _ingest_chunk(ledger: Ledger, chunk: Chunk, turns: FairScheduler) -> ChunkResult:
    """Process a chunk; find an event that the database refuses by halving, and park it."""
    try:
        return _ingest_in_time(ledger, chunk, turns)
    except (IntegrityError, DataError, OverflowError, UnicodeEncodeError) as error:
        if len(chunk.ids) > 1:
            middle = len(chunk.ids) // 2
            halves = [replace(chunk, ids=ids) for ids in (chunk.ids[:middle], chunk.ids[middle:])]
            first, second = [_ingest_chunk(ledger, half, turns) for half in halves]
            remaining = [*first.left, *second.left]
            return ChunkResult(
                first.outcomes + second.outcomes, remaining, second.last_source or first.last_source
            )
        reason = f"The ledger refused the event ({type(error).__name__})."
        log.error("event_refused_by_ledger", inbox_id=chunk.ids[0], error=type(error).__name__)
        with ledger.write() as connection:
            inbox.park_event(connection, chunk.ids[0], reason)
        return ChunkResult()


def _ingest_in_time(ledger: Ledger, chunk: Chunk, turns: FairScheduler) -> ChunkResult:
    """Retry after races and outages of the database, then leave the rows to the sweeper."""
    for pause_seconds in _LEDGER_RETRY_PAUSES_SECONDS:
        try:
            return _ingest_in_races(ledger, chunk, turns)
        except Exception as error:
            if not is_ledger_unavailable(error):
                raise
            log.warning("ledger_away", events=len(chunk.ids), error=type(error).__name__)
            time.sleep(pause_seconds)
    return _ingest_in_races(ledger, chunk, turns)


def _ingest_in_races(ledger: Ledger, chunk: Chunk, turns: FairScheduler) -> ChunkResult:
    for _ in range(_MAX_RACES):
        try:
            return _ingest_once(ledger, chunk, turns)
        except VersionConflictError:
            # Another worker wrote one of these visitors, or an operator changed an integration: read again.
            time.sleep(random.uniform(0.0, 0.02))  # noqa: S311 - no secret depends on it
    raise VersionConflictError


def _ingest_once(ledger: Ledger, chunk: Chunk, turns: FairScheduler) -> ChunkResult:
    start = time.time()
    with ledger.read() as connection:
        rows = inbox.load_events(connection, chunk.ids)
        if chunk.is_own:
            rows = turns.admit(connection, rows)
        if not rows:
            return ChunkResult()
        # Read the inbox before the visitors: what leaves the inbox in between is in the visitors.
        earlier = inbox.informing_events(connection, _keys_of(rows), rows[-1].id)
    # A missing key affects all events, so fail here instead of parking them.
    ledger.vault.prepare()
    signed, _ = open_rows(ledger.vault, (row for row in rows if row.trust == Trust.SIGNED))
    orders = order_clicks.order_keys(ledger.vault, signed)
    with ledger.read() as connection:
        stored = visitors.load_visitors(connection, _keys_of([*rows, *earlier]))
        earliest = min(row.received_at for row in rows)
        destinations = Destinations(connection, {row.source_id for row in rows}, earliest)
        clicks = order_clicks.click_ids_of_orders(connection, ledger.vault, orders)
    ordered = mapping_order(rows, earlier, chunk.served)
    events = {event.row.id: event for event in signed}
    del signed
    bulk = _map_all(ledger.vault, ordered, events, stored, destinations, clicks, ledger.now())
    if bulk.costly:
        # In a transaction of its own: a lost race would otherwise map these events again.
        with ledger.write() as connection:
            for event_id, reason in sorted(bulk.costly.items()):
                inbox.park_event(connection, event_id, reason)
    screening = _screen(ledger, bulk) if destinations.screens else Screening()
    _leave_out(screening, bulk)
    new_visitors = _new_visitors(ledger, bulk, stored, destinations)
    outcomes = _write(ledger, bulk, stored, new_visitors, screening.lifted)
    if (tracer := tracing.tracer()) is not None:
        ids_left = {row.id for row in bulk.left}
        requests = [tracing.Request(row.source_id, row.received_at) for row in rows if row.id not in ids_left]
        tracer.record("ingest.map", requests, start)
    return ChunkResult(outcomes, bulk.left, bulk.last_source)


def _screen(ledger: Ledger, bulk: _BulkResult) -> Screening:
    """Compare a bulk with the suppressed persons.

    Anyone can link a customer to a suppressed person by a public call: a signed event is then kept without what
    public calls said.
    """
    screening = screen(ledger, bulk.mapped, bulk.visitors)
    ways = {event_id: bulk.mapped[event_id].from_signed for event_id in screening.events}
    facts = {event_id: map_again() for event_id, map_again in ways.items() if map_again is not None}
    if not facts:
        return screening
    held_ids = screen(ledger, facts, {}).events
    bulk.mapped |= {event_id: event for event_id, event in facts.items() if event_id not in held_ids}
    return replace(screening, events=screening.events - (facts.keys() - held_ids))


def _leave_out(screening: Screening, bulk: _BulkResult) -> None:
    """Keep nothing of the events and visitors of suppressed persons."""
    for event_id in screening.events:
        event = bulk.mapped[event_id]
        bulk.mapped[event_id] = _MappedEvent(event.source_id, tallies.EVENT_ERASED, [], ())
    for key in screening.visitors:
        del bulk.visitors[key]
    bulk.visitors |= screening.signed_visitors


def _keys_of(rows: Iterable[Waiting]) -> set[bytes]:
    return {key for row in rows for key in (row.anonymous_key, row.user_key) if key is not None}


def _map_all(
    vault: Vault,
    rows: Sequence[tuple[Waiting, bool]],
    events: dict[int, OpenedEvent],
    stored: Mapping[bytes, StoredVisitor],
    destinations: Destinations,
    clicks: ClickIdsOfOrders,
    now: float,
) -> _BulkResult:
    """Map events and update their visitors for the length of a time slice.

    Rows that are not in ``events`` are opened here; those in it are removed from it.
    """
    bulk = _BulkResult()
    bulk_visitors = BulkVisitors(read_visitors(vault, stored))
    start = time.monotonic()
    place = 0
    for block in _blocks(rows):
        spent_seconds = time.monotonic() - start
        if spent_seconds > _SLICE_SECONDS and (bulk.last_source or spent_seconds > _STALL_SECONDS):
            bulk.left = rows_left(rows[place:], stalled=None if bulk.last_source else block[0][0].source_id)
            break
        place += len(block)
        learned = _learn(vault, block, events, bulk, bulk_visitors, destinations)
        _map_learned(vault, learned, bulk, destinations, clicks, now)
        own_sources = [row.source_id for row, is_own in block if is_own]
        bulk.last_source = own_sources[-1] if own_sources else bulk.last_source
    bulk.visitors = {key: record.to_dict() for key, record in bulk_visitors.changed().items()}
    return bulk


# Events are mapped together, because the processor repeats a step faster than it changes between steps. A block
# grows while blocks take less than this; a large event is mapped alone.
_FIRST_BLOCK, _LARGEST_BLOCK, _BLOCK_SECONDS, _LARGEST_BODY_TOGETHER = 8, 64, 0.1, 8192
# A block that takes longer to map has an event that is to be found.
_MAX_SECONDS_TOGETHER = 0.5


def _blocks(rows: Sequence[tuple[Waiting, bool]]) -> Iterator[Sequence[tuple[Waiting, bool]]]:
    """Yield the rows in blocks, as large as the time that the blocks before took allows."""
    start, size = 0, _FIRST_BLOCK
    while start < len(rows):
        end = start + 1
        if len(rows[start][0].body) <= _LARGEST_BODY_TOGETHER:
            while end < min(start + size, len(rows)) and len(rows[end][0].body) <= _LARGEST_BODY_TOGETHER:
                end += 1
        began = time.monotonic()
        yield rows[start:end]
        size = min(2 * size, _LARGEST_BLOCK) if time.monotonic() - began < _BLOCK_SECONDS else 1
        start = end


class _Learned(NamedTuple):
    """Hold an event with its visitor; ``facts`` is the visitor without what only public calls said."""

    opened: OpenedEvent
    visitor: Visitor
    facts: Visitor


def _learn(
    vault: Vault,
    block: Sequence[tuple[Waiting, bool]],
    events: dict[int, OpenedEvent],
    bulk: _BulkResult,
    bulk_visitors: BulkVisitors,
    destinations: Destinations,
) -> list[_Learned]:
    """Open rows and update their visitors; return the own ones."""
    opened_rows: list[tuple[OpenedEvent, bool]] = []
    for row, is_own in block:
        try:
            opened = events.pop(row.id) if row.id in events else open_row(vault, row)
            if groups := destinations.consent_groups(row.source_id):
                opened = opened._replace(consent_groups=groups)
            opened_rows.append((opened, is_own))
        except Exception as error:
            if _concerns_bulk(error):
                raise
            _note_error(error, row, bulk, is_own=is_own)
    learned = []
    for opened, is_own in opened_rows:
        source_id = opened.row.source_id
        try:
            visitor = bulk_visitors.learn(opened, destinations.default_country(source_id), keep=is_own)
            if is_own:
                is_screened = destinations.screens and opened.trust is Trust.SIGNED
                facts = bulk_visitors.signed_facts(opened, visitor) if is_screened else visitor
                learned.append(_Learned(opened, visitor, facts))
        except Exception as error:
            if _concerns_bulk(error):
                raise
            _note_error(error, opened.row, bulk, is_own=is_own)
    return learned


def _map_learned(
    vault: Vault,
    learned: Sequence[_Learned],
    bulk: _BulkResult,
    destinations: Destinations,
    clicks: ClickIdsOfOrders,
    now: float,
) -> None:
    outcomes = _map_together(learned, destinations, clicks, now) if len(learned) > 1 else {}
    for known in learned:
        row = known.opened.row
        try:
            of_order, own = clicks.get(row.id, {}), outcomes.get(row.id, {})
            bulk.mapped[row.id] = _map_own(known, destinations, of_order, own, vault, now)
        except Exception as error:
            if _concerns_bulk(error):
                raise
            _note_error(error, row, bulk, is_own=True)


def _map_together(
    learned: Sequence[_Learned], destinations: Destinations, clicks: ClickIdsOfOrders, now: float
) -> dict[int, dict[int, list[Outcome]]]:
    """Return the outcomes of events by inbox id and integration.

    It is empty if an event fails or all of them take long: each is then mapped alone, which finds the event.
    """
    start = time.thread_time()
    places, events = [], []
    try:
        for opened, visitor, _ in learned:
            row = opened.row
            if destinations.debug_until(row.source_id) > now or row.parked_for is not None:
                continue
            for target in destinations.of(row.source_id):
                number = target.integration.number
                of_order = clicks.get(row.id, {}).get(number)
                own_visitor = order_clicks.with_click_ids_of_order(visitor, opened, of_order)
                places.append((row.id, number))
                events.append((target, opened, own_visitor))
        mapped = map_together(events, now)
    except Exception as error:  # noqa: BLE001 - reported where the event is mapped alone
        log.debug("mapped_alone", events=len(learned), error=logs.error_location(error))
        return {}
    if time.thread_time() - start > _MAX_SECONDS_TOGETHER:
        return {}
    outcomes: dict[int, dict[int, list[Outcome]]] = defaultdict(dict)
    for (row_id, number), of_event in zip(places, mapped, strict=True):
        outcomes[row_id][number] = of_event
    return outcomes


def _concerns_bulk(error: Exception) -> bool:
    return _concerns_all(error) and not isinstance(error, CostlyEventError)


def _note_error(error: Exception, row: Waiting, bulk: _BulkResult, *, is_own: bool) -> None:
    """Park the event of a row for what is wrong with it."""
    if isinstance(error, CostlyEventError):
        log.error("event_too_costly", inbox_id=row.id, seconds=round(error.seconds, 3))
        bulk.costly[row.id] = str(error)
    elif isinstance(error, UnreadableError):
        if is_own:
            bulk.parked[row.id] = str(error)
    else:
        # A bug must not lose the event: the row is parked until a fixed version can map it. Only the exception
        # type is logged, because its text could contain personal data.
        log.error("mapping_error", inbox_id=row.id, error=logs.error_location(error))
        if is_own:
            bulk.parked[row.id] = _could_not_map(error)


def _map_own(
    known: _Learned,
    destinations: Destinations,
    clicks: Mapping[int, Visitor],
    outcomes: Mapping[int, list[Outcome]],
    vault: Vault,
    now: float,
) -> _MappedEvent:
    """Map an event within its budget; ``outcomes`` are those that it has already."""
    opened, visitor, facts = known
    from_facts = partial(_map_event, opened, facts, destinations, clicks, {}, vault, now)
    map_event = partial(_map_event, opened, visitor, destinations, clicks, outcomes, vault, now)
    if facts is visitor:
        return within_budget(map_event, _count_deliveries)
    if renews_consent(opened.event):
        # What others said does not decide whose suppression a new consent ends.
        return within_budget(from_facts, _count_deliveries)
    return within_budget(map_event, _count_deliveries)._replace(from_signed=from_facts)


def _count_deliveries(event: _MappedEvent) -> int:
    return len(event.deliveries)


def _map_event(
    opened: OpenedEvent,
    visitor: Visitor,
    destinations: Destinations,
    clicks: Mapping[int, Visitor],
    outcomes: Mapping[int, list[Outcome]],
    vault: Vault,
    now: float,
) -> _MappedEvent:
    source_id = opened.row.source_id
    debug_until = destinations.debug_until(source_id)
    debugged = debug_until > now
    new: list[NewDelivery] = []
    decisions: list[Decision] = []
    errors: dict[int, Exception] = {}
    outcome, parked_for = tallies.CONSUMED, opened.row.parked_for
    if opened.event.get("type") not in ("identify", "group"):
        errors |= destinations.unreadable(source_id)
        for target in destinations.of(source_id):
            if parked_for is not None and target.integration.number not in parked_for:
                continue
            explanation = Explanation() if debugged else None
            try:
                number = target.integration.number
                own_visitor = order_clicks.with_click_ids_of_order(visitor, opened, clicks.get(number))
                own = outcomes.get(number)
                new += to_deliveries(target, opened, own_visitor, vault, now, explanation, own)
            except Exception as error:
                if _concerns_all(error):
                    raise
                errors[target.integration.number] = error
            if explanation is not None:
                decisions.append(decision_of(target, explanation))
        outcome = tallies.MAPPED if new or parked_for is not None else tallies.WITHOUT_DESTINATION
    if parked_for is not None:
        errors = {number: errors[number] for number in errors if number in parked_for}
    if errors and not new:
        # Nothing is written: the whole event is parked.
        raise next(iter(errors.values()))
    debug_input = seal_debug_input(opened, outcome, decisions, new, vault, debug_until) if debugged else None
    for number, cause in errors.items():
        log.error(
            "mapping_error", inbox_id=opened.row.id, integration=number, error=logs.error_location(cause)
        )
    reasons = {number: _could_not_map(errors[number]) for number in errors}
    named = named_by(opened, visitor, new) if destinations.screens else None
    return _MappedEvent(source_id, outcome, new, opened.keys, opened.row.trust, debug_input, reasons, named)


def _concerns_all(error: Exception) -> bool:
    """Return whether an error has other causes than one integration."""
    return is_ledger_unavailable(error) or isinstance(error, SealError | CostlyEventError)


def _could_not_map(error: Exception) -> str:
    # Only the exception type, because its text could contain personal data.
    return f"The worker could not map the event ({type(error).__name__})."


def _new_visitors(
    ledger: Ledger, bulk: _BulkResult, stored: Mapping[bytes, StoredVisitor], destinations: Destinations
) -> NewVisitors | None:
    """Return the visitors that this bulk creates or its quota refuses; None without new visitors."""
    new_keys = bulk.visitors.keys() - stored.keys()
    if not new_keys:
        return None
    new_visitors = NewVisitors.of(bulk.mapped, new_keys)
    new_visitors.refuse_beyond_quota(visitor_quotas(ledger), destinations.public_visitors_per_day)
    return new_visitors


def _parked(event: _MappedEvent) -> tuple[str, list[int]]:
    reasons = " ".join(dict.fromkeys(event.parked_for.values()))
    return reasons, sorted(event.parked_for)


def _write(
    ledger: Ledger,
    bulk: _BulkResult,
    stored: Mapping[bytes, StoredVisitor],
    new_visitors: NewVisitors | None,
    lifts: Mapping[int, Lift],
) -> Counter[str]:
    # Seal before the write transaction: the vault may have to write the key of a new day.
    sealed_visitors = {
        key: StoredVisitor(
            ledger.vault.seal(json_text.format_json(body), visitors.BODY),
            stored[key].version if key in stored else 0,
        )
        for key, body in bulk.visitors.items()
        if new_visitors is None or key not in new_visitors.refused
    }
    targets = {
        new.integration_id: new.ad_account for event in bulk.mapped.values() for new in event.deliveries
    }
    now = ledger.now()
    with ledger.write() as connection:
        if not integrations.lock_targets(connection, targets):
            raise VersionConflictError
        lift(connection, lifts, now)
        whole_ids = [event_id for event_id, event in bulk.mapped.items() if not event.parked_for]
        taken_ids = sorted(inbox.take_events(connection, whole_ids))
        parked_ids = [
            event_id
            for event_id, event in sorted(bulk.mapped.items())
            if event.parked_for and inbox.park_event(connection, event_id, *_parked(event))
        ]
        for event_id, reason in sorted(bulk.parked.items()):
            inbox.park_event(connection, event_id, reason)
        written_keys = {key for event_id in (*taken_ids, *parked_ids) for key in bulk.mapped[event_id].keys}
        visitors.save_visitors(
            connection, {key: visitor for key, visitor in sealed_visitors.items() if key in written_keys}, now
        )
        mapped_events = [bulk.mapped[event_id] for event_id in taken_ids]
        all_events = [*mapped_events, *(bulk.mapped[event_id] for event_id in parked_ids)]
        events = Counter(
            tallies.Entry(event.source_id, 0, event.event_name, event.outcome) for event in mapped_events
        )
        tallies.append_tallies(connection, events, now)
        drops = debug_inputs.save_debug_inputs(
            connection, [event.debug_input for event in all_events if event.debug_input is not None]
        )
        usage = new_visitors.usage(written_keys) if new_visitors is not None else Counter()
        usage.update({(source_id, tallies.DEBUG_INPUTS_DROPPED): n for source_id, n in drops.items()})
        if usage:
            tallies.append_usage(connection, usage, now)
        outcomes = new_deliveries.insert_deliveries(
            connection, ledger.vault, [new for event in all_events for new in event.deliveries], now
        )
        # By event: most have no problem, and this is the cheapest way to find those that have.
        troubled = {id(event): event for event in all_events for new in event.deliveries if new.problems}
        if troubled:
            data_problems.append_problems(connection, [event.deliveries for event in troubled.values()], now)
    if outcomes[tallies.CONTRADICTED]:
        log.warning("event_ids_used_before", events=outcomes[tallies.CONTRADICTED])
    return outcomes + Counter(event.outcome for event in mapped_events)
