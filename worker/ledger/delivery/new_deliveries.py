"""Insert new deliveries, one row per integration and Pinterest event name, each event once."""

from collections import Counter
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, select, text, update

from worker.event.problems import FoundProblem, Problem
from worker.event.received import Trust
from worker.ledger.delivery.remembered_ids import OrderIdentity, name_orders, recall_ids
from worker.ledger.delivery.signed_precedence import (
    MAY_BE_COUNTED_ONCE,
    Claim,
    Content,
    DedupKey,
    Precedence,
    dedup_key,
    displace_public,
    open_holders,
    shown_event_id,
    shown_time,
)
from worker.ledger.intake.visitors import VersionConflictError
from worker.ledger.reports import measures, tallies
from worker.ledger.reports.sales_by_day import REFUND, Sale, append_sales
from worker.ledger.rows import chunks, insert_all, is_among
from worker.ledger.schema import State, delivery
from worker.ledger.vault import SECONDS_A_DAY, Vault
from worker.retention import BUSINESS_ID_DAYS

PAYLOAD = b"payload"
# A `DedupKey` as a plain tuple, which is much faster to create.
_PlainKey = tuple[int, bool, str, str]

# Each look at a member of an enum calls a function.
_OPEN = State.OPEN
_OUTCOMES = {
    State.FAILED: tallies.FAILED,
    State.FILTERED: tallies.FILTERED,
    State.DUPLICATE: tallies.DUPLICATE,
    State.DROPPED: tallies.DROPPED,
}


class NewDelivery(NamedTuple):
    """Hold a new delivery. ``payload`` is already sealed under `PAYLOAD`."""

    source_id: str
    integration_id: int
    ad_account: int
    test: bool
    offline: bool
    event_id: str
    event_name: str
    source_name: str
    event_time: int
    accepted_at: float
    state: State
    payload: bytes | None = None
    size_bytes: int = 0
    reason_class: str | None = None
    reason: str | None = None
    warning: str | None = None
    consent: str | None = None
    # The fields of the payload's user data that came only from public calls, where the event is signed.
    public_fields: str | None = None
    order_key: bytes | None = None
    anonymous_key: bytes | None = None
    user_key: bytes | None = None
    # What the delivery adds to the sales report of its day once it is delivered.
    day: int | None = None
    currency: str | None = None
    value_thousandths: int | None = None
    trust: Trust = Trust.PUBLIC
    # Tells whether two copies of an event have the same content: see `worker.ledger.delivery.signed_precedence`.
    content_key: bytes | None = None
    # A second event with this key is a duplicate, whatever its event id.
    business_key: bytes | None = None
    # What a checkout states of its order; its business key is that of the order, see `remembered_ids`.
    order: OrderIdentity | None = None
    # Match-quality words, for the tallies only.
    qualities: tuple[str, ...] = ()
    # Counted per source: see `worker.ledger.reports.data_problems`.
    problems: tuple[FoundProblem, ...] = ()
    # The hashes of e-mail addresses and of user ids in the payload, to find suppressed persons.
    identifiers: tuple[Sequence[str], Sequence[str]] = ((), ())

    @property
    def unique_key(self) -> _PlainKey:
        return (self.ad_account, self.test, self.event_id, self.event_name)

    @property
    def business_scope(self) -> tuple[bytes, int, bool] | None:
        return None if self.business_key is None else (self.business_key, self.ad_account, self.test)


