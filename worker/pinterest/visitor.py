"""What is kept of a visitor from one event to the next."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from types import MappingProxyType
from typing import Any, ClassVar, Self

from worker.events.identity import epik_of, page_url
from worker.events.received import Received, click_id
from worker.pinterest.normalise import hash_value
from worker.pinterest.traits import hash_traits

_NO_TRAITS: Mapping[str, list[str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Visitor:
    """Hold a visitor's identity: hashed traits by Pinterest's field names, the hashed user id, click ids.

    ``epik_at`` is when the click id came in, in Unix seconds. ``unconfirmed`` has traits that only public calls
    gave, for a signed event: they count where no signed call named an e-mail address or a phone number.
    """

    traits: Mapping[str, list[str]] = dataclass_field(default_factory=lambda: _NO_TRAITS)
    user_id: str | None = None
    epik: str | None = None
    epik_at: float | None = None
    pin_unauth: str | None = None
    unconfirmed: Mapping[str, list[str]] = dataclass_field(default_factory=lambda: _NO_TRAITS)

    EMPTY: ClassVar["Visitor"]

    def to_dict(self) -> dict[str, Any]:
        """Return it for storing as JSON, without what is unknown."""
        kept: dict[str, Any] = {"traits": dict(self.traits)} if self.traits else {}
        for name in ("user_id", "epik", "epik_at", "pin_unauth"):
            value = getattr(self, name)
            if value is not None:
                kept[name] = value
        return kept

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Self:
        """Read back what ``to_dict`` made."""
        return cls(
            traits=kept.get("traits") or _NO_TRAITS,
            user_id=kept.get("user_id"),
            epik=kept.get("epik"),
            epik_at=kept.get("epik_at"),
            pin_unauth=kept.get("pin_unauth"),
        )


Visitor.EMPTY = Visitor()


def apply_identify(
    visitor: Visitor, event: Mapping[str, Any], received: Received, default_country: str | None
) -> Visitor:
    """Return the visitor with what an ``identify`` call says, hashed: a newer value replaces the older one.

    Another user id is another person on the same device: nothing of the former one's traits is kept.
    """
    visitor = remember(visitor, event, received)
    new = hash_traits(event.get("traits"), default_country)
    user_id = hash_value("external_id", event.get("userId")) or visitor.user_id
    known = visitor.traits if is_same_person(visitor, user_id) else _NO_TRAITS
    traits = {**known, **new}
    if traits == visitor.traits and user_id == visitor.user_id:
        return visitor
    return replace(visitor, traits=traits, user_id=user_id)


def is_same_person(visitor: Visitor, user_id: str | None) -> bool:
    """Say whether a hashed user id does not contradict the visitor's."""
    return user_id is None or visitor.user_id is None or user_id == visitor.user_id


def contradicts(visitor: Visitor, other: Visitor) -> bool:
    """Say whether two records are of different persons: by their user ids, else by their e-mail addresses."""
    if visitor.user_id is not None and other.user_id is not None:
        return visitor.user_id != other.user_id
    mine, theirs = visitor.traits.get("em"), other.traits.get("em")
    return bool(mine and theirs) and set(mine or ()).isdisjoint(theirs or ())


def names_person(traits: Mapping[str, list[str]]) -> bool:
    """Say whether traits are enough to find a person by: an e-mail address or a phone number."""
    return "em" in traits or "ph" in traits


def as_signed_event_sees(signed: Visitor, public: Visitor) -> Visitor:
    """Return the visitor of a signed event from what signed calls said and from what all calls said.

    Once a signed call has named the person, nothing that a public call said counts any more.
    """
    if names_person(signed.traits):
        return signed
    return replace(
        public,
        traits=signed.traits,
        user_id=signed.user_id or public.user_id,
        unconfirmed=_NO_TRAITS if contradicts(signed, public) else public.traits,
    )


def as_public_event_sees(signed: Visitor, public: Visitor) -> Visitor:
    """Return the visitor of a public event: what a signed call said of the same person replaces the rest."""
    if contradicts(signed, public) or not signed.traits:
        return public
    return replace(
        public, traits={**public.traits, **signed.traits}, user_id=public.user_id or signed.user_id
    )


def clicks_of(visitor: Visitor) -> Visitor:
    """Return the click ids of a visitor alone."""
    return Visitor(epik=visitor.epik, epik_at=visitor.epik_at, pin_unauth=visitor.pin_unauth)


def remember(visitor: Visitor, event: Mapping[str, Any], received: Received) -> Visitor:
    """Return the visitor with the click ids that an event brings; the same object when none is new."""
    epik = epik_of(page_url(event), received) or visitor.epik
    pin_unauth = click_id(received.pin_unauth) or visitor.pin_unauth
    if epik == visitor.epik and pin_unauth == visitor.pin_unauth:
        return visitor
    since = visitor.epik_at if epik == visitor.epik else received.received_at
    return replace(visitor, epik=epik, epik_at=since, pin_unauth=pin_unauth)
