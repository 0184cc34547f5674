"""Store accepted events until their deliveries are stored."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, Connection, Select, delete, func, or_, select, update

from worker.event.received import Trust
from worker.ledger.database import Ledger
from worker.ledger.reports import tallies
from worker.ledger.rows import chunks, insert_all, is_among
from worker.ledger.schema import IS_INFORMING, inbox, signed_request

BODY = b"inbox"
# Clocks of machines with time synchronisation differ by less.
CLOCK_STEP_SECONDS = 60.0
# Limit of waiting public events about one visitor that are read: more would delay the visitor's events.
_MAX_PUBLIC_INFORMING = 100
_MAX_PUBLIC_INFORMING_OF_LINKED = 5
# A person's devices and user ids, linked by waiting events: limits of one bulk.
_MAX_LINKS = 5
_MAX_LINKED_KEYS = 500
# psycopg parses a statement with more than 50 parameters each time.
_MAX_EVENTS_AT_ONCE = 6


@dataclass(frozen=True, slots=True)
class Accepted:
    """Hold a new event. Its body is already sealed under `BODY`."""

    source_id: str
    anonymous_key: bytes | None
    user_key: bytes | None
    informs: bool
    received_at: float
    body: bytes
    trust: Trust = Trust.PUBLIC


class Waiting(NamedTuple):
    """Hold an event that waits in the inbox."""

    id: int
    source_id: str
    anonymous_key: bytes | None
    user_key: bytes | None
    received_at: float
    body: bytes
    trust: int = Trust.PUBLIC
    # The integrations that still need the event, if it was parked for some.
    parked_for: list[int] | None = None


@dataclass(frozen=True, slots=True)
class Parked:
    """Count the events parked for one reason, with the time when the oldest was received."""

    reason: str
    events: int
    oldest_at: float


def accept_events(connection: Connection, events: Sequence[Accepted], now: float) -> list[int]:
    """Insert events, all or none. Returns their ids in the order given."""
    if not events:
        return []
    rows = [
        {
            "source_id": event.source_id,
            "anonymous_key": event.anonymous_key,
            "user_key": event.user_key,
            "informs": event.informs,
            "received_at": event.received_at,
            "body": event.body,
            "trust": event.trust.value,
        }
        for event in events
    ]
    # Ids are assigned in the order of the rows, but may be returned in another order.
    returned = insert_all(connection, inbox, rows, _with_their_ids)
    ids = sorted(row.id for row in returned)
    counts = Counter(tallies.Entry(event.source_id, 0, "", tallies.ACCEPTED) for event in events)
    tallies.append_tallies(connection, counts, now)
    return ids


def accept_at_once(ledger: Ledger, events: Sequence[Accepted], now: float) -> list[int]:
    """Insert events in a transaction of their own, all or none. Returns their ids in the order given.

    On PostgreSQL a few events take one statement, which costs half of four.
    """
    if ledger.is_sqlite or not 0 < len(events) <= _MAX_EVENTS_AT_ONCE:
        with ledger.write() as connection:
            return accept_events(connection, events, now)
    values = [
        value
        for event in events
        for value in (
            event.source_id,
            event.anonymous_key,
            event.user_key,
            event.informs,
            event.received_at,
            event.body,
            event.trust.value,
        )
    ]
    values += [int(now // tallies.SECONDS_PER_HOUR), tallies.ACCEPTED, now]
    with ledger.write(one_statement=True) as connection:
        result = connection.exec_driver_sql(_accept_statement(len(events)), tuple(values))
        # From the driver's cursor: a result's rows would cost as much as the statement.
        ids = sorted(row[0] for row in result.cursor.fetchall())
        result.close()
        return ids


@cache
def _accept_statement(events: int) -> str:
    rows = ", ".join(["(%s, %s, %s, %s, %s, %s, %s)"] * events)
    # Only the number of rows varies.
    return f"""
        WITH new AS (
            INSERT INTO inbox (source_id, anonymous_key, user_key, informs, received_at, body, trust)
            VALUES {rows} RETURNING id, source_id
        ), counted AS (
            INSERT INTO tally (hour, source_id, integration_id, event_name, outcome, n, last_at)
            SELECT %s, source_id, 0, '', %s, count(*), %s FROM new GROUP BY source_id
        )
        SELECT id FROM new"""  # noqa: S608


def _with_their_ids(new: Any) -> Any:
    return new.returning(inbox.c.id)


def load_events(connection: Connection, ids: Sequence[int]) -> list[Waiting]:
    """Return those of the events that still wait, by id."""
    events: list[Waiting] = []
    for chunk in chunks(sorted(ids)):
        query = _waiting().where(is_among(connection, inbox.c.id, chunk)).order_by(inbox.c.id)
        # All at once: the driver takes longer row by row.
        events += map(Waiting._make, connection.execute(query).all())
    return events


def still_waiting(connection: Connection, ids: Sequence[int]) -> list[int]:
    """Return those ids, in order, whose events still wait and are not parked."""
    waiting_ids: list[int] = []
    for chunk in chunks(sorted(ids)):
        query = select(inbox.c.id).where(
            is_among(connection, inbox.c.id, chunk), inbox.c.parked_reason.is_(None)
        )
        waiting_ids += connection.scalars(query.order_by(inbox.c.id))
    return waiting_ids


def informing_events(connection: Connection, keys: Collection[bytes], before_id: int) -> list[Waiting]:
    """Return waiting events with ids below ``before_id`` that have new data about these visitors.

    An event that links a visitor to another key, as when a person signs in on a second device, makes that key a key
    of the visitor, too: up to `_MAX_LINKS` links away, and up to `_MAX_LINKED_KEYS` further keys in all.

    Includes only the newest `MAX_PUBLIC_INFORMING` public events per key: anybody can send thousands for a user id
    that is easy to guess, and every event of that user would read them all. Of a further key it includes fewer.
    """
    new, limit = set(keys), _MAX_PUBLIC_INFORMING
    seen, most_seen = set(new), len(new) + _MAX_LINKED_KEYS
    events: dict[int, Waiting] = {}
    for _ in range(_MAX_LINKS + 1):
        linked_keys: list[bytes | None] = []
        # Signed events first, because public ones must not crowd out their links.
        for event in sorted(_informing_about(connection, new, before_id, limit), key=lambda row: -row.trust):
            events[event.id] = event
            linked_keys += (event.user_key, event.anonymous_key)
        further = [key for key in dict.fromkeys(linked_keys) if key is not None and key not in seen]
        new = set(further[: most_seen - len(seen)])
        if not new:
            break
        seen |= new
        limit = _MAX_PUBLIC_INFORMING_OF_LINKED
    return [events[event_id] for event_id in sorted(events)]


def _informing_about(
    connection: Connection, keys: Collection[bytes], before_id: int, most_public: int
) -> list[Waiting]:
    ids: set[int] = set()
    # Each column has its own index.
    for column in (inbox.c.anonymous_key, inbox.c.user_key):
        for chunk in chunks(list(keys)):
            has_key = is_among(connection, column, chunk)
            ids.update(connection.scalars(_informing_ids(has_key, column, before_id, most_public)))
    return load_events(connection, sorted(ids)) if ids else []


def _informing_ids(
    has_key: ColumnElement[bool], column: Column[Any], before_id: int, most_public: int
) -> Select[Any]:
    newest_first = func.row_number().over(partition_by=[column, inbox.c.trust], order_by=inbox.c.id.desc())
    # By the plain id SQLite would scan all rows before it.
    is_before = inbox.c.id + 0 < before_id
    ranking = (
        select(inbox.c.id, inbox.c.trust, newest_first.label("place"))
        .where(IS_INFORMING, has_key, inbox.c.parked_reason.is_(None), is_before)
        .subquery()
    )
    is_read = or_(ranking.c.trust == Trust.SIGNED.value, ranking.c.place <= most_public)
    return select(ranking.c.id).where(is_read)


def take_events(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Delete events. Returns the ids that were there, which only the caller may settle."""
    taken_ids: set[int] = set()
    for chunk in chunks(sorted(ids)):
        statement = delete(inbox).where(is_among(connection, inbox.c.id, chunk)).returning(inbox.c.id)
        taken_ids.update(connection.execute(statement).scalars().all())
    return taken_ids


