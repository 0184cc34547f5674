"""Turn mapping outcomes into rows of the ledger, and track visitors."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from functools import lru_cache
from ipaddress import ip_address
from itertools import chain, repeat
from math import inf
from types import MappingProxyType
from typing import Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import Connection

from worker import logs
from worker.event import json_text
from worker.event.problems import FoundProblem, Problem
from worker.event.received import Received, Trust
from worker.ledger.delivery.new_deliveries import PAYLOAD, NewDelivery
from worker.ledger.delivery.remembered_ids import OrderIdentity, could_be_number
from worker.ledger.intake import visitors
from worker.ledger.intake.inbox import Waiting
from worker.ledger.intake.visitors import StoredVisitor
from worker.ledger.reports.match_quality_counts import COMPUTED, INVALID, LATE
from worker.ledger.reports.sales_by_day import MAX_THOUSANDTHS, THOUSANDTHS
from worker.ledger.schema import State
from worker.ledger.setup import integrations, sources
from worker.ledger.setup.integrations import Integration
from worker.ledger.setup.sources import PUBLIC_VISITORS_PER_DAY, Source
from worker.ledger.upkeep import suppressed_persons
from worker.ledger.vault import MissingKeyError, SealError, Vault
from worker.pinterest.business_id import business_id, order_ids
from worker.pinterest.custom_data.custom_data import read_order_id
from worker.pinterest.mapping.call import ConfigError, Options, read_call
from worker.pinterest.mapping.mapping import (
    Dropped,
    Explanation,
    Failed,
    Filtered,
    Mapped,
    Outcome,
    encode_payload,
    map_events,
)
from worker.pinterest.signed_only import drop_signed_only
from worker.pinterest.user_data.visitor import (
    Visitor,
    apply_identify,
    are_different_people,
    only_click_ids,
    signs_out,
    visitor_for_public_event,
    visitor_for_signed_event,
    with_click_ids,
    without_click_ids,
)
from worker.pipeline.ingest.accepting import OpenedEvent


@dataclass(frozen=True, slots=True)
class Destination:
    """Hold one integration with its mapping options read. ``screens`` means that someone is suppressed."""

    integration: Integration
    source: Source
    options: Options
    screens: bool = False

    @property
    def test(self) -> bool:
        return bool(self.integration.config.get("test_mode", False))

    @property
    def time_zone(self) -> tzinfo:
        """Return the time zone of the source's days; UTC if unset or unknown on this machine."""
        return _zone(self.source.options.get("time_zone") or "UTC")


_NO_GROUPS: Mapping[str, str] = MappingProxyType({})


