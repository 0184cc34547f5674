"""A visitor's hashed traits and click ids, kept from one event to the next."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from types import MappingProxyType
from typing import Any, ClassVar, Self

from worker.event.click_ids import ClickIds, find_click_ids
from worker.event.consent.consent import withdraws_advertising
from worker.event.received import Received
from worker.pinterest.mapping.call import Explanation
from worker.pinterest.user_data.countries import country_code
from worker.pinterest.user_data.hashing import NORMALISATIONS, hash_value, normalise
from worker.pinterest.user_data.traits import Traits, collect_traits, person_regions

_MOST_VALUES = 10
_LONGEST_KEY = 64
_MOST_COUNTRIES = 4


def _hash_traits(
    traits: object, default_country: str | None, explain: Explanation | None = None
) -> dict[str, list[str]]:
    """Return the hashes of the identifiers among the traits, by Pinterest's field names.

    Traits in a nested address count too; fields without a valid value are absent. ``default_country`` (alpha-2) is the
    country of national phone numbers if the traits have no country.
    """
    return dict(hash_collected(collect_traits(traits), default_country, explain))


def hash_collected(
    traits: Traits, default_country: str | None, explain: Explanation | None = None
) -> dict[str, list[str]]:
    """Return the hashes of what ``collect_traits`` found. They are shared, so the caller does not change them."""
    if explain is not None:
        return _hash_values(traits, default_country, explain)
    hashes = traits.hashes.get(default_country)
    if hashes is None:
        if len(traits.hashes) >= _MOST_COUNTRIES:
            traits.hashes.clear()
        hashes = traits.hashes[default_country] = _hash_values(traits, default_country, None)
    return hashes


def _hash_values(
    values: Mapping[str, Any], default_country: str | None, explain: Explanation | None
) -> dict[str, list[str]]:
    own_country = _read_country(values["country"]) if "country" in values else None
    phone_country = own_country or (default_country and default_country.lower())
    hashes: dict[str, list[str]] = {}
    for field, value in values.items():
        country = phone_country if field == "ph" else own_country
        # A state that the likely country does not have is searched for in all countries.
        if field == "st" and own_country is None and hash_value("st", value, phone_country):
            country = phone_country
        if type(value) is str:
            # By far the most frequent type.
            digest = hash_value(field, value, country)
            digests = [digest] if digest else []
        else:
            digests = _hash_all(field, value if type(value) is list else [value], country)
        if digests:
            hashes[field] = digests
        if explain is not None:
            _explain(explain, field, value, country, digests)
    return hashes


def _hash_all(field: str, values: list[Any], country: str | None) -> list[str]:
    digests = (hash_value(field, value, country) for value in values[:_MOST_VALUES])
    return list(dict.fromkeys(digest for digest in digests if digest))


def _read_country(value: object) -> str | None:
    first = value[0] if isinstance(value, list) and value else value
    return country_code(first) if isinstance(first, str) and len(first) <= _LONGEST_KEY else None


def _why_not(field: str, country: str | None) -> str:
    if field == "ph" and country is None:
        return "is not an international number, and no country is known: send +, give the country, or set a default"
    return "is not a valid value"


def _explain(
    explain: Explanation, field: str, value: object, country: str | None, digests: list[str]
) -> None:
    values = value if isinstance(value, list) else [value]
    if not digests:
        explain.add("identity", f"{field}: dropped, {explain.raw(value)} {_why_not(field, country)}")
        return
    for raw in values[:_MOST_VALUES]:
        digest = hash_value(field, raw, country)
        normal = normalise(field, raw, country)
        if digest is None:
            explain.add("identity", f"{field}: one of several values dropped as invalid")
        elif normal is None:
            explain.add("identity", f"{field}: already a hash, not hashed again → {digest[:12]}…")
        else:
            text = f" {normal!r}" if explain.show_personal else ""
            explain.add("identity", f"{field}:{text} {NORMALISATIONS[field]}, then SHA-256 → {digest[:12]}…")


_NO_TRAITS: Mapping[str, list[str]] = MappingProxyType({})
_STORED_FIELDS = ("user_id", "epik", "epik_at", "pin_unauth", "signed_out_id", "country")


@dataclass(frozen=True, slots=True)
class Visitor:
    """A visitor's identity: hashed traits by Pinterest's field names, the hashed user id, and click ids.

    ``epik_at`` is when the click id was received, in Unix seconds. ``unconfirmed`` has traits from public calls only,
    for a signed event: they count if no signed call had an e-mail address or a phone number. With
    ``is_user_id_unconfirmed``, only public calls gave a signed event the user id. ``signed_out_id`` is the inbox id of
    the last call that signed a device's person out: traits of earlier calls no longer count there. ``country``
    (alpha-2, lower case) helps to read national phone numbers.
    """

    traits: Mapping[str, list[str]] = dataclass_field(default_factory=lambda: _NO_TRAITS)
    user_id: str | None = None
    epik: str | None = None
    epik_at: float | None = None
    pin_unauth: str | None = None
    unconfirmed: Mapping[str, list[str]] = dataclass_field(default_factory=lambda: _NO_TRAITS)
    is_user_id_unconfirmed: bool = False
    signed_out_id: int | None = None
    country: str | None = None

    EMPTY: ClassVar["Visitor"]

    def to_dict(self) -> dict[str, Any]:
        """Return the known fields, to store as JSON."""
        record: dict[str, Any] = {"traits": dict(self.traits)} if self.traits else {}
        for name in _STORED_FIELDS:
            value = getattr(self, name)
            if value is not None:
                record[name] = value
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Restore the result of ``to_dict``."""
        fields: dict[str, Any] = {name: record.get(name) for name in _STORED_FIELDS}
        return cls(traits=record.get("traits") or _NO_TRAITS, **fields)