def insert_deliveries(
    connection: Connection, vault: Vault, new: Sequence[NewDelivery], now: float
) -> Counter[str]:
    """Insert deliveries. A second copy of an event that is pending or sent becomes a duplicate.

    A signed event is not a duplicate of a public one, unless that one was delivered with the same content. The same
    holds for a second event of an order, or of what else its ``business_key`` names. Returns how many deliveries got
    each outcome of the tallies. Qualities of duplicates are not counted.

    Raises:
        VersionConflictError: another process wrote or moved the same events; roll the transaction back.
    """
    new = _with_their_orders(connection, new, now)
    # Sorted by the unique key: otherwise two bulks that share events deadlock on PostgreSQL. Of two copies in one
    # bulk the signed one comes first, then the one received first.
    open_items = sorted(
        (item for item in new if item.state is _OPEN), key=lambda item: (item.unique_key, -item.trust)
    )
    other_items = [item for item in new if item.state is not _OPEN]
    fresh, remembered, contradicted = _without_remembered(connection, vault, open_items)
    duplicates = _insert_fresh(connection, fresh, now)
    being_sent: list[NewDelivery] = []
    if any(item.trust is Trust.SIGNED for item in duplicates):
        duplicates, being_sent, more_contradicted = _take_places(connection, duplicates, now)
        contradicted += more_contradicted
    _subtract_refunds(connection, other_items)
    insert_all(connection, delivery, [_values(item, now) for item in other_items])
    explained = _explain_duplicates(connection, duplicates) + remembered
    insert_all(connection, delivery, [_duplicate(item, now) for item in explained])
    insert_all(connection, delivery, [_kept_duplicate(item, now) for item in being_sent])
    duplicates = explained + being_sent
    counts = _count(open_items, other_items, duplicates)
    counts += Counter(_entry(item, tallies.CONTRADICTED) for item in contradicted)
    problems = Counter(
        tallies.Entry(item.source_id, 0, item.event_name, tallies.PROBLEM + Problem.EVENT_ID_OF_OTHER_SOURCE)
        for item in explained
        if item.warning and item.warning.endswith(_OTHER_SOURCE)
    )
    events = problems + (_qualities((*open_items, *other_items)) - _qualities(duplicates))
    tallies.append_tallies(connection, counts + events, now)
    failed = Counter(item.reason_class or "" for item in other_items if item.state is State.FAILED)
    measures.append_counts(connection, measures.FAILED, failed)
    return _by_outcome(counts)


def _with_their_orders(
    connection: Connection, new: Sequence[NewDelivery], now: float
) -> Sequence[NewDelivery]:
    """Give the deliveries of one order, whichever of its ids they state, one business key."""
    orders = {item.order for item in new if item.order is not None}
    if not orders:
        return new
    keys = name_orders(connection, orders, now + BUSINESS_ID_DAYS * SECONDS_A_DAY)
    return [item if item.order is None else item._replace(business_key=keys[item.order]) for item in new]


def _without_remembered(
    connection: Connection, vault: Vault, items: Sequence[NewDelivery]
) -> tuple[list[NewDelivery], list[NewDelivery], list[NewDelivery]]:
    """Separate the deliveries whose first copy is gone from the ledger.

    Returns the others, the duplicates with their reason, and those of the others whose id was used for other content.
    """
    id_pairs = ((DedupKey(*item.unique_key), item.business_key) for item in items)
    recall = recall_ids(connection, vault, id_pairs) if items else None
    if recall is None:
        return list(items), [], []
    fresh: list[NewDelivery] = []
    duplicates: list[NewDelivery] = []
    contradicted: list[NewDelivery] = []
    for item in items:
        memory = recall(DedupKey(*item.unique_key), item.business_key)
        if memory is None:
            fresh.append(item)
        elif item.trust <= memory.trust or item.content_key == memory.content_key:
            at = shown_time(memory.accepted_at)
            reason = f"A copy of this event was accepted before, at {at}. It is no longer stored."
            duplicates.append(item._replace(reason=reason))
        elif memory.may_have_arrived:
            fresh.append(_warned(item))
            contradicted.append(item)
        else:
            fresh.append(item)
    return fresh, duplicates, contradicted


def _insert_fresh(connection: Connection, fresh: Sequence[NewDelivery], now: float) -> list[NewDelivery]:
    """Insert deliveries; return those whose event id or business key another delivery holds."""
    blocked = _left_out(fresh, _insert_once(connection, fresh))
    keys = {item.business_key for item in blocked if item.business_key is not None}
    # After some time a shop may use an order id again.
    if keys and _release_business_keys(connection, keys, now - BUSINESS_ID_DAYS * SECONDS_A_DAY):
        blocked = _left_out(blocked, _insert_once(connection, blocked))
    return blocked


def _release_business_keys(connection: Connection, keys: Iterable[bytes], before: float) -> int:
    released = 0
    for chunk in chunks(sorted(keys)):
        old = update(delivery).where(
            is_among(connection, delivery.c.business_key, chunk),
            text(f"delivery.state = {State.OPEN.value} AND delivery.business_key IS NOT NULL"),
            delivery.c.accepted_at < before,
        )
        released += connection.execute(old.values(business_key=None)).rowcount
    return released


