"""Learn about visitors from one event to the next."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from worker.pinterest.visitor import Visitor, apply_identify, is_same_person, remember
from worker.stages.opened import Opened


class Visitors:
    """Hold the visitors of one bulk while its events are gone through in order.

    ``changed`` has what is to be written: what an ``identify`` tells goes under the person's and the device's
    key, a click id under the device's alone. ``told_up_to`` has the newest inbox id that told each of them
    something: workers take events in any order, and an earlier event must not undo what a later one said.
    """

    def __init__(self, known: Mapping[bytes, Visitor], told_up_to: Mapping[bytes, int]) -> None:
        self._current = dict(known)
        self.told_up_to = dict(told_up_to)
        self.changed: dict[bytes, Visitor] = {}

    def learn(self, one: Opened, default_country: str | None, *, keep: bool) -> Visitor:
        """Return what is known of an event's visitor, with what the event itself tells.

        With ``keep`` the visitor is written later; without, the event only informs this bulk.
        """
        found = [key for key in one.keys if key in self._current]
        before = self._join(found)
        identifies = one.event.get("type") == "identify"
        if found and self._is_older(one, found[0]):
            told = _tell(Visitor.EMPTY, one, default_country)
            # `join` lets the first one's word count: the newer one's, unless that speaks of somebody else.
            same = is_same_person(before, told.user_id)
            visitor = join(before, told) if same else join(told, before)
        else:
            visitor = _tell(before, one, default_country)
        if identifies or visitor != before:
            for key in one.keys if identifies else one.keys[-1:]:
                self._note(key, one, visitor, keep=keep)
        return visitor

    def _join(self, keys: Sequence[bytes]) -> Visitor:
        found = [self._current[key] for key in keys]
        if not found:
            return Visitor.EMPTY
        return found[0] if len(found) == 1 else join(*found)

    def _is_older(self, one: Opened, key: bytes) -> bool:
        return one.row.id < self.told_up_to.get(key, 0)

    def _note(self, key: bytes, one: Opened, visitor: Visitor, *, keep: bool) -> None:
        if self._is_older(one, key):
            visitor = join(self._current[key], visitor)
        else:
            self.told_up_to[key] = one.row.id
        self._current[key] = visitor
        if keep:
            self.changed[key] = visitor


def _tell(visitor: Visitor, one: Opened, default_country: str | None) -> Visitor:
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