class Destinations:
    """Hold the sources of one bulk with their enabled integrations."""

    def __init__(self, connection: Connection, source_ids: Iterable[str], earliest: float = inf) -> None:
        self._sources: dict[str, Source] = {}
        self._consent_groups: dict[str, Mapping[str, str]] = {}
        self._integrations: dict[str, list[Integration]] = {}
        self._targets: dict[str, list[Destination]] = {}
        self._unreadable: dict[str, dict[int, ConfigError]] = {}
        # Whether anyone is suppressed, or was erased after the earliest event: then events are compared with them.
        self.screens = suppressed_persons.any_suppressed(connection, earliest)
        for source_id in source_ids:
            source = sources.load_source(connection, source_id)
            if source is not None:
                self._sources[source_id] = source
                self._consent_groups[source_id] = source.consent_groups
                enabled = [
                    row for row in integrations.integrations_of_source(connection, source_id) if row.enabled
                ]
                self._integrations[source_id] = enabled

    def of(self, source_id: str) -> list[Destination]:
        """Return the destinations of a source that this version can read; none if it was deleted."""
        if source_id not in self._targets:
            targets: list[Destination] = []
            errors = self._unreadable[source_id] = {}
            for row in self._integrations.get(source_id, []):
                try:
                    options = self._options(row)
                    targets.append(Destination(row, self._sources[source_id], options, self.screens))
                except ConfigError as error:
                    errors[row.number] = error
            self._targets[source_id] = targets
        return self._targets[source_id]

    def unreadable(self, source_id: str) -> Mapping[int, ConfigError]:
        """Return the integrations of a source that this version cannot read, by number; others are not affected."""
        self.of(source_id)
        return self._unreadable[source_id]

    def _options(self, row: Integration) -> Options:
        options = _options(row)
        country = options.default_country or self.default_country(row.source_id)
        groups = self.consent_groups(row.source_id)
        return replace(options, default_country=country, consent_groups=groups)

    def debug_until(self, source_id: str) -> float:
        """Return until when events of a source are stored for the live debugger."""
        source = self._sources.get(source_id)
        return source.debug_until if source else 0.0

    def public_visitors_per_day(self, source_id: str) -> int:
        """Return the daily limit of visitors that public calls of a source create."""
        source = self._sources.get(source_id)
        return source.public_visitors_per_day if source else PUBLIC_VISITORS_PER_DAY

    def consent_groups(self, source_id: str) -> Mapping[str, str]:
        """Return a source's own names of a consent tool's groups."""
        return self._consent_groups.get(source_id, _NO_GROUPS)

    def default_country(self, source_id: str) -> str | None:
        """Return the default country of a source's phone numbers."""
        source = self._sources.get(source_id)
        return source.options.get("default_country") if source else None


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def _options(integration: Integration) -> Options:
    # The mapping does not need the token.
    config = integration.config | {"access_token": "***"}
    return _read_options(json.dumps(config, sort_keys=True), integration.consent_categories)


@lru_cache(maxsize=1024)
def _read_options(config: str, consent_categories: tuple[str, ...]) -> Options:
    # Cached, because reading checks and compiles the options, and they rarely change.
    return Options.from_config(json.loads(config), consent_categories)


# Each look at a member of an enum calls a function, and ``Mapped | Failed`` makes an object.
_SIGNED, _OPEN = Trust.SIGNED, State.OPEN
_MAPPED_OR_FAILED = (Mapped, Failed)
_Payload = Mapping[str, Any] | None

_FIRST_DAY = date(1970, 1, 1).toordinal()
_LATEST = 2**32


def map_together(
    events: Iterable[tuple[Destination, OpenedEvent, Visitor]], now: float, explain: Explanation | None = None
) -> list[list[Outcome]]:
    """Return the outcomes of several events, each with its integration and its visitor, in their order."""
    return map_events(
        (
            opened.event,
            opened.received,
            visitor,
            target.options,
            now,
            target.source.default_consent(opened.received.channel),
            explain,
        )
        for target, opened, visitor in events
    )


def to_deliveries(
    target: Destination,
    opened: OpenedEvent,
    visitor: Visitor,
    vault: Vault,
    now: float,
    explain: Explanation | None = None,
    outcomes: list[Outcome] | None = None,
) -> list[NewDelivery]:
    """Map one event for one integration, unless it has its outcomes already; payloads come back sealed."""
    if outcomes is None:
        (outcomes,) = map_together([(target, opened, visitor)], now, explain)
    names = target.source.options.get("signed_only_events")
    if names and opened.trust is not _SIGNED:
        outcomes = drop_signed_only(outcomes, names, target.options)
        # Anyone can send an unsigned refund; where unsigned sales do not count, it does not either.
        outcomes = [
            replace(outcome, refund=None) if isinstance(outcome, Dropped) else outcome for outcome in outcomes
        ]
    return [_to_delivery(outcome, target, opened, vault) for outcome in outcomes]


