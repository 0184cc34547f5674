"""Keep the events of suppressed persons out, until they consent again."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Protocol

from sqlalchemy import Connection

from worker.event.consent.consent import renews_consent
from worker.event.received import Trust
from worker.event.times import parse_time
from worker.ledger.database import Ledger
from worker.ledger.delivery.new_deliveries import NewDelivery
from worker.ledger.upkeep import suppressed_persons
from worker.pinterest.user_data.hashing import hash_value
from worker.pinterest.user_data.person_matching import split_record
from worker.pinterest.user_data.visitor import Visitor
from worker.pipeline.ingest.accepting import OpenedEvent


@dataclass(frozen=True, slots=True)
class Named:
    """Hold whom an event is about, by SHA-256 hashes and keys, and when a consent that it states was given."""

    emails: frozenset[str]
    user_ids: frozenset[str]
    user_key: bytes | None
    device_key: bytes | None
    consented_at: float | None = None
    received_at: float = inf
    is_signed: bool = True

    @property
    def digests(self) -> frozenset[str]:
        return self.emails | self.user_ids


class _Mapped(Protocol):
    @property
    def named(self) -> Named | None: ...


@dataclass(frozen=True, slots=True)
class Lift:
    """Hold from which event on a suppression has ended, and the keys that named the person."""

    event_id: int
    keys: frozenset[str]


@dataclass(frozen=True, slots=True)
class Screening:
    """Hold which events and visitors not to keep, and which suppressions end, by the id of their request.

    ``signed_visitors`` are suppressed by public calls only: what signed calls said of them is kept.
    """

    events: frozenset[int] = frozenset()
    visitors: frozenset[bytes] = frozenset()
    signed_visitors: Mapping[bytes, dict[str, Any]] = field(default_factory=dict)
    lifted: Mapping[int, Lift] = field(default_factory=dict)


def named_by(opened: OpenedEvent, visitor: Visitor, deliveries: Iterable[NewDelivery]) -> Named:
    """Return whom an event is about: who is sent to Pinterest, or the visitor of an event that is not sent."""
    payloads = [delivery.identifiers for delivery in deliveries if delivery.payload is not None]
    of_visitor = set(visitor.traits.get("em", ()))
    emails = {digest for sent, _ in payloads for digest in sent} if payloads else of_visitor
    user_ids = {digest for _, sent in payloads for digest in sent}
    if visitor.user_id and (not payloads or not of_visitor.isdisjoint(emails)):
        user_ids.add(visitor.user_id)
    if user_id := hash_value("external_id", opened.event.get("userId")):
        user_ids.add(user_id)
    row = opened.row
    consented_at = _consented_at(opened)
    return Named(
        frozenset(emails),
        frozenset(user_ids),
        row.user_key,
        row.anonymous_key,
        consented_at,
        row.received_at,
        opened.trust is Trust.SIGNED,
    )


def _consented_at(opened: OpenedEvent) -> float | None:
    """Return when a new consent was given; None without one, or if anyone could have sent it."""
    if opened.trust is not Trust.SIGNED or not renews_consent(opened.event):
        return None
    times = (parse_time(opened.event.get(name)) for name in ("originalTimestamp", "timestamp"))
    return min([opened.row.received_at, *(at for at in times if at is not None)])


def screen(
    ledger: Ledger, mapped: Mapping[int, _Mapped], visitors: Mapping[bytes, Mapping[str, Any]]
) -> Screening:
    """Compare the events and visitors of a bulk with the suppressed persons.

    An event that came before its person was erased is not kept: it waited in a spool.
    """
    events = {event_id: event.named for event_id, event in mapped.items() if event.named is not None}
    user_keys = {named.user_key for named in events.values() if named.user_key is not None}
    device_keys = {named.device_key for named in events.values() if named.device_key is not None}
    records = {key: _named_in(record, key, key in user_keys) for key, record in visitors.items()}
    digests = {digest for named in (*events.values(), *records.values()) for digest in named.digests}
    key_of = {digest: suppressed_persons.identifier_key(ledger.vault, digest) for digest in digests}
    public = {named for named in (*events.values(), *records.values()) if not named.is_signed}
    of_public = {key for named in public for key in (named.user_key, named.device_key) if key is not None}
    public_key_of = {key: suppressed_persons.public_key(ledger.vault, key) for key in of_public}
    keys = {*key_of.values(), *user_keys, *device_keys, *visitors, *public_key_of.values()}

    def concerns(named: Named, active: Collection[bytes]) -> bool:
        linked_keys = {key for key, public_key in public_key_of.items() if public_key in active}
        return _is_suppressed(named, key_of, active if named.is_signed else {*active, *linked_keys})

    with ledger.read() as connection:
        requests = suppressed_persons.find_suppressions(connection, keys)
        erased = suppressed_persons.find_erasures(connection, keys)
    lifts = _lifted(events, key_of, requests)
    ends = {key: lifts[number].event_id for key, (_, number) in requests.items() if number in lifts}
    active = requests.keys() - ends.keys()
    held = {
        event_id
        for event_id, named in events.items()
        if concerns(named, active | {key for key, end in ends.items() if event_id < end})
    }
    late = {
        event_id: named
        for event_id, named in events.items()
        if concerns(named, {key for key, at in erased.items() if named.received_at < at})
    }
    of_late = {key for named in late.values() for key in (named.user_key, named.device_key)}
    refused = {
        key
        for key, named in records.items()
        if concerns(named, active | (erased.keys() if key in of_late else set()))
    }
    kept = {}
    for key in refused:
        signed, _ = split_record(visitors[key])
        if signed is not None:
            named = replace(_named_in(signed, key, key in user_keys), is_signed=True)
            if not concerns(named, active | (erased.keys() if key in of_late else set())):
                kept[key] = signed
    return Screening(frozenset(held | late.keys()), frozenset(refused - kept.keys()), kept, lifts)


def _is_suppressed(named: Named, key_of: Mapping[str, bytes], active: Collection[bytes]) -> bool:
    """Return whether an event is about a suppressed person.

    The accounts and devices that an erasure found may be another's, as anyone can send a public call that links them:
    an event that names another person is kept.
    """
    if any(key_of[digest] in active for digest in named.digests):
        return True
    if named.user_key in active and not named.emails:
        return True
    return named.device_key in active and named.user_key is None and not named.digests


def _lifted(
    events: Mapping[int, Named], key_of: Mapping[str, bytes], requests: Mapping[bytes, tuple[float, int]]
) -> dict[int, Lift]:
    """Return the requests of persons who consented after them."""
    lifts: dict[int, Lift] = {}
    for event_id, named in sorted(events.items()):
        if named.consented_at is None:
            continue
        keys = {
            key for key in (named.user_key, *(key_of[digest] for digest in named.digests)) if key is not None
        }
        for key in keys & requests.keys():
            since, number = requests[key]
            if named.consented_at > since and number not in lifts:
                lifts[number] = Lift(event_id, frozenset(key.hex() for key in keys))
    return lifts


def _named_in(record: Mapping[str, Any], key: bytes, is_user: bool) -> Named:
    layers = (record, record.get("signed") or {})
    emails = {digest for layer in layers for digest in (layer.get("traits") or {}).get("em", ())}
    user_ids = {layer["user_id"] for layer in layers if layer.get("user_id")}
    return Named(frozenset(emails), frozenset(user_ids), key if is_user else None, key, is_signed=False)


def lift(connection: Connection, lifts: Mapping[int, Lift], now: float) -> None:
    """End the suppressions of persons who consented again, and record why."""
    for number, end in sorted(lifts.items()):
        if n := suppressed_persons.lift_suppressions(connection, [number]):
            counts = {"suppressed_keys": n}
            suppressed_persons.add_request(
                connection, now, "a signed event", suppressed_persons.CONSENT, end.keys, counts
            )
