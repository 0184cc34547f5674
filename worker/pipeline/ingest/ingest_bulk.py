"""Read the rows of a bulk, have them mapped, and replace them by deliveries in one transaction."""

import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from sqlalchemy.exc import DataError, IntegrityError

from worker import logs
from worker.event import json_text
from worker.event.received import Trust
from worker.ledger.database import Ledger, is_ledger_unavailable
from worker.ledger.delivery import new_deliveries
from worker.ledger.intake import debug_inputs, inbox, visitors
from worker.ledger.intake.inbox import Waiting
from worker.ledger.intake.visitors import StoredVisitor, VersionConflictError
from worker.ledger.reports import data_problems, tallies
from worker.ledger.setup import integrations
from worker.ledger.vault import MissingKeyError
from worker.monitoring import tracing
from worker.pipeline.ingest import lease_holder, order_clicks
from worker.pipeline.ingest.accepting import open_rows
from worker.pipeline.ingest.fair_scheduler import Chunk, ChunkResult, FairScheduler, mapping_order
from worker.pipeline.ingest.map_rows import MappedBulk, MappedEvent, map_rows
from worker.pipeline.ingest.outcomes import Destinations
from worker.pipeline.ingest.quotas import NewVisitors, visitor_quotas
from worker.pipeline.ingest.suppression import Lift, Screening, lift, screen
from worker.pipeline.missing_encryption_key import report_missing_key

log = logs.of(__name__)

# Each lost race means that another worker made progress.
_MAX_RACES = 50

# Rows are safe while the database is away; after these pauses the sweeper sends new hints.
_LEDGER_RETRY_PAUSES_SECONDS = (0.2, 0.5, 1.0, 2.0)


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
    bulk = map_rows(ledger.vault, ordered, events, stored, destinations, clicks, ledger.now())
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


def _screen(ledger: Ledger, bulk: MappedBulk) -> Screening:
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


def _leave_out(screening: Screening, bulk: MappedBulk) -> None:
    """Keep nothing of the events and visitors of suppressed persons."""
    for event_id in screening.events:
        event = bulk.mapped[event_id]
        bulk.mapped[event_id] = MappedEvent(event.source_id, tallies.EVENT_ERASED, [], ())
    for key in screening.visitors:
        del bulk.visitors[key]
    bulk.visitors |= screening.signed_visitors


def _keys_of(rows: Iterable[Waiting]) -> set[bytes]:
    return {key for row in rows for key in (row.anonymous_key, row.user_key) if key is not None}


def _new_visitors(
    ledger: Ledger, bulk: MappedBulk, stored: Mapping[bytes, StoredVisitor], destinations: Destinations
) -> NewVisitors | None:
    """Return the visitors that this bulk creates or its quota refuses; None without new visitors."""
    new_keys = bulk.visitors.keys() - stored.keys()
    if not new_keys:
        return None
    new_visitors = NewVisitors.of(bulk.mapped, new_keys)
    new_visitors.refuse_beyond_quota(visitor_quotas(ledger), destinations.public_visitors_per_day)
    return new_visitors


def _parked(event: MappedEvent) -> tuple[str, list[int]]:
    reasons = " ".join(dict.fromkeys(event.parked_for.values()))
    return reasons, sorted(event.parked_for)


def _write(
    ledger: Ledger,
    bulk: MappedBulk,
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