def _insert_once(connection: Connection, items: Sequence[NewDelivery]) -> Sequence[Any]:
    """Insert deliveries; return the unique keys of those that were written, as rows."""
    return insert_all(connection, delivery, [_values(item, None) for item in items], _unless_it_is_there)


def _left_out(items: Sequence[NewDelivery], rows: Sequence[Any]) -> list[NewDelivery]:
    """Return the deliveries that were not written. Of two with one key, the first was."""
    blocked: list[NewDelivery] = []
    if len(rows) == len(items):
        return blocked
    written: set[_PlainKey] = {(row[0], bool(row[1]), row[2], row[3]) for row in rows}
    for item in items:
        if item.unique_key in written:
            written.discard(item.unique_key)
        else:
            blocked.append(item)
    return blocked


def _take_places(
    connection: Connection, blocked: Sequence[NewDelivery], now: float
) -> tuple[list[NewDelivery], list[NewDelivery], list[NewDelivery]]:
    """Insert signed deliveries whose ids are held by public ones that must give way.

    Returns the duplicates, the duplicates that are needed if the public copy fails, and those inserted deliveries
    whose id was used before for other content.
    """
    duplicates = [item for item in blocked if item.trust is not Trust.SIGNED]
    needed: list[NewDelivery] = []
    contradicted: list[NewDelivery] = []
    signed = [item for item in blocked if item.trust is Trust.SIGNED]
    while signed:
        claims, signed = _claim_each_key_once(signed)
        ways = displace_public(connection, [claim for claim, _ in claims], now)
        goes: list[NewDelivery] = []
        for claim, item in claims:
            way = ways[claim.key]
            if way is Precedence.TAKEN:
                duplicates.append(item)
            elif way is Precedence.BEING_SENT:
                needed.append(item)
            elif way is Precedence.CONTRADICTED:
                goes.append(_warned(item))
                contradicted.append(item)
            else:
                goes.append(item)
        if len(_insert_once(connection, goes)) < len(goes):
            # Another worker inserted one of them just now.
            raise VersionConflictError
    return duplicates, needed, contradicted


def _claim_each_key_once(
    blocked: Sequence[NewDelivery],
) -> tuple[list[tuple[Claim, NewDelivery]], list[NewDelivery]]:
    """Return the first delivery of each id and business key with its claim, and the others."""
    claims: list[tuple[Claim, NewDelivery]] = []
    repeated: list[NewDelivery] = []
    taken_keys: set[Any] = set()
    for item in blocked:
        keys = {item.unique_key} | ({item.business_scope} - {None})
        if taken_keys.isdisjoint(keys):
            content = Content(item.content_key, item.order_key, item.currency, item.value_thousandths)
            claims.append((Claim(DedupKey(*item.unique_key), content, item.business_key), item))
            taken_keys |= keys
        else:
            repeated.append(item)
    return claims, repeated


def _warned(item: NewDelivery) -> NewDelivery:
    warning = f"{item.warning} {MAY_BE_COUNTED_ONCE}" if item.warning else MAY_BE_COUNTED_ONCE
    return item._replace(warning=warning)


def _unless_it_is_there(new: Any) -> Any:
    # Without an index, because two of them decide: by event id, and by business key.
    key = (delivery.c.ad_account, delivery.c.test, delivery.c.event_id, delivery.c.event_name)
    return new.on_conflict_do_nothing().returning(*key)


_PLAIN = tuple(
    name
    for name in NewDelivery._fields
    if name not in ("source_id", "qualities", "problems", "identifiers", "state", "trust", "order")
)
_read_plain = attrgetter(*_PLAIN)


def _values(item: NewDelivery, ended_at: float | None) -> dict[str, Any]:
    values = dict(zip(_PLAIN, _read_plain(item), strict=True))
    # A driver is slower with an enum member, and the member's ``value`` is slower than ``int``.
    values["state"] = int(item.state)
    values["trust"] = int(item.trust)
    values["ended_at"] = ended_at
    return values


def _duplicate(item: NewDelivery, now: float) -> dict[str, Any]:
    return _values(item, now) | {
        "state": State.DUPLICATE.value,
        "payload": None,
        "public_fields": None,
        "reason_class": "duplicate",
        "reason": item.reason or "An event with this id and name was accepted before.",
    }