def _to_delivery(outcome: Outcome, target: Destination, opened: OpenedEvent, vault: Vault) -> NewDelivery:
    row = opened.row
    payload = outcome.payload if isinstance(outcome, _MAPPED_OR_FAILED) else None
    text = encode_payload(payload) if payload is not None else None
    return NewDelivery(
        source_id=row.source_id,
        integration_id=target.integration.number,
        ad_account=target.integration.ad_account,
        test=target.test,
        accepted_at=row.received_at,
        anonymous_key=row.anonymous_key,
        user_key=row.user_key,
        trust=opened.trust,
        event_id=outcome.event_id,
        consent=outcome.consent,
        public_fields=_public_fields(outcome, opened.trust) if text is not None else None,
        source_name=outcome.source_name,
        payload=vault.seal(text, PAYLOAD) if text is not None else None,
        size_bytes=len(text) if text is not None else 0,
        problems=_found_problems(outcome, opened.received) if outcome.problems else (),
        identifiers=_identifiers(payload) if target.screens else ((), ()),
        order_key=_order_key(payload, opened, target.options, vault),
        **_counted_once_by(outcome, target, opened, vault),
        **_of_kind(outcome, row, vault),
        **_sale(outcome, payload, target.time_zone),
    )


def _found_problems(outcome: Outcome, received: Received) -> tuple[FoundProblem, ...]:
    """Return the problems of an outcome, each kind once, with the sentences that the mapping wrote."""
    sentences = chain(outcome.warnings if isinstance(outcome, Mapped | Failed) else (), repeat(""))
    problems = {
        kind: FoundProblem(kind, sentence, _proxy_address(kind, received))
        for kind, sentence in zip(outcome.problems, sentences, strict=False)
    }
    return tuple(problems.values())


def _proxy_address(kind: Problem, received: Received) -> str | None:
    """Return the private address that a browser's event came from: it is a proxy's, and no visitor's."""
    if kind is not Problem.ADDRESS_NOT_PUBLIC or received.channel != "browser" or received.ip is None:
        return None
    try:
        return received.ip if ip_address(received.ip).is_private else None
    except ValueError:
        return None


def _identifiers(payload: _Payload) -> tuple[Sequence[str], Sequence[str]]:
    data = (payload or {}).get("user_data") or {}
    return data.get("em", ()), data.get("external_id", ())


def _public_fields(outcome: Outcome, trust: Trust) -> str | None:
    """Return what only public calls gave a signed event. Of a public event they gave everything."""
    return outcome.public_fields if trust is _SIGNED and isinstance(outcome, _MAPPED_OR_FAILED) else None


def _of_kind(outcome: Outcome, row: Waiting, vault: Vault) -> dict[str, Any]:
    if isinstance(outcome, Mapped):
        return {
            "state": _OPEN,
            "event_name": outcome.event_name,
            "event_time": outcome.event_time,
            "offline": outcome.offline,
            "warning": " ".join(outcome.warnings) or None,
            "content_key": _content_key(outcome.payload, vault),
            "qualities": _qualities(outcome),
        }
    if isinstance(outcome, Failed):
        payload = outcome.payload or {}
        return {
            "state": State.FAILED,
            "event_name": outcome.event_name or "",
            "event_time": payload.get("event_time", int(row.received_at)),
            "offline": payload.get("action_source") == "offline",
            "reason_class": outcome.reason_class,
            "reason": outcome.reason,
            "content_key": _content_key(outcome.payload, vault),
            "qualities": _qualities(outcome),
        }
    return {
        "state": State.FILTERED if isinstance(outcome, Filtered) else State.DROPPED,
        "event_name": "",
        "event_time": int(row.received_at),
        "offline": False,
        "reason_class": "consent" if isinstance(outcome, Filtered) else outcome.reason_class,
        "reason": outcome.reason,
    }


