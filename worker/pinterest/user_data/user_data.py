"""Build an event's user data: the identifiers by which Pinterest matches a person."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_network
from typing import Any

from worker.event.click_ids import ClickIds, find_click_ids
from worker.event.problems import Problem
from worker.event.received import Received, parse_address
from worker.event.redaction import clean_device_text
from worker.event.text import clean_text
from worker.http.ip_ranges import is_plain_public, is_public
from worker.pinterest.mapping.call import Call, Notes, Options
from worker.pinterest.user_data.hashing import hash_value
from worker.pinterest.user_data.traits import (
    PEOPLE_PROPERTIES,
    PERSONAL_PROPERTIES,
    collect_traits,
    people_in,
    person_regions,
)
from worker.pinterest.user_data.visitor import (
    Visitor,
    hash_collected,
    have_different_emails,
    identifies_person,
)

# The lifetime of the cookie that holds the click id in the browser.
_EPIK_LIFETIME_SECONDS = 365 * 86_400
_LONGEST_USER_AGENT = 2048
_LONGEST_HASHED = 256


def build_user_data(call: Call, visitor: Visitor, notes: Notes) -> dict[str, Any]:
    """Return an event's ``user_data``; the event's own identifiers replace, field by field, earlier ones.

    Sets the ``public_fields`` of the call.
    """
    data = _device(call, notes)
    # By field, the values that neither the event nor a signed call gave.
    public: dict[str, list[str]] = {}
    data |= _person(call, visitor, public, notes)
    _add_click_ids(data, call, visitor, public, notes)
    if public:
        call.public_fields = _named(public, data)
    return data


def _named(public: dict[str, list[str]], data: Mapping[str, list[str]]) -> str | None:
    """Name the fields of which public calls gave everything, and such values of ``external_id`` by their places."""
    ids = public.pop("external_id", None)
    names = [*public]
    if ids:
        names += [
            f"external_id:{place}"
            for place, external_id in enumerate(data["external_id"])
            if external_id in ids
        ]
    return ",".join(names) or None


def _device(call: Call, notes: Notes) -> dict[str, Any]:
    """Return IP address and user agent: of the request for a browser, else from the event's context."""
    in_browser = call.received.channel == "browser"
    raw_ip = call.received.ip if in_browser else call.context.get("ip")
    raw_agent = call.received.user_agent if in_browser else _passed_agent(call.context)
    data: dict[str, Any] = {}
    if raw_ip:
        address, problem = _client_address(_as_list(raw_ip), call.options.truncate_ip)
        if address:
            data["client_ip_address"] = address
        if problem is not None:
            notes.warn(problem, _ADDRESS_PROBLEMS[problem])
    if raw_agent and (agent := _clean_agent(raw_agent[:_LONGEST_USER_AGENT])):
        data["client_user_agent"] = agent
    if notes.explain is not None:
        whose = "the browser's own" if in_browser else "as the server passes them on"
        notes.explain.add("identity", f"{' and '.join(data) or 'no IP address and no user agent'}: {whose}")
    return data


# Cached, because a shop's visitors share few user agents.
@lru_cache(maxsize=2048)
def _clean_agent(raw: str) -> str | None:
    agent = clean_text(raw, _LONGEST_USER_AGENT)
    return clean_device_text(agent) if agent else None


def _passed_agent(context: Mapping[str, Any]) -> str | None:
    agent = context.get("userAgent", context.get("user_agent"))
    return agent if isinstance(agent, str) else None