def _kept_duplicate(item: NewDelivery, now: float) -> dict[str, Any]:
    """Return a signed duplicate with its payload. It is sent if the public copy fails."""
    values = {"payload": item.payload, "public_fields": item.public_fields}
    return _duplicate(item, now) | values | {"reason": "A public event with the same content is being sent."}


_OTHER_SOURCE = (
    "Another source of this ad account sent an event with this id before. "
    "Pinterest keeps one event of each id, so this one was not sent."
)
_BUSINESS_WORDS = {
    "checkout": "order id",
    "signup": "user id",
    "lead": "lead id",
    "subscribe": "subscription id",
    "start_trial": "subscription id",
}


def _explain_duplicates(connection: Connection, duplicates: Sequence[NewDelivery]) -> list[NewDelivery]:
    """Add to each duplicate which earlier event it repeats."""
    if not duplicates:
        return []
    rows = open_holders(
        connection, [item.event_id for item in duplicates], [item.business_key for item in duplicates]
    )
    by_id = {tuple(dedup_key(row)): row for row in rows}
    by_business = {(row.business_key, row.ad_account, bool(row.test)): row for row in rows}
    explained: list[NewDelivery] = []
    for item in duplicates:
        same_id, same_business = by_id.get(item.unique_key), None
        if item.business_scope is not None:
            same_business = by_business.get(item.business_scope)
        changes: dict[str, Any] = {}
        if same_id is not None:
            at = shown_time(same_id.accepted_at)
            changes["reason"] = f"An event with this id and name was accepted before, at {at}."
            if same_id.integration_id != item.integration_id:
                changes["warning"] = f"{item.warning} {_OTHER_SOURCE}" if item.warning else _OTHER_SOURCE
        elif same_business is not None:
            noun = _BUSINESS_WORDS.get(item.event_name, "id")
            at, event_id = shown_time(same_business.accepted_at), shown_event_id(same_business.event_id)
            changes["reason"] = (
                f"A {item.event_name} event with this {noun} was accepted before, at {at}, with event id {event_id}."
            )
        explained.append(item._replace(**changes) if changes else item)
    return explained


_read_counted = attrgetter("source_id", "integration_id", "event_name")


def _count(
    open_items: Iterable[NewDelivery], other_items: Iterable[NewDelivery], duplicates: Iterable[NewDelivery]
) -> Counter[tallies.Entry]:
    created = Counter(map(_read_counted, (*open_items, *other_items)))
    counts = Counter({tallies.Entry(*names, tallies.CREATED): n for names, n in created.items()})
    for item in other_items:
        counts[_entry(item, _OUTCOMES[item.state])] += 1
    for item in duplicates:
        counts[_entry(item, tallies.DUPLICATE)] += 1
    return counts


def _qualities(deliveries: Iterable[NewDelivery]) -> Counter[tallies.Entry]:
    # One entry per combination: there are few combinations and many more identifiers.
    counts = Counter((_read_counted(item), item.qualities) for item in deliveries)
    return Counter(
        {
            tallies.Entry(*names, tallies.QUALITY + ",".join(qualities)): n
            for (names, qualities), n in counts.items()
            if qualities
        }
    )


def _by_outcome(counts: Counter[tallies.Entry]) -> Counter[str]:
    sums: Counter[str] = Counter()
    for entry, n in counts.items():
        sums[entry.outcome] += n
    return sums


def _entry(item: NewDelivery, outcome: str) -> tallies.Entry:
    return tallies.Entry(item.source_id, item.integration_id, item.event_name, outcome)


def _subtract_refunds(connection: Connection, new: Sequence[NewDelivery]) -> None:
    """Add refunds to the sales report; a repeated event id counts once."""
    refunds = {
        (item.integration_id, item.event_id): item
        for item in new
        if item.reason_class == REFUND and item.day is not None and not item.test
    }
    if not refunds:
        return
    query = select(delivery.c.integration_id, delivery.c.event_id).where(
        delivery.c.event_id.in_([event_id for _, event_id in refunds]),
        delivery.c.state == State.DROPPED.value,
        delivery.c.reason_class == REFUND,
    )
    for integration_id, event_id in connection.execute(query):
        refunds.pop((integration_id, event_id), None)
    append_sales(
        connection,
        (
            (item.integration_id, REFUND, Sale(item.day, item.currency, item.value_thousandths))
            for item in refunds.values()
        ),
    )