def _sale(outcome: Outcome, payload: _Payload, zone: tzinfo) -> dict[str, Any]:
    """Return the sales columns: what the event adds to its day once it is delivered, or what it takes back."""
    if isinstance(outcome, Dropped) and outcome.refund is not None:
        event_time, amount = outcome.event_time, outcome.refund.amount
        data = {"currency": outcome.refund.currency, "value": amount.text if amount is not None else None}
    else:
        event_time, data = (payload or {}).get("event_time"), (payload or {}).get("custom_data") or {}
    # An event that fails as too old may have any time.
    if event_time is None or not 0 <= event_time <= _LATEST:
        return {}
    day = day_of(datetime.fromtimestamp(event_time, zone))
    return {
        "day": day,
        "currency": data.get("currency"),
        "value_thousandths": thousandths_of(data.get("value")),
    }


def day_of(moment: datetime) -> int:
    """Return the days since 1970 of a moment in its own time zone."""
    return moment.toordinal() - _FIRST_DAY


def thousandths_of(value: object) -> int | None:
    """Return an amount of a payload in thousandths; None without one, or if it is too large to be added up."""
    # The mapping writes amounts as digits.
    if not isinstance(value, str):
        return None
    thousandths = round(Decimal(value) * THOUSANDTHS)
    return thousandths if thousandths <= MAX_THOUSANDTHS else None


def _qualities(outcome: Mapped | Failed) -> tuple[str, ...]:
    """Return the match-quality marks of an event, in a fixed order."""
    if isinstance(outcome, Failed):
        return (INVALID + outcome.reason_class,)
    marks = (*outcome.identifiers, COMPUTED) if outcome.computed else outcome.identifiers
    return (*marks, LATE) if outcome.late else marks


def _order_key(payload: _Payload, opened: OpenedEvent, options: Options, vault: Vault) -> bytes | None:
    """Return a keyed hash of the order id, so that a search finds an order that is not sent, too."""
    if payload is not None:
        order_id = (payload.get("custom_data") or {}).get("order_id")
    elif opened.event.get("properties"):
        order_id = read_order_id(read_call(opened.event, opened.received, options).properties)
    else:
        order_id = None
    return vault.keyed_hash("order", opened.row.source_id, order_id) if order_id else None


def _counted_once_by(
    outcome: Outcome, target: Destination, opened: OpenedEvent, vault: Vault
) -> dict[str, Any]:
    """Return keyed hashes of what counts once, whatever its event ids; none if the integration counts event ids."""
    if not isinstance(outcome, _MAPPED_OR_FAILED) or not target.options.dedupe_by_business_id:
        return {}
    name, payload, source_id = outcome.event_name, outcome.payload, opened.row.source_id
    if not name or not payload:
        return {}
    if name == "checkout":
        order = _order_identity(payload.get("custom_data") or {}, opened, vault)
        return {"order": order, "business_key": order.keys[0]} if order is not None else {}
    id_ = business_id(name, opened.event)
    return {"business_key": vault.keyed_hash("business", name, source_id, id_)} if id_ else {}


def _order_identity(data: Mapping[str, Any], opened: OpenedEvent, vault: Vault) -> OrderIdentity | None:
    ids, source_id = order_ids(opened.event, data.get("order_id")), opened.row.source_id
    # The source belongs to each key: two shops that share an ad account may both have an order 1001.
    keys = [vault.keyed_hash("order", source_id, number) for number in ids.numbers]
    system_key, guesses = (
        None,
        [("order id", number) for number in ids.numbers[:1] if could_be_number(number)],
    )
    if ids.system_id is not None:
        is_short = could_be_number(ids.system_id)
        system_key = vault.keyed_hash("order id" if is_short else "order", source_id, ids.system_id)
        keys.insert(0, system_key)
        guesses = [("order", ids.system_id)] if is_short else []
    if ids.checkout_token is not None:
        keys.append(vault.keyed_hash("checkout token", source_id, ids.checkout_token))
    if not keys:
        return None
    currency, value = data.get("currency"), data.get("value")
    return OrderIdentity(
        keys=tuple(keys),
        system_key=system_key,
        guesses=tuple(vault.keyed_hash(kind, source_id, guess) for kind, guess in guesses),
        meets=tuple(vault.keyed_hash("order or order id", source_id, guess) for _, guess in guesses),
        amount_key=vault.keyed_hash("amount", currency, _plain(value)) if currency and value else None,
        connects=opened.trust is _SIGNED and system_key is not None,
    )