Visitor.EMPTY = Visitor()


def apply_identify(
    visitor: Visitor,
    event: Mapping[str, Any],
    received: Received,
    default_country: str | None,
    groups: Mapping[str, str] | None = None,
    click_ids: ClickIds | None = None,
) -> Visitor:
    """Return the visitor with the hashed traits of an ``identify`` call; a newer value replaces the older one.

    A different user id, or a different e-mail address without a common user id, is another person on the same device:
    nothing of the earlier person stays. A null user id signs the earlier person out.
    """
    visitor = with_click_ids(visitor, event, received, groups, click_ids)
    country, new = _identified(visitor, event, default_country)
    new_visitor = Visitor(traits=new, user_id=hash_value("external_id", event.get("userId")))
    has_left = signs_out(event) and not _have_common_email(visitor.traits, new)
    if has_left or are_different_people(visitor, new_visitor):
        traits, user_id = new, new_visitor.user_id
    else:
        traits, user_id = {**visitor.traits, **new}, new_visitor.user_id or visitor.user_id
        country = country or visitor.country
    if (traits, user_id, country) == (visitor.traits, visitor.user_id, visitor.country):
        return visitor
    return replace(visitor, traits=traits, user_id=user_id, country=country)


def _identified(
    visitor: Visitor, event: Mapping[str, Any], default_country: str | None
) -> tuple[str | None, dict[str, list[str]]]:
    """Return the country that an ``identify`` call states, and its hashed traits."""
    context = event.get("context")
    traits = collect_traits(event.get("traits"))
    country = _read_country(traits.get("country"))
    fields = context if isinstance(context, dict) else {}
    regions = person_regions((), country or visitor.country, default_country, {}, fields)
    return country, hash_collected(traits, next(regions, None))


def signs_out(event: Mapping[str, Any]) -> bool:
    """Return whether an event is an ``identify`` call with an empty user id, which signs the visitor out."""
    return event.get("type") == "identify" and "userId" in event and event["userId"] in (None, "")


def are_different_people(visitor: Visitor, other: Visitor) -> bool:
    """Return whether two records are of different people: by their user ids, else by their e-mail addresses."""
    if visitor.user_id is not None and other.user_id is not None:
        return visitor.user_id != other.user_id
    return have_different_emails(visitor.traits, other.traits)


def have_different_emails(traits: Mapping[str, list[str]], other: Mapping[str, list[str]]) -> bool:
    """Return whether both have e-mail addresses, and none of them is the same."""
    return "em" in traits and "em" in other and not _have_common_email(traits, other)


def _have_common_email(traits: Mapping[str, list[str]], other: Mapping[str, list[str]]) -> bool:
    return not set(traits.get("em", ())).isdisjoint(other.get("em", ()))


def identifies_person(traits: Mapping[str, list[str]]) -> bool:
    """Return whether traits have an e-mail address or a phone number, which identify a person."""
    return "em" in traits or "ph" in traits


def visitor_for_signed_event(signed: Visitor, public: Visitor) -> Visitor:
    """Return the visitor of a signed event, from the records of signed calls and of all calls.

    Once a signed call has identified the person, the traits of public calls no longer count.
    """
    if identifies_person(signed.traits):
        return signed
    return replace(
        public,
        traits=signed.traits,
        user_id=signed.user_id or public.user_id,
        unconfirmed=_NO_TRAITS if are_different_people(signed, public) else public.traits,
        is_user_id_unconfirmed=signed.user_id is None,
    )


def visitor_for_public_event(signed: Visitor, public: Visitor) -> Visitor:
    """Return the visitor of a public event; a signed call's traits of the same person replace the others."""
    if are_different_people(signed, public) or not signed.traits:
        return public
    return replace(
        public, traits={**public.traits, **signed.traits}, user_id=public.user_id or signed.user_id
    )


def only_click_ids(visitor: Visitor) -> Visitor:
    """Return a visitor with the click ids alone."""
    return Visitor(epik=visitor.epik, epik_at=visitor.epik_at, pin_unauth=visitor.pin_unauth)


def without_click_ids(visitor: Visitor) -> Visitor:
    """Return a visitor without click ids; the same object if it has none."""
    if visitor.epik is None and visitor.pin_unauth is None:
        return visitor
    return replace(visitor, epik=None, epik_at=None, pin_unauth=None)


def with_click_ids(
    visitor: Visitor,
    event: Mapping[str, Any],
    received: Received,
    groups: Mapping[str, str] | None = None,
    click_ids: ClickIds | None = None,
) -> Visitor:
    """Return the visitor with an event's click ids; the same object if none is new.

    An event that says no to advertising brings none, and the visitor's are forgotten. ``groups`` are the source's
    names of a consent tool's groups; ``click_ids`` are the event's click ids, where they are known already.
    """
    click_ids = click_ids or find_click_ids(event, received)
    epik, pin_unauth = click_ids.epik or visitor.epik, click_ids.pin_unauth or visitor.pin_unauth
    if (epik or pin_unauth) and withdraws_advertising(event, gpc=received.gpc, groups=groups):
        return without_click_ids(visitor)
    if epik == visitor.epik and pin_unauth == visitor.pin_unauth:
        return visitor
    since = visitor.epik_at if epik == visitor.epik else received.received_at
    return replace(visitor, epik=epik, epik_at=since, pin_unauth=pin_unauth)
