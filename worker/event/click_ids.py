"""Find Pinterest's click id and browser id in an event, wherever browsers, servers and connectors put them."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

from worker.event.received import Received, clean_click_id, epik_from_url, page_url

# As connectors write them. Each key is looked up as it is: folding every key of every event would cost more.
_EPIK_NAMES = (
    *("epik", "_epik", "epikClickId", "epik_click_id", "click_id", "clickId", "clickid", "click_ID"),
    *(
        "pinterest_click_id",
        "pinterestClickId",
        "pinterest_epik",
        "pin_click_id",
        "pinClickId",
        "Epik",
        "EPIK",
    ),
)
_BROWSER_NAMES = ("_pin_unauth", "pin_unauth", "pinUnauth", "_pinUnauth", "pinunauth", "pinterest_pin_unauth")
_NAMES = frozenset((*_EPIK_NAMES, *_BROWSER_NAMES))
_URL_NAMES = frozenset(
    ("landing_site", "landingSite", "landing_page", "landingPage", "page_url", "pageUrl", "page_location")
)
_PARTS = frozenset(("user_data", "userData", "traits", "pinterest", "Pinterest", "cookies", "cookie"))
# Of an order: a list of names and values that the shop's theme keeps with it.
_ATTRIBUTES = ("note_attributes", "noteAttributes", "meta_data", "custom_attributes", "customAttributes")
_MOST_ATTRIBUTES = 200
_LONGEST_COOKIES = 16_384
_OF_PAGE, _OF_CONTEXT = frozenset(("search", "referrer")), frozenset(("url", "referrer"))
# Without any of these keys, no part of an event but its page's URL has an id.
_IN_PROPERTIES = _NAMES.union(_PARTS, _ATTRIBUTES, _URL_NAMES)
_IN_CONTEXT = _NAMES.union(_PARTS, _OF_CONTEXT) - {"traits"}
# Starts of the browser id: "uid=" in base64.
_BROWSER_ID_START = "dWlkP"


class ClickIds(NamedTuple):
    """Hold an event's click id and browser id, each with the place where it was found."""

    epik: str | None
    epik_place: str
    pin_unauth: str | None
    pin_unauth_place: str


def find_click_ids(event: Mapping[str, Any], received: Received, url: str | None = None) -> ClickIds:
    """Return an event's own ids, the freshest first: a URL, then a field, then a cookie, then the referrer.

    ``url`` is the URL of its page, where it is known already.
    """
    raw_context, raw_properties = event.get("context"), event.get("properties")
    context = raw_context if type(raw_context) is dict else {}
    properties = raw_properties if type(raw_properties) is dict else {}
    epik, epik_place = epik_from_url(url or page_url(event)), "the page's URL"
    pin_unauth, pin_unauth_place = clean_click_id(received.pin_unauth), "the cookie _pin_unauth"
    if received.epik is None and _are_usual(event, context, properties):
        return ClickIds(epik, epik_place, pin_unauth, pin_unauth_place)
    for place, holder in _holders(event, context, properties):
        if not _NAMES.isdisjoint(holder):
            found_epik, found_browser = _read(holder)
            if epik is None and found_epik:
                epik, epik_place = found_epik, place
            if pin_unauth is None and found_browser:
                pin_unauth, pin_unauth_place = found_browser, place
    if epik is None:
        epik, epik_place = _last_places(context, properties, received)
    return ClickIds(epik, epik_place, pin_unauth, pin_unauth_place)


def _are_usual(event: Mapping[str, Any], context: Mapping[str, Any], properties: Mapping[str, Any]) -> bool:
    """Return whether the event has no other place for an id than its page's URL, as most have not."""
    if not (
        _IN_PROPERTIES.isdisjoint(properties) and _PARTS.isdisjoint(event) and _IN_CONTEXT.isdisjoint(context)
    ):
        return False
    traits, page = context.get("traits"), context.get("page")
    return (type(traits) is not dict or _NAMES.isdisjoint(traits)) and (
        type(page) is not dict or _OF_PAGE.isdisjoint(page)
    )


def _holders(
    event: Mapping[str, Any], context: Mapping[str, Any], properties: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "properties", properties
    yield "context", context
    for name in () if properties.keys().isdisjoint(_ATTRIBUTES) else _ATTRIBUTES:
        if type(properties.get(name)) is list:
            yield "the order's attributes", attributes_of(properties[name])
    for place, parent, names in (
        ("user_data", properties, ("user_data", "userData")),
        ("user_data", context, ("user_data", "userData")),
        ("traits", context, ("traits",)),
        ("traits", event, ("traits",)),
        ("user_data", event, ("user_data", "userData")),
        ("integrations", context, ("pinterest", "Pinterest")),
    ):
        for name in names:
            if name in parent and type(parent[name]) is dict:
                yield place, parent[name]
    for parent in (context, properties):
        for name in ("cookies", "cookie"):
            if name in parent:
                yield "cookies", _cookies(parent[name])


def attributes_of(entries: list[Any]) -> dict[str, Any]:
    """Return the attributes of an order by their name, which Shopify calls ``name`` and others ``key``."""
    return {
        str(entry.get("name") or entry.get("key")): entry.get("value")
        for entry in entries[:_MOST_ATTRIBUTES]
        if type(entry) is dict
    }


def _cookies(raw: object) -> Mapping[str, Any]:
    """Return cookies by name, also from the text of a Cookie header."""
    if type(raw) is dict:
        return raw
    cookies: dict[str, Any] = {}
    if type(raw) is str and len(raw) <= _LONGEST_COOKIES:
        for pair in raw.split(";"):
            name, _, value = pair.partition("=")
            cookies.setdefault(name.strip(), unquote(value.strip()))
    return cookies


def _read(holder: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the click id and the browser id of a holder. A browser id may come under the name of the click id."""
    epik = next((value for name in _EPIK_NAMES if (value := clean_click_id(holder.get(name)))), None)
    browser = next((value for name in _BROWSER_NAMES if (value := clean_click_id(holder.get(name)))), None)
    if epik is not None and (epik == browser or epik.startswith(_BROWSER_ID_START)):
        return None, browser or epik
    return epik, browser


def _last_places(
    context: Mapping[str, Any], properties: Mapping[str, Any], received: Received
) -> tuple[str | None, str]:
    page = context.get("page")
    page = page if type(page) is dict else {}
    for name in () if _URL_NAMES.isdisjoint(properties) else sorted(_URL_NAMES):
        if name in properties and (epik := epik_from_url(properties[name])):
            return epik, name
    for place, url in (("context.url", context.get("url")), ("the page's query", _query(page.get("search")))):
        if url is not None and (epik := epik_from_url(url)):
            return epik, place
    if epik := clean_click_id(received.epik):
        return epik, "the cookie _epik"
    return epik_from_url(page.get("referrer", context.get("referrer"))), "the referrer"


def _query(search: object) -> str | None:
    return f"https://page/?{search.lstrip('?')}" if type(search) is str and search else None