# Reserved for documentation and tests. No device has them, so tests may use them as public addresses.
_FOR_DOCUMENTATION = tuple(
    map(ip_network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"))
)
_ADDRESS_PROBLEMS = {
    Problem.ADDRESS_INVALID: "the IP address is left out: it is invalid",
    Problem.ADDRESS_NOT_PUBLIC: "the IP address is left out: it is not a public one",
}
_LONGEST_ADDRESSES, _MOST_ADDRESSES = 512, 16


def _as_list(raw: object) -> str:
    """Return an address, or a list of addresses, as a text."""
    if type(raw) is str:
        return raw[:_LONGEST_ADDRESSES]
    parts = raw[:_MOST_ADDRESSES] if isinstance(raw, list) else [raw]
    return ",".join(part if isinstance(part, str) else "?" for part in parts)[:_LONGEST_ADDRESSES]


def _client_address(text: str, truncate: bool) -> tuple[str | None, Problem | None]:
    """Return the first public address of a list in its usual form, or the problem if it has no such address.

    ``truncate`` clears the last byte (IPv4) or 80 bits (IPv6).
    """
    return (text, None) if not truncate and is_plain_public(text) else _first_public(text, truncate)


@lru_cache(maxsize=8192)
def _first_public(text: str, truncate: bool) -> tuple[str | None, Problem | None]:
    parts = [part for part in text.replace(";", ",").split(",") if part.strip()]
    addresses = [address for part in parts if (address := parse_address(part)) is not None]
    for address in addresses:
        if not is_public(str(address)) and not any(address in network for network in _FOR_DOCUMENTATION):
            continue
        if not truncate:
            return str(address), None
        network = ip_network((address, 48 if address.version == 6 else 24), strict=False)
        return str(network.network_address), None
    if not parts:
        return None, None
    return None, Problem.ADDRESS_NOT_PUBLIC if addresses else Problem.ADDRESS_INVALID


def _person(call: Call, visitor: Visitor, public: dict[str, list[str]], notes: Notes) -> dict[str, list[str]]:
    user_id, own = _user_id(call, visitor), _own_traits(call, visitor, notes)
    is_public_id = user_id is None and visitor.is_user_id_unconfirmed
    data: dict[str, list[str]] = {}
    # An order may be another person's even while the visitor is signed in.
    is_same_id = user_id is None or visitor.user_id in (None, user_id)
    is_same = is_same_id and not have_different_emails(visitor.traits, own)
    if is_same:
        data.update(visitor.traits)
        user_id = user_id or visitor.user_id
        if data and notes.explain is not None:
            notes.explain.add("identity", f"{', '.join(data)}: hashed at an earlier identify call")
    elif notes.explain is not None:
        what = "user id" if own.get("em") is None else "user id or e-mail address"
        notes.explain.add("identity", f"the {what} is not the visitor's: the earlier identity is not used")
    if visitor.unconfirmed and is_same and not identifies_person(own):
        confirmed = data.keys() | own.keys()
        public |= {field: [*said] for field, said in visitor.unconfirmed.items() if field not in confirmed}
        data = {**visitor.unconfirmed, **data}
        if notes.explain is not None:
            notes.explain.add(
                "identity", f"{', '.join(visitor.unconfirmed)}: hashed at a public identify call"
            )
    data.update(own)
    if user_id:
        _add_user_id(data, user_id, call.options, public, notes, is_public=is_public_id)
    return data


def likely_countries(call: Call, visitor: Visitor) -> tuple[str, ...]:
    """Return the likely countries of an event's person, alpha-2 in lower case, the most certain first."""
    parts = [collect_traits(source) for source in _sources(call)]
    return tuple(dict.fromkeys(_regions(call, visitor, parts)))


def _regions(call: Call, visitor: Visitor, parts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    # The last part takes precedence.
    countries = [part.get("country") for part in reversed(parts)]
    return person_regions(
        countries, visitor.country, call.options.default_country, call.properties, call.context
    )


def _own_traits(call: Call, visitor: Visitor, notes: Notes) -> Mapping[str, list[str]]:
    """Return the hashed traits that the event itself has, of one person; events may share them."""
    own: dict[str, list[str]] = {}
    parts = [collect_traits(source) for source in _sources(call)]
    country = next(_regions(call, visitor, parts), None) if parts else None
    if len(parts) == 1:
        own = hash_collected(parts[0], country, notes.explain)
        if len(own) != len(parts[0]):
            _warn_of_unreadable(parts[0], own, notes)
        return own
    for part in parts:
        said = hash_collected(part, country, notes.explain)
        if len(said) != len(part):
            _warn_of_unreadable(part, said, notes)
        if have_different_emails(own, said):
            own = {field: own[field] for field in ("hashed_maids",) if field in own}
        own.update(said)
    return own


# Fields that everyone fills in the same way, so that a value that cannot be read is an error of the shop.
_READABLE = {"em": "e-mail address", "ph": "phone number", "db": "birthday", "country": "country"}


def _warn_of_unreadable(part: Mapping[str, Any], said: Mapping[str, Any], notes: Notes) -> None:
    for field, words in _READABLE.items():
        value = part.get(field)
        if field not in said and (clean_text(value) if type(value) in (str, int, float) else value):
            notes.warn(Problem.FIELD_UNREADABLE, f"the person's {words} is left out: it cannot be read")


def _user_id(call: Call, visitor: Visitor) -> str | None:
    """Return the event's hashed user id, if it is sent or compared with the visitor's."""
    raw = call.event.get("userId")
    if raw is None or (visitor.user_id is None and not call.options.sends_user_id):
        return None
    return hash_value("external_id", raw)


def _sources(call: Call) -> Iterator[object]:
    """Yield the parts of an event that identify its visitor; later parts take precedence."""
    context, properties = call.context, call.properties
    if "device" in context:
        yield _mobile_ids(context["device"])
    if not _MOBILE_IDS.isdisjoint(context):
        yield _mobile_ids(context)
    if not _OF_PEOPLE.isdisjoint(properties):
        yield from people_in(properties)
    for key in ("user", "customer", "traits"):
        if key in context:
            yield context[key]
    if "userdata" in properties:
        yield properties["userdata"]
    if "traits" in call.event:
        yield call.event["traits"]


_OF_PEOPLE = PEOPLE_PROPERTIES.union(PERSONAL_PROPERTIES)
# Common spellings of a mobile advertising id next to the device; inside it, every spelling is known.
_MOBILE_IDS = frozenset(
    ("idfa", "IDFA", "gaid", "GAID", "aaid", "AAID", "gps_adid", "gpsAdid", "advertisingId", "advertising_id")
)


def _mobile_ids(holder: object) -> dict[str, Any]:
    device_ids = collect_traits(holder).get("hashed_maids")
    return {"hashed_maids": device_ids} if device_ids else {}


def _add_user_id(
    data: dict[str, list[str]],
    user_id: str,
    options: Options,
    public: dict[str, list[str]],
    notes: Notes,
    *,
    is_public: bool,
) -> None:
    if options.sends_user_id:
        _add_external_id(data, user_id, public, is_public=is_public)
        if notes.explain is not None:
            notes.explain.add("identity", f"userId: trimmed, then SHA-256 → external_id {user_id[:12]}…")
    elif notes.explain is not None:
        notes.explain.add(
            "identity", "userId: not sent, because it needs send_user_id or field_mapping pinterest"
        )


def _add_external_id(
    data: dict[str, Any], digest: str, public: dict[str, list[str]], *, is_public: bool
) -> None:
    digests = data.get("external_id", [])
    if digest not in digests:
        data["external_id"] = [*digests, digest]
        if is_public:
            public["external_id"] = [*public.get("external_id", ()), digest]
    elif not is_public and "external_id" in public:
        public["external_id"] = [
            external_id for external_id in public["external_id"] if external_id != digest
        ]


def _add_click_ids(
    data: dict[str, Any], call: Call, visitor: Visitor, public: dict[str, list[str]], notes: Notes
) -> None:
    """Add Pinterest's click id and browser id under the names of ``field_mapping``."""
    click_ids = find_click_ids(call.event, call.received, None if call.dialects else call.page_url)
    epik = click_ids.epik or _remembered_epik(visitor, call.received)
    pin_unauth = click_ids.pin_unauth or visitor.pin_unauth
    as_pinterest = call.options.field_mapping == "pinterest"
    if pin_unauth and as_pinterest:
        if digest := hash_value("external_id", pin_unauth[:_LONGEST_HASHED]):
            # Anyone can send a public call with a browser id for a device, so that an earlier one proves nothing.
            _add_external_id(data, digest, public, is_public=click_ids.pin_unauth is None)
    elif pin_unauth:
        data["click_id"] = pin_unauth
    if epik:
        data["click_id" if as_pinterest else "partner_id"] = epik
    if notes.explain is not None:
        _explain_click_ids(click_ids, epik, pin_unauth, as_pinterest, notes)


def _remembered_epik(visitor: Visitor, received: Received) -> str | None:
    age = received.received_at - (visitor.epik_at or 0.0)
    return visitor.epik if age <= _EPIK_LIFETIME_SECONDS else None


def _explain_click_ids(
    click_ids: ClickIds, epik: str | None, pin_unauth: str | None, as_pinterest: bool, notes: Notes
) -> None:
    if notes.explain is None:
        return
    earlier = "an earlier event of the visitor"
    if pin_unauth:
        where = "external_id, hashed" if as_pinterest else "click_id"
        place = click_ids.pin_unauth_place if click_ids.pin_unauth else earlier
        notes.explain.add("identity", f"_pin_unauth → {where}, from {place}")
    if epik:
        place = click_ids.epik_place if click_ids.epik else earlier
        where = "click_id" if as_pinterest else "partner_id"
        notes.explain.add("identity", f"epik → {where}, from {place}")
