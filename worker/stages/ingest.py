"""Turn inbox rows into deliveries."""

import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy.exc import DataError, IntegrityError

from worker import logs
from worker.events import json_text
from worker.events.trust import Trust
from worker.ledger import debugging, deliveries, inbox, integrations, tallies, usage, visitors
from worker.ledger.debugging import NewInput
from worker.ledger.deliveries import NewDelivery
from worker.ledger.engine import Ledger, is_ledger_away
from worker.ledger.inbox import Waiting
from worker.ledger.vault import SealError, Vault
from worker.ledger.visitors import Known, OvertakenError
from worker.pinterest.explain import Explanation
from worker.pinterest.visitor import Visitor
from worker.stages.cost import CostlyEventError, within_budget
from worker.stages.debugging import Decision, decision, to_keep
from worker.stages.destinations import Destinations
from worker.stages.learning import Record, Visitors
from worker.stages.opened import Opened, open_rows
from worker.stages.outcomes import to_deliveries
from worker.stages.quotas import NewVisitors, visitor_quotas
from worker.telemetry import tracing

log = logs.of(__name__)

# Each lost race means that another worker got its event through, so this bounds trouble, not work.
MOST_RACES = 50

# Rows are safe while the database is away: what is not done after these pauses is hinted at again later.
PAUSES_WHILE_AWAY_SECONDS = (0.2, 0.5, 1.0, 2.0)


@dataclass(frozen=True, slots=True)
class Fate:
    """Hold what becomes of one event."""

    source_id: str
    outcome: str
    deliveries: list[NewDelivery]
    keys: tuple[bytes, ...]
    trust: int = Trust.PUBLIC
    # The event itself, while its source is debugged.
    seen: NewInput | None = None


@dataclass(slots=True)
class Work:
    """Gather what one bulk will write, by inbox id."""

    fates: dict[int, Fate] = field(default_factory=dict)
    parked: dict[int, str] = field(default_factory=dict)
    costly: dict[int, str] = field(default_factory=dict)
    visitors: dict[bytes, dict[str, Any]] = field(default_factory=dict)


def ingest(ledger: Ledger, ids: Sequence[int]) -> Counter[str]:
    """Map the events of these inbox rows and write down what became of them, in one transaction.

    Rows that are gone were worked on by somebody else: working twice changes nothing. Returns how many events
    and deliveries ended up under each outcome of the tallies.
    """
    try:
        return _ingest_in_time(ledger, ids)
    except (IntegrityError, DataError, OverflowError, UnicodeEncodeError) as error:
        # One of them is what the database refuses: find it, and let the others through.
        if len(ids) > 1:
            middle = len(ids) // 2
            return ingest(ledger, ids[:middle]) + ingest(ledger, ids[middle:])
        reason = f"The ledger refused the event ({type(error).__name__})."
        log.error("event_refused_by_ledger", inbox_id=ids[0], error=type(error).__name__)
        with ledger.write() as connection:
            inbox.park(connection, ids[0], reason)
        return Counter()


def _ingest_in_time(ledger: Ledger, ids: Sequence[int]) -> Counter[str]:
    """Try again what a race or a database that is away prevented; give up for the sweeper to come back to."""
    for pause_seconds in PAUSES_WHILE_AWAY_SECONDS:
        try:
            return _ingest_in_races(ledger, ids)
        except Exception as error:
            if not is_ledger_away(error):
                raise
            log.warning("ledger_away", events=len(ids), error=type(error).__name__)
            time.sleep(pause_seconds)
    return _ingest_in_races(ledger, ids)


def _ingest_in_races(ledger: Ledger, ids: Sequence[int]) -> Counter[str]:
    for _ in range(MOST_RACES):
        try:
            return _ingest_once(ledger, ids)
        except OvertakenError:
            # Another worker wrote one of these visitors in the meantime, or a hand changed an integration: see
            # what was written, and map again.
            time.sleep(random.uniform(0.0, 0.02))  # noqa: S311 - no secret depends on it
    raise OvertakenError


def _ingest_once(ledger: Ledger, ids: Sequence[int]) -> Counter[str]:
    began = time.time()
    with ledger.read() as connection:
        rows = inbox.load(connection, ids)
        if not rows:
            return Counter()
        # The inbox is read before the visitors: what leaves the one in between is in the other.
        earlier = inbox.informing(connection, _keys_of(rows), rows[-1].id)
    with ledger.read() as connection:
        known = visitors.load(connection, _keys_of([*rows, *earlier]))
        destinations = Destinations(connection, {row.source_id for row in rows})
    # What the key ring lacks is missing for every event alike, and so is nobody's fault below.
    ledger.vault.prepare()
    work = _map_all(ledger.vault, rows, earlier, known, destinations)
    if work.costly:
        # In a transaction of its own: a lost race would otherwise map these events again.
        with ledger.write() as connection:
            for event_id, reason in sorted(work.costly.items()):
                inbox.park(connection, event_id, reason)
    outcomes = _write(ledger, work, known, _new_visitors(ledger, work, known, destinations))
    if (tracer := tracing.tracer()) is not None:
        requests = [tracing.Request(row.source_id, row.received_at) for row in rows]
        tracer.record("ingest.map", requests, began)
    return outcomes


