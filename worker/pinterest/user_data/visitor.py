"""What is kept of a visitor from one event to the next."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, ClassVar, Self

from worker.event.received import Received, clean_click_id, current_epik, page_url
from worker.event.text import are_cacheable, fold_key
from worker.pinterest.mapping.call import Explanation
from worker.pinterest.user_data.countries import country_code
from worker.pinterest.user_data.hashing import NORMALISATIONS, hash_value, normalise

_MOST_VALUES = 10
_LONGEST_KEY = 64
_LONGEST_REMEMBERED = 1024

_SPELLINGS = {
    "em": "em email emails emailaddress mail useremail customeremail hashedemail emailhash emailsha256 "
    "sha256email sha256emailaddress hashedem",
    "ph": "ph phone phones phonenumber telephone tel mobile mobilenumber mobilephone cellphone userphone "
    "customerphone hashedphone phonehash phonesha256 sha256phone sha256phonenumber",
    "ge": "ge gender sex",
    "db": "db birthday birthdate dateofbirth dob birth",
    "fn": "fn firstname givenname forename sha256firstname",
    "ln": "ln lastname familyname surname sha256lastname",
    "ct": "ct city town locality",
    "st": "st state region province statecode regioncode provincecode",
    "zp": "zp zip zipcode postalcode postcode postal",
    "country": "country countrycode countryname",
    "external_id": "externalid externalids",
    "hashed_maids": "hashedmaids maid maids madid madids idfa gaid aaid advertisingid mobileadvertisingid",
}
_ADDRESS = "address"
_ADDRESSES = ("address", "billingaddress", "defaultaddress")
_FIELD_OF = {spelling: field for field, spellings in _SPELLINGS.items() for spelling in spellings.split()}
_FIELD_OF |= dict.fromkeys(_ADDRESSES, _ADDRESS)


def is_trait(key: str) -> bool:
    """Say whether a key is a spelling of one of a person's traits."""
    return _field_of(key[:_LONGEST_KEY]) is not None


@lru_cache(maxsize=4096)
def _field_of(key: str) -> str | None:
    return _FIELD_OF.get(fold_key(key))


def hash_traits(
    traits: object, default_country: str | None, explain: Explanation | None = None
) -> dict[str, list[str]]:
    """Return the hashes of the identifiers among the traits, by Pinterest's field names.

    Spellings are told by ``_SPELLINGS``; a nested address counts too. Junk has no hash, a field without any
    value no entry. ``default_country`` (alpha-2) is where national phone numbers belong when no country is
    given.
    """
    found = collect_traits(traits)
    values = found.values()
    if explain is not None or set(map(type, values)) != {str} or sum(map(len, values)) > _LONGEST_REMEMBERED:
        return _hash_found(found, default_country, explain)
    return dict(_hash_remembered(tuple(found.items()), default_country))


# A visitor's events come close together, and a server sends the same traits with each.
@lru_cache(maxsize=4096)
def _hash_remembered(found: tuple[tuple[str, str], ...], default_country: str | None) -> dict[str, list[str]]:
    return _hash_found(dict(found), default_country, None)


def _hash_found(
    found: Mapping[str, Any], default_country: str | None, explain: Explanation | None
) -> dict[str, list[str]]:
    country = _known_country(found["country"]) if "country" in found else None
    phone_country = country or (default_country and default_country.lower())
    hashes: dict[str, list[str]] = {}
    for field, value in found.items():
        near = phone_country if field == "ph" else country
        if type(value) is str:
            # By far the most frequent kind.
            digest = hash_value(field, value, near)
            digests = [digest] if digest else []
        else:
            digests = _hash_all(field, value if type(value) is list else [value], near)
        if digests:
            hashes[field] = digests
        if explain is not None:
            _explain(explain, field, value, near, digests)
    return hashes


def collect_traits(traits: object) -> dict[str, Any]:
    """Return the raw values under Pinterest's field names; the first spelling of a field stays."""
    found: dict[str, Any] = {}
    if isinstance(traits, dict):
        _gather(traits, found)
    return found


def _gather(traits: Mapping[str, Any], found: dict[str, Any]) -> None:
    keys = tuple(traits)
    layout = _layout(keys) if are_cacheable(keys) else _layout.__wrapped__(keys)
    for field, key in layout:
        value = traits[key]
        if value is None or field in found:
            continue
        if field is not _ADDRESS:
            found[field] = value
        elif isinstance(value, dict):
            _gather(value, found)


