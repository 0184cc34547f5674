"""Store the inputs of a source that is being debugged: few, for a short time, and sealed."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, delete, select, update

from worker.event.received import Trust
from worker.ledger.rows import insert_all
from worker.ledger.schema import debug_input, source

INPUT = b"debug input"
# Debugging ends after this time unless a person switches it off earlier.
DEBUG_SECONDS = 3_600
# Per source and trust.
MAX_INPUTS = 500


@dataclass(frozen=True, slots=True)
class NewInput:
    """Hold one event with each decision about it. ``body`` is already sealed under `INPUT`."""

    source_id: str
    event_id: str
    name: str
    outcome: str
    received_at: float
    forget_at: float
    body: bytes
    anonymous_key: bytes | None
    user_key: bytes | None
    trust: int = Trust.PUBLIC


@dataclass(frozen=True, slots=True)
class Input:
    """Hold one stored event."""

    id: int
    source_id: str
    event_id: str
    name: str
    outcome: str
    received_at: float
    forget_at: float
    body: bytes


def set_debugging(connection: Connection, source_id: str, until: float) -> None:
    """Store the inputs of a source until a time. 0 ends this and deletes its stored inputs at once."""
    connection.execute(update(source).where(source.c.id == source_id).values(debug_until=until))
    if not until:
        connection.execute(delete(debug_input).where(debug_input.c.source_id == source_id))


def save_debug_inputs(connection: Connection, new: Iterable[NewInput]) -> Counter[str]:
    """Store events. Of each source, only the newest signed and the newest public ones are kept.

    Returns how many older ones were deleted, by source.
    """
    rows = [{name: getattr(item, name) for name in NewInput.__slots__} for item in new]
    insert_all(connection, debug_input, rows)
    counts: Counter[str] = Counter()
    for source_id, trust in sorted({(row["source_id"], int(row["trust"])) for row in rows}):
        group = (debug_input.c.source_id == source_id, debug_input.c.trust == trust)
        newest_first = select(debug_input.c.id).where(*group).order_by(debug_input.c.id.desc())
        last = connection.scalar(newest_first.offset(MAX_INPUTS).limit(1))
        if last is not None:
            statement = delete(debug_input).where(*group, debug_input.c.id <= last)
            counts[source_id] += connection.execute(statement).rowcount
    return counts


def newest_debug_inputs(connection: Connection, now: float, limit: int, source_id: str = "") -> list[Input]:
    """Return stored events, the newest first."""
    query = _select_kept(now).limit(limit)
    if source_id:
        query = query.where(debug_input.c.source_id == source_id)
    return [_input(row) for row in connection.execute(query)]


def find_debug_input(connection: Connection, number: int, now: float) -> Input | None:
    """Return one event."""
    row = connection.execute(_select_kept(now).where(debug_input.c.id == number)).one_or_none()
    return _input(row) if row else None


def debug_input_of_event(connection: Connection, source_id: str, event_id: str, now: float) -> Input | None:
    """Return a source's newest event with an event id."""
    inputs = _select_kept(now).where(debug_input.c.source_id == source_id, debug_input.c.event_id == event_id)
    row = connection.execute(inputs.limit(1)).one_or_none()
    return _input(row) if row else None


def _select_kept(now: float) -> Select[Any]:
    return select(debug_input).where(debug_input.c.forget_at > now).order_by(debug_input.c.id.desc())


def _input(row: Any) -> Input:
    return Input(**{name: getattr(row, name) for name in Input.__slots__})