def _keys_of(rows: Iterable[Waiting]) -> set[bytes]:
    return {key for row in rows for key in (row.anonymous_key, row.user_key) if key is not None}


def _map_all(
    vault: Vault,
    rows: Sequence[Waiting],
    earlier: Sequence[Waiting],
    known: Mapping[bytes, Known],
    destinations: Destinations,
) -> Work:
    """Go through the events in the order of their acceptance, and learn about visitors on the way."""
    mine = {row.id for row in rows}
    opened, broken = open_rows(vault, rows)
    # Somebody else's rows only inform: whoever works on them writes what they tell, and parks what is broken.
    told, _ = open_rows(vault, [row for row in earlier if row.id not in mine])
    work = Work(parked=broken)
    learnt = Visitors(_read_visitors(vault, known))
    now = time.time()
    for one in sorted([*opened, *told], key=lambda one: one.row.id):
        try:
            country = destinations.default_country(one.row.source_id)
            visitor = learnt.learn(one, country, keep=one.row.id in mine)
            if one.row.id in mine:
                map_event = partial(_fate, one, visitor, destinations, vault, now)
                work.fates[one.row.id] = within_budget(map_event, lambda fate: len(fate.deliveries))
        except CostlyEventError as error:
            log.error("event_too_costly", inbox_id=one.row.id, seconds=round(error.seconds, 3))
            work.costly[one.row.id] = str(error)
        except Exception as error:
            if is_ledger_away(error) or isinstance(error, SealError):
                raise
            # A mistake of ours costs no event: the row stays, sealed and complete, until a version that can
            # map it. Only the kind of the exception is told: its text could hold what the visitor typed.
            log.error("mapping_error", inbox_id=one.row.id, error=logs.where(error))
            if one.row.id in mine:
                work.parked[one.row.id] = f"The worker could not map the event ({type(error).__name__})."
    work.visitors = {key: record.to_dict() for key, record in learnt.changed().items()}
    return work


def _read_visitors(vault: Vault, known: Mapping[bytes, Known]) -> dict[bytes, Record]:
    """Return what is known of visitors, by their keys."""
    found: dict[bytes, Record] = {}
    for key, one in known.items():
        try:
            found[key] = Record.from_dict(json_text.read(vault.open(one.body, visitors.BODY)))
        except (SealError, ValueError, KeyError, TypeError, AttributeError) as error:
            # What a visitor told earlier is out of reach, the event is not.
            log.error("visitor_unreadable", error=type(error).__name__)
    return found


def _fate(one: Opened, visitor: Visitor, destinations: Destinations, vault: Vault, now: float) -> Fate:
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
                decisions.append(decision(target, explanation))
        outcome = tallies.MAPPED if made else tallies.WITHOUT_DESTINATION
    seen = to_keep(one, outcome, decisions, made, vault, debug_until) if debugged else None
    return Fate(source_id, outcome, made, one.keys, one.row.trust, seen)


def _new_visitors(
    ledger: Ledger, work: Work, known: Mapping[bytes, Known], destinations: Destinations
) -> NewVisitors | None:
    """Return the visitors that this bulk creates, with those that a quota refuses; None where there are none."""
    new_keys = work.visitors.keys() - known.keys()
    if not new_keys:
        return None
    created = NewVisitors.of(work.fates, new_keys)
    created.refuse_beyond_quota(visitor_quotas(ledger), destinations.public_visitors_per_day)
    return created


def _write(
    ledger: Ledger, work: Work, known: Mapping[bytes, Known], created: NewVisitors | None
) -> Counter[str]:
    # Sealed before the write begins: the vault may have to write a new day's key first.
    sealed = {
        key: Known(
            ledger.vault.seal(json_text.write(body), visitors.BODY),
            known[key].version if key in known else 0,
        )
        for key, body in work.visitors.items()
        if created is None or key not in created.refused
    }
    targets = {new.integration_id: new.ad_account for fate in work.fates.values() for new in fate.deliveries}
    now = time.time()
    with ledger.write() as connection:
        if not integrations.are_still(connection, targets):
            raise OvertakenError
        gone = sorted(inbox.remove(connection, list(work.fates)))
        for event_id, reason in sorted(work.parked.items()):
            inbox.park(connection, event_id, reason)
        mine = {key for event_id in gone for key in work.fates[event_id].keys}
        visitors.save(connection, {key: one for key, one in sealed.items() if key in mine}, now)
        fates = [work.fates[event_id] for event_id in gone]
        events = Counter(tallies.Entry(fate.source_id, 0, "", fate.outcome) for fate in fates)
        tallies.append(connection, events, now)
        dropped = debugging.keep(connection, [fate.seen for fate in fates if fate.seen is not None])
        used = created.usage(mine) if created is not None else Counter()
        used.update({(source_id, usage.DEBUG_INPUTS_DROPPED): n for source_id, n in dropped.items()})
        if used:
            usage.append(connection, used, now)
        outcomes = deliveries.write(connection, [new for fate in fates for new in fate.deliveries], now)
    if outcomes[tallies.CONTRADICTED]:
        log.warning("event_ids_used_before", events=outcomes[tallies.CONTRADICTED])
    return outcomes + Counter(fate.outcome for fate in fates)