# A sender's traits all have the same keys.
@lru_cache(maxsize=512)
def _layout(keys: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return which keys hold which field, in their order."""
    fields = ((_field_of(key), key) for key in keys if len(key) <= _LONGEST_KEY)
    return [(field, key) for field, key in fields if field is not None]


def _hash_all(field: str, values: list[Any], country: str | None) -> list[str]:
    digests = (hash_value(field, one, country) for one in values[:_MOST_VALUES])
    return list(dict.fromkeys(digest for digest in digests if digest))


def _known_country(value: object) -> str | None:
    first = value[0] if isinstance(value, list) and value else value
    return country_code(first) if isinstance(first, str) and len(first) <= _LONGEST_KEY else None


def _why_not(field: str, country: str | None) -> str:
    if field == "ph" and country is None:
        return (
            "is no international number, and no country is known: send +, give the country, or set a default"
        )
    return "is no usable value"


def _explain(
    explain: Explanation, field: str, value: object, country: str | None, digests: list[str]
) -> None:
    values = value if isinstance(value, list) else [value]
    if not digests:
        explain.add("identity", f"{field}: dropped, {explain.raw(value)} {_why_not(field, country)}")
        return
    for one in values[:_MOST_VALUES]:
        digest = hash_value(field, one, country)
        normal = normalise(field, one, country)
        if digest is None:
            explain.add("identity", f"{field}: one of several values dropped as unusable")
        elif normal is None:
            explain.add("identity", f"{field}: already a hash, not hashed again → {digest[:12]}…")
        else:
            shown = f" {normal!r}" if explain.show_personal else ""
            explain.add("identity", f"{field}:{shown} {NORMALISATIONS[field]}, then SHA-256 → {digest[:12]}…")


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
    visitor = with_click_ids(visitor, event, received)
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


def _are_different_people(visitor: Visitor, other: Visitor) -> bool:
    """Say whether two records are of different persons: by their user ids, else by their e-mail addresses."""
    if visitor.user_id is not None and other.user_id is not None:
        return visitor.user_id != other.user_id
    mine, theirs = visitor.traits.get("em"), other.traits.get("em")
    return bool(mine and theirs) and set(mine or ()).isdisjoint(theirs or ())


def identifies_person(traits: Mapping[str, list[str]]) -> bool:
    """Say whether traits are enough to find a person by: an e-mail address or a phone number."""
    return "em" in traits or "ph" in traits


def visitor_for_signed_event(signed: Visitor, public: Visitor) -> Visitor:
    """Return the visitor of a signed event from what signed calls said and from what all calls said.

    Once a signed call has named the person, nothing that a public call said counts any more.
    """
    if identifies_person(signed.traits):
        return signed
    return replace(
        public,
        traits=signed.traits,
        user_id=signed.user_id or public.user_id,
        unconfirmed=_NO_TRAITS if _are_different_people(signed, public) else public.traits,
    )


def visitor_for_public_event(signed: Visitor, public: Visitor) -> Visitor:
    """Return the visitor of a public event: what a signed call said of the same person replaces the rest."""
    if _are_different_people(signed, public) or not signed.traits:
        return public
    return replace(
        public, traits={**public.traits, **signed.traits}, user_id=public.user_id or signed.user_id
    )


def only_click_ids(visitor: Visitor) -> Visitor:
    """Return the click ids of a visitor alone."""
    return Visitor(epik=visitor.epik, epik_at=visitor.epik_at, pin_unauth=visitor.pin_unauth)


def with_click_ids(visitor: Visitor, event: Mapping[str, Any], received: Received) -> Visitor:
    """Return the visitor with the click ids that an event brings; the same object when none is new."""
    epik = current_epik(page_url(event), received) or visitor.epik
    pin_unauth = clean_click_id(received.pin_unauth) or visitor.pin_unauth
    if epik == visitor.epik and pin_unauth == visitor.pin_unauth:
        return visitor
    since = visitor.epik_at if epik == visitor.epik else received.received_at
    return replace(visitor, epik=epik, epik_at=since, pin_unauth=pin_unauth)
