"""Open the events of rows, learn their visitors and map them, in blocks and within a time slice."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from worker import logs
from worker.event.consent.consent import renews_consent
from worker.event.received import Trust
from worker.ledger.database import is_ledger_unavailable
from worker.ledger.delivery.new_deliveries import NewDelivery
from worker.ledger.intake.debug_inputs import NewInput
from worker.ledger.intake.inbox import Waiting
from worker.ledger.intake.visitors import StoredVisitor
from worker.ledger.reports import tallies
from worker.ledger.vault import SealError, Vault
from worker.pinterest.mapping.call import Explanation
from worker.pinterest.mapping.mapping import Outcome
from worker.pinterest.user_data.visitor import Visitor
from worker.pipeline.ingest import order_clicks
from worker.pipeline.ingest.accepting import OpenedEvent, UnreadableError, open_row
from worker.pipeline.ingest.cpu_budget import CostlyEventError, within_budget
from worker.pipeline.ingest.debugging import Decision, seal_debug_input
from worker.pipeline.ingest.fair_scheduler import rows_left
from worker.pipeline.ingest.order_clicks import ClickIdsOfOrders
from worker.pipeline.ingest.outcomes import (
    BulkVisitors,
    Destinations,
    map_together,
    read_visitors,
    to_deliveries,
)
from worker.pipeline.ingest.suppression import Named, named_by

log = logs.of(__name__)

# A transaction writes the events mapped within this time; the rest follows after a check of the backlog.
_SLICE_SECONDS = 1.0
# When earlier events of the visitors take longer than this, they have to be settled first.
_STALL_SECONDS = 5.0

# Events are mapped together, because the processor repeats a step faster than it changes between steps. A block
# grows while blocks take less than this; a large event is mapped alone.
_FIRST_BLOCK, _LARGEST_BLOCK, _BLOCK_SECONDS, _LARGEST_BODY_TOGETHER = 8, 64, 0.1, 8192
# A block that takes longer to map has an event that is to be found.
_MAX_SECONDS_TOGETHER = 0.5


class MappedEvent(NamedTuple):
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
    from_signed: Callable[[], "MappedEvent"] | None = None

    @property
    def event_name(self) -> str:
        """Return Pinterest's name for the event, or "" without one."""
        return self.deliveries[0].event_name if self.deliveries else ""


@dataclass(slots=True)
class MappedBulk:
    """Collect the writes of one bulk, by inbox id."""

    mapped: dict[int, MappedEvent] = field(default_factory=dict)
    parked: dict[int, str] = field(default_factory=dict)
    costly: dict[int, str] = field(default_factory=dict)
    # Rows beyond the time slice, and the source of the last row within it.
    left: list[Waiting] = field(default_factory=list)
    last_source: str | None = None
    visitors: dict[bytes, dict[str, Any]] = field(default_factory=dict)


def map_rows(
    vault: Vault,
    rows: Sequence[tuple[Waiting, bool]],
    events: dict[int, OpenedEvent],
    stored: Mapping[bytes, StoredVisitor],
    destinations: Destinations,
    clicks: ClickIdsOfOrders,
    now: float,
) -> MappedBulk:
    """Map events and update their visitors for the length of a time slice.

    Rows that are not in ``events`` are opened here; those in it are removed from it.
    """
    bulk = MappedBulk()
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
    bulk: MappedBulk,
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
    bulk: MappedBulk,
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


def _note_error(error: Exception, row: Waiting, bulk: MappedBulk, *, is_own: bool) -> None:
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
) -> MappedEvent:
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


def _count_deliveries(event: MappedEvent) -> int:
    return len(event.deliveries)


def _map_event(
    opened: OpenedEvent,
    visitor: Visitor,
    destinations: Destinations,
    clicks: Mapping[int, Visitor],
    outcomes: Mapping[int, list[Outcome]],
    vault: Vault,
    now: float,
) -> MappedEvent:
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
                integration = target.integration
                decisions.append(Decision(integration.id, integration.name, explanation.to_dict()))
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
    return MappedEvent(source_id, outcome, new, opened.keys, opened.row.trust, debug_input, reasons, named)


def _concerns_all(error: Exception) -> bool:
    """Return whether an error has other causes than one integration."""
    return is_ledger_unavailable(error) or isinstance(error, SealError | CostlyEventError)


def _could_not_map(error: Exception) -> str:
    # Only the exception type, because its text could contain personal data.
    return f"The worker could not map the event ({type(error).__name__})."