def _content_key(payload: _Payload, vault: Vault) -> bytes | None:
    """Return a keyed hash of order id, currency and value, to compare two copies of an event; None without them.

    The source is not included: a shop may send the browser's and the server's copy through two sources.
    """
    data = (payload or {}).get("custom_data")
    if not data:
        return None
    order_id, currency, value = (data.get(name) or "" for name in ("order_id", "currency", "value"))
    if not (order_id or currency or value):
        return None
    return vault.keyed_hash("content", currency, _plain(value) if value else "", order_id)


def _plain(value: str) -> str:
    # 499 and 499.00 are the same amount.
    return format(Decimal(value).normalize(), "f")


log = logs.of(__name__)


@dataclass(frozen=True, slots=True)
class _VisitorRecord:
    """Hold the visitor of one key in two layers: from all calls, and from signed calls only.

    The click ids of ``signed`` also come from public events of the device, because servers do not have them first.
    Each layer has the last inbox id that informed it: workers take events in any order, and an earlier event must
    not overwrite a later one.
    """

    everything: Visitor
    last_inbox_id: int
    signed: Visitor
    signed_last_inbox_id: int

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON to store; the signed layer only where it differs."""
        record = self.everything.to_dict() | {"told_up_to": self.last_inbox_id}
        if self.signed_last_inbox_id or self.signed != only_click_ids(self.everything):
            record["signed"] = self.signed.to_dict() | {"told_up_to": self.signed_last_inbox_id}
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` returned; records of the version before have the public layer only."""
        everything, last_inbox_id = Visitor.from_dict(record), record["told_up_to"]
        signed = record.get("signed")
        if signed is None:
            return cls(everything, last_inbox_id, only_click_ids(everything), 0)
        return cls(everything, last_inbox_id, Visitor.from_dict(signed), signed["told_up_to"])


class BulkVisitors:
    """Track the visitors of one bulk while its events are mapped in order."""

    def __init__(self, records: Mapping[bytes, _VisitorRecord]) -> None:
        self._everything = _Layer(
            {key: record.everything for key, record in records.items()},
            {key: record.last_inbox_id for key, record in records.items()},
        )
        self._signed = _Layer(
            {key: record.signed for key, record in records.items()},
            {key: record.signed_last_inbox_id for key, record in records.items()},
        )

    def learn(self, opened: OpenedEvent, default_country: str | None, *, keep: bool) -> Visitor:
        """Return the visitor of an event, updated by the event.

        With ``keep`` the visitor is written later; without, the event only informs this bulk.
        """
        keys = opened.keys
        everything = self._everything.learn(opened, keys, default_country, keep=keep)
        if opened.trust is _SIGNED:
            signed = self._signed.learn(opened, keys, default_country, keep=keep)
            return visitor_for_signed_event(signed, everything)
        # Anyone with the pipeline key can send any user id, but not guess the random id of another browser.
        if opened.row.anonymous_key is not None:
            self._signed.learn_from_device(opened, opened.row.anonymous_key, keep=keep)
        signed = self._signed.known(keys)
        return everything if signed is Visitor.EMPTY else visitor_for_public_event(signed, everything)

    def signed_facts(self, opened: OpenedEvent, visitor: Visitor) -> Visitor:
        """Return the visitor of a signed event without what only public calls said; the same object if that is all.

        The browser id may have come from a public call, and may be sent as an external id.
        """
        signed = self._signed.known(opened.keys)
        if not visitor.unconfirmed and not visitor.pin_unauth and visitor.user_id == signed.user_id:
            return visitor
        facts = replace(visitor, unconfirmed={}, user_id=signed.user_id, pin_unauth=None)
        return replace(facts, is_user_id_unconfirmed=False)

    def changed(self) -> dict[bytes, _VisitorRecord]:
        """Return the records to write."""
        return {key: self._record(key) for key in self._everything.changed | self._signed.changed}

    def _record(self, key: bytes) -> _VisitorRecord:
        return _VisitorRecord(*self._everything.state(key), *self._signed.state(key))


