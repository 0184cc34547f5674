"""Learn about visitors from one event to the next."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from worker import logs
from worker.events import json_text
from worker.events.trust import Trust
from worker.ledger import visitors
from worker.ledger.vault import SealError, Vault
from worker.ledger.visitors import Known
from worker.pinterest.visitor import (
    Visitor,
    apply_identify,
    as_public_event_sees,
    as_signed_event_sees,
    clicks_of,
    is_same_person,
    remember,
)
from worker.stages.opened import Opened

log = logs.of(__name__)


@dataclass(frozen=True, slots=True)
class Record:
    """Hold what is known under one key: what all calls said, and what signed calls alone said.

    The click ids of ``signed`` also come from public events of the device itself: no server knows them first. Each
    layer has the newest inbox id that informed it: workers take events in any order, and an earlier event must not
    undo what a later one said.
    """

    everything: Visitor
    informed_by: int
    signed: Visitor
    signed_informed_by: int

    def to_dict(self) -> dict[str, Any]:
        """Return it for storing as JSON; the signed layer only where it says something of its own."""
        kept = self.everything.to_dict() | {"told_up_to": self.informed_by}
        if self.signed_informed_by or self.signed != clicks_of(self.everything):
            kept["signed"] = self.signed.to_dict() | {"told_up_to": self.signed_informed_by}
        return kept

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Self:
        """Read back what ``to_dict`` made; what the version before kept counts as said by public calls."""
        everything, informed_by = Visitor.from_dict(kept), kept["told_up_to"]
        signed = kept.get("signed")
        if signed is None:
            return cls(everything, informed_by, clicks_of(everything), 0)
        return cls(everything, informed_by, Visitor.from_dict(signed), signed["told_up_to"])


class Visitors:
    """Hold the visitors of one bulk while its events are gone through in order."""

    def __init__(self, known: Mapping[bytes, Record]) -> None:
        self._everything = _Layer(
            {key: record.everything for key, record in known.items()},
            {key: record.informed_by for key, record in known.items()},
        )
        self._signed = _Layer(
            {key: record.signed for key, record in known.items()},
            {key: record.signed_informed_by for key, record in known.items()},
        )

    def learn(self, one: Opened, default_country: str | None, *, keep: bool) -> Visitor:
        """Return what is known of an event's visitor, with what the event itself says.

        With ``keep`` the visitor is written later; without, the event only informs this bulk.
        """
        everything = self._everything.learn(one, one.keys, default_country, keep=keep)
        if one.trust is Trust.SIGNED:
            signed = self._signed.learn(one, one.keys, default_country, keep=keep)
            return as_signed_event_sees(signed, everything)
        # Whoever has the pipeline key can claim any user id, but hardly the random id of another browser.
        if one.row.anonymous_key is not None:
            self._signed.learn_clicks(one, one.row.anonymous_key, keep=keep)
        return as_public_event_sees(self._signed.join(one.keys), everything)

    def changed(self) -> dict[bytes, Record]:
        """Return what is to be written."""
        return {key: self._record(key) for key in self._everything.changed | self._signed.changed}

    def _record(self, key: bytes) -> Record:
        return Record(*self._everything.state(key), *self._signed.state(key))


class _Layer:
    """Hold what some of the calls said.

    What an ``identify`` says goes under the person's and the device's key, a click id under the device's alone.
    """

    def __init__(self, known: Mapping[bytes, Visitor], informed_by: Mapping[bytes, int]) -> None:
        self._current = dict(known)
        self._informed_by = dict(informed_by)
        # An event that only informs this bulk must leave no trace: its row may be erased meanwhile.
        self._kept = {key: (visitor, informed_by[key]) for key, visitor in known.items()}
        self.changed: set[bytes] = set()

    def learn(
        self, one: Opened, keys: Sequence[bytes], default_country: str | None, *, keep: bool
    ) -> Visitor:
        """Return the visitor with what the event says, and note it."""
        before = self.join(keys)
        identifies = one.event.get("type") == "identify"
        known = [key for key in keys if key in self._current]
        if known and self._is_older(one, known[0]):
            said = _apply(Visitor.EMPTY, one, default_country)
            # `join` lets the first visitor's word count: the newer one's, unless that is somebody else.
            is_same = is_same_person(before, said.user_id)
            visitor = join(before, said) if is_same else join(said, before)
        else:
            visitor = _apply(before, one, default_country)
        if identifies or visitor != before:
            for key in keys if identifies else keys[-1:]:
                self._note(key, one, visitor, keep=keep)
        return visitor

    def learn_clicks(self, one: Opened, key: bytes, *, keep: bool) -> None:
        """Note the click ids that an event of a device brings, and nothing else."""
        before = self._current.get(key, Visitor.EMPTY)
        said = remember(Visitor.EMPTY, one.event, one.received)
        visitor = replace(before, pin_unauth=said.pin_unauth or before.pin_unauth)
        if said.epik not in (None, before.epik) and (said.epik_at or 0.0) >= (before.epik_at or 0.0):
            visitor = replace(visitor, epik=said.epik, epik_at=said.epik_at)
        if visitor != before:
            self._set(key, visitor, keep=keep)

    def join(self, keys: Iterable[bytes]) -> Visitor:
        """Return what is known under some keys: the person's first, then the device's."""
        found = [self._current[key] for key in keys if key in self._current]
        if not found:
            return Visitor.EMPTY
        return found[0] if len(found) == 1 else join(*found)

    def state(self, key: bytes) -> tuple[Visitor, int]:
        """Return what is to be kept under a key, and the newest inbox id that informed it."""
        return self._kept.get(key, (Visitor.EMPTY, 0))

    def _is_older(self, one: Opened, key: bytes) -> bool:
        return one.row.id < self._informed_by.get(key, 0)

    def _note(self, key: bytes, one: Opened, visitor: Visitor, *, keep: bool) -> None:
        if self._is_older(one, key):
            visitor = join(self._current[key], visitor)
        else:
            self._informed_by[key] = one.row.id
        self._set(key, visitor, keep=keep)

    def _set(self, key: bytes, visitor: Visitor, *, keep: bool) -> None:
        self._current[key] = visitor
        if keep:
            self._kept[key] = (visitor, self._informed_by.get(key, 0))
            self.changed.add(key)


def _apply(visitor: Visitor, one: Opened, default_country: str | None) -> Visitor:
    if one.event.get("type") == "identify":
        return apply_identify(visitor, one.event, one.received, default_country)
    return remember(visitor, one.event, one.received)


def join(person: Visitor, device: Visitor) -> Visitor:
    """Join what is known of a person with what is known of the device.

    The person's word counts first. Traits that the device learnt from somebody else stay out; a click on an
    ad happened on the device, whoever uses it.
    """
    same = is_same_person(device, person.user_id)
    newest = max((device, person), key=lambda one: one.epik_at or 0.0)
    return replace(
        person,
        traits={**device.traits, **person.traits} if same else person.traits,
        user_id=person.user_id or device.user_id,
        epik=newest.epik,
        epik_at=newest.epik_at,
        pin_unauth=device.pin_unauth or person.pin_unauth,
    )


def read_visitors(vault: Vault, known: Mapping[bytes, Known]) -> dict[bytes, Record]:
    """Return what is known of visitors, by their keys."""
    found: dict[bytes, Record] = {}
    for key, one in known.items():
        try:
            found[key] = Record.from_dict(json_text.read(vault.open(one.body, visitors.BODY)))
        except (SealError, ValueError, KeyError, TypeError, AttributeError) as error:
            # What a visitor told earlier is out of reach, the event is not.
            log.error("visitor_unreadable", error=type(error).__name__)
    return found