def park_event(connection: Connection, event_id: int, reason: str, integrations: Sequence[int] = ()) -> bool:
    """Park a waiting event that cannot be processed, or not for some integrations, by number.

    Returns False if it does not wait any more.
    """
    values: dict[str, Any] = {"parked_reason": reason}
    if integrations:
        values["parked_for"] = list(integrations)
    statement = update(inbox).where(inbox.c.id == event_id, inbox.c.parked_reason.is_(None))
    return connection.execute(statement.values(values)).rowcount == 1


def unpark_events(connection: Connection, ids: Sequence[int] | None = None) -> int:
    """Make all or some parked events wait again. Returns how many."""
    statement = update(inbox).where(inbox.c.parked_reason.is_not(None))
    if ids is not None:
        statement = statement.where(inbox.c.id.in_(ids))
    return connection.execute(statement.values(parked_reason=None)).rowcount


def parked_by_reason(connection: Connection) -> list[Parked]:
    """Return parked events by reason, the most frequent first."""
    query = (
        select(inbox.c.parked_reason, func.count().label("n"), func.min(inbox.c.received_at))
        .where(inbox.c.parked_reason.is_not(None))
        .group_by(inbox.c.parked_reason)
        .order_by(func.count().desc(), inbox.c.parked_reason)
    )
    return [Parked(reason, n, oldest_at) for reason, n, oldest_at in connection.execute(query)]