class _Layer:
    """Hold visitors from all calls or from signed calls.

    Traits of an ``identify`` are stored under the person's and the device's key, click ids under the device's key.
    """

    def __init__(self, by_key: Mapping[bytes, Visitor], last_inbox_id: Mapping[bytes, int]) -> None:
        self._current = dict(by_key)
        self._last_inbox_ids = dict(last_inbox_id)
        # Events that only inform this bulk must not be stored: their rows may be erased meanwhile.
        self._kept = {key: (visitor, last_inbox_id[key]) for key, visitor in by_key.items()}
        self.changed: set[bytes] = set()

    def learn(
        self, opened: OpenedEvent, keys: Sequence[bytes], default_country: str | None, *, keep: bool
    ) -> Visitor:
        """Return the visitor updated by the event, and remember it."""
        before = self.known(keys)
        identifies = opened.event.get("type") == "identify"
        known_key = next((key for key in keys if key in self._current), None)
        if known_key is not None and self._is_older(opened, known_key):
            of_event = _apply(Visitor.EMPTY, opened, default_country)
            # The first argument takes precedence: the newer visitor, unless that is another person.
            is_other = are_different_people(before, of_event)
            visitor = _join_visitors(of_event, before) if is_other else _join_visitors(before, of_event)
        else:
            visitor = _apply(before, opened, default_country)
            if visitor is before and not identifies:
                return visitor
        if without_click_ids(before) is not before and without_click_ids(visitor) is visitor:
            self._forget_clicks(keys, keep=keep)
        if identifies or visitor != before:
            for key in keys if identifies else keys[-1:]:
                self._note(key, opened, visitor, keep=keep)
            for key in () if identifies else keys[:-1]:
                # A later order of the user finds the click ids of the visit, but no traits of the device.
                person = self._current.get(key, Visitor.EMPTY)
                person = replace(
                    person, epik=visitor.epik, epik_at=visitor.epik_at, pin_unauth=visitor.pin_unauth
                )
                self._note(key, opened, person, keep=keep)
        return visitor

    def learn_from_device(self, opened: OpenedEvent, key: bytes, *, keep: bool) -> None:
        """Remember only the click ids of a public event of a device, and whether it signs the person out."""
        before = self._current.get(key, Visitor.EMPTY)
        if signs_out(opened.event) and before != Visitor.EMPTY and not self._is_older(opened, key):
            before = self._signed_out(key, opened, only_click_ids(before))
            self._set(key, before, keep=keep)
        after = _with_click_ids(before, opened)
        if after is before and opened.click_ids.epik is None and opened.click_ids.pin_unauth is None:
            return
        if after != before and without_click_ids(after) is after:
            self._set(key, after, keep=keep)
            return
        clicks = _with_click_ids(Visitor.EMPTY, opened)
        visitor = replace(before, pin_unauth=clicks.pin_unauth or before.pin_unauth)
        if clicks.epik not in (None, before.epik) and (clicks.epik_at or 0.0) >= (before.epik_at or 0.0):
            visitor = replace(visitor, epik=clicks.epik, epik_at=clicks.epik_at)
        if visitor != before:
            self._set(key, visitor, keep=keep)

    def _forget_clicks(self, keys: Iterable[bytes], *, keep: bool) -> None:
        """Forget the click ids of a person who withdrew consent, on the device and elsewhere."""
        for key in keys:
            if key in self._current:
                self._set(key, without_click_ids(self._current[key]), keep=keep)

    def known(self, keys: Iterable[bytes]) -> Visitor:
        """Return the visitor of these keys: the person's first, then the device's."""
        current = self._current
        layers = [current[key] for key in keys if key in current]
        if not layers:
            return Visitor.EMPTY
        return layers[0] if len(layers) == 1 else _join_visitors(*layers)

    def state(self, key: bytes) -> tuple[Visitor, int]:
        """Return the visitor to store under a key, and the last inbox id that informed it."""
        return self._kept.get(key, (Visitor.EMPTY, 0))

    def _is_older(self, opened: OpenedEvent, key: bytes) -> bool:
        return opened.row.id < self._last_inbox_ids.get(key, 0)

    def _note(self, key: bytes, opened: OpenedEvent, visitor: Visitor, *, keep: bool) -> None:
        signed_out_id = self._current.get(key, Visitor.EMPTY).signed_out_id
        if signed_out_id is not None and opened.row.id < signed_out_id:
            visitor = only_click_ids(visitor)
        if self._is_older(opened, key):
            visitor = _join_visitors(self._current[key], visitor)
        else:
            self._last_inbox_ids[key] = opened.row.id
        self._set(key, self._signed_out(key, opened, visitor), keep=keep)

    def _signed_out(self, key: bytes, opened: OpenedEvent, visitor: Visitor) -> Visitor:
        """Return the visitor with the last sign-out of its key."""
        last = self._current.get(key, Visitor.EMPTY).signed_out_id
        if signs_out(opened.event):
            last = max(last or 0, opened.row.id)
        return visitor if visitor.signed_out_id == last else replace(visitor, signed_out_id=last)

    def _set(self, key: bytes, visitor: Visitor, *, keep: bool) -> None:
        self._current[key] = visitor
        if keep:
            self._kept[key] = (visitor, self._last_inbox_ids.get(key, 0))
            self.changed.add(key)


def _apply(visitor: Visitor, opened: OpenedEvent, default_country: str | None) -> Visitor:
    if opened.event.get("type") == "identify":
        return apply_identify(
            visitor,
            opened.event,
            opened.received,
            default_country,
            opened.consent_groups,
            opened.click_ids,
        )
    return _with_click_ids(visitor, opened)


def _with_click_ids(visitor: Visitor, opened: OpenedEvent) -> Visitor:
    return with_click_ids(visitor, opened.event, opened.received, opened.consent_groups, opened.click_ids)


def _join_visitors(person: Visitor, device: Visitor) -> Visitor:
    """Merge the visitor of a person with that of the device.

    The person takes precedence. Traits of another person on the device are left out; click ids of the device
    apply to every person who uses it.
    """
    is_same = not are_different_people(device, person)
    newest = max((device, person), key=lambda visitor: visitor.epik_at or 0.0)
    return replace(
        person,
        traits={**device.traits, **person.traits} if is_same else person.traits,
        user_id=person.user_id or (device.user_id if is_same else None),
        country=person.country or (device.country if is_same else None),
        epik=newest.epik,
        epik_at=newest.epik_at,
        pin_unauth=device.pin_unauth or person.pin_unauth,
    )


def read_visitors(vault: Vault, by_key: Mapping[bytes, StoredVisitor]) -> dict[bytes, _VisitorRecord]:
    """Open stored visitors, by key."""
    records: dict[bytes, _VisitorRecord] = {}
    for key, stored in by_key.items():
        try:
            records[key] = _VisitorRecord.from_dict(
                json_text.parse_json(vault.open(stored.body, visitors.BODY))
            )
        except MissingKeyError:
            # Another process can read the visitor; without the visitor the event would lose its identifiers.
            raise
        except (SealError, ValueError, KeyError, TypeError, AttributeError) as error:
            # The event is still mapped, without the stored data of its visitor.
            log.error("visitor_unreadable", error=type(error).__name__)
    return records