def newest_waiting_events(connection: Connection, limit: int) -> list[tuple[Waiting, str | None]]:
    """Return the newest waiting events, with the reason if they are parked."""
    query = _select_kept().add_columns(inbox.c.parked_reason).order_by(inbox.c.id.desc()).limit(limit)
    return [(Waiting(*row[:-1]), row[-1]) for row in connection.execute(query)]


def parked_ids(connection: Connection, after_id: int, limit: int) -> list[int]:
    """Return parked ids above ``after_id``, in order."""
    query = select(inbox.c.id).where(inbox.c.id > after_id, inbox.c.parked_reason.is_not(None))
    return list(connection.scalars(query.order_by(inbox.c.id).limit(limit)))


def ids_between(connection: Connection, first: int, last: int) -> list[int]:
    """Return the ids of a range that still wait and are not parked."""
    query = select(inbox.c.id).where(inbox.c.id.between(first, last), inbox.c.parked_reason.is_(None))
    return list(connection.scalars(query.order_by(inbox.c.id)))


def overdue_ids(connection: Connection, after_id: int, received_before: float, limit: int) -> list[int]:
    """Return ids above ``after_id`` received before a time, in order."""
    # An event received in the future was received before the clock stepped back.
    is_old = or_(
        inbox.c.received_at < received_before, inbox.c.received_at > received_before + CLOCK_STEP_SECONDS
    )
    query = (
        select(inbox.c.id)
        .where(inbox.c.id > after_id, is_old, inbox.c.parked_reason.is_(None))
        .order_by(inbox.c.id)
        .limit(limit)
    )
    return list(connection.scalars(query))


def count_waiting(connection: Connection, limit: int | None = None) -> int:
    """Count waiting events, up to ``limit``."""
    ids = select(inbox.c.id).limit(limit).subquery()
    return connection.scalar(select(func.count()).select_from(ids)) or 0


def backlogs(connection: Connection, source_ids: Sequence[str]) -> Counter[tuple[str, Trust]]:
    """Count the waiting events by source and trust."""
    counts: Counter[tuple[str, Trust]] = Counter()
    for chunk in chunks(source_ids):
        query = (
            select(inbox.c.source_id, inbox.c.trust, func.count())
            .where(is_among(connection, inbox.c.source_id, chunk))
            .group_by(inbox.c.source_id, inbox.c.trust)
        )
        for source_id, trust, n in connection.execute(query):
            counts[source_id, Trust(trust)] = n
    return counts


def _waiting() -> Any:
    return _select_kept().where(inbox.c.parked_reason.is_(None))


def _select_kept() -> Any:
    return select(
        inbox.c.id,
        inbox.c.source_id,
        inbox.c.anonymous_key,
        inbox.c.user_key,
        inbox.c.received_at,
        inbox.c.body,
        inbox.c.trust,
        inbox.c.parked_for,
    )


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """Identify a signed request by a keyed hash of its signature; after ``forget_at`` the signature is void."""

    key: bytes
    forget_at: float


def insert_signed_requests(connection: Connection, requests: Iterable[SignedRequest]) -> set[bytes]:
    """Store signed requests; return the keys of those that were not accepted before.

    A concurrent transaction with the same key waits until this one ends.
    """
    by_key = {request.key: request for request in requests}
    # Sorted, so that two writers lock the same keys in the same order.
    rows = [{"key": key, "forget_at": by_key[key].forget_at} for key in sorted(by_key)]
    return {row.key for row in insert_all(connection, signed_request, rows, _skip_known)}


def _skip_known(new: Any) -> Any:
    return new.on_conflict_do_nothing(index_elements=["key"]).returning(signed_request.c.key)
