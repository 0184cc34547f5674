"""How an event was received: client address, cookies, click ids and trust."""

import re
from collections.abc import Mapping, Sequence
from enum import IntEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import unquote

from worker.event.text import JUNK, clean_text
from worker.event.urls import split_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# A request from these networks comes through a proxy that is not in TRUSTED_PROXIES, or from the shop's own machines.
_LOCAL = tuple(
    ip_network(network)
    for network in (
        *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"),
        *("::1/128", "fc00::/7", "fe80::/10"),
    )
)
_IPV6_PREFIX_BITS = 64


def client_ip(remote: str | None, forwarded_for: str, networks: Sequence[Network]) -> str | None:
    """Return the rightmost address that is not a trusted proxy's.

    ``forwarded_for`` is the whole X-Forwarded-For header. Each proxy appends the address of its client, so the client
    can forge everything to the left of the first untrusted address. None if a trusted proxy wrote something else than
    an address.
    """
    current = parse_address(remote or "")
    hops = [hop for hop in forwarded_for.split(",") if hop.strip()]
    while current is not None and hops and _is_trusted(current, networks):
        current = parse_address(hops.pop())
    return str(current) if current is not None else None


def parse_address(text: str) -> Address | None:
    """Parse an address as proxies write it: with or without a port and a zone, IPv4 also in its IPv6 form."""
    return _parse_short(text) if len(text) <= _LONGEST_REMEMBERED else _parse_address(text)


def _parse_address(text: str) -> Address | None:
    text = text.strip().strip('"').removeprefix("for=").strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


# A request's address is parsed several times, and a visitor sends several requests.
_LONGEST_REMEMBERED = 64
_parse_short = lru_cache(maxsize=4096)(_parse_address)


def _is_trusted(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


@lru_cache(maxsize=4096)
def client_network(address: str | None) -> str | None:
    """Return the key for limits per client: the IPv4 address, or the /64 network of an IPv6 address.

    None for local networks, which many clients share, and for text that is not an address.
    """
    ip = parse_address(address or "")
    if ip is None or any(ip in network for network in _LOCAL):
        return None
    if isinstance(ip, IPv4Address):
        return str(ip)
    return str(ip_network((int(ip), _IPV6_PREFIX_BITS), strict=False))


MAX_USER_AGENT_CHARACTERS = 1_024
_LONGEST_CLICK_ID = 512
_STORED_KEYS = {"ip": "ip", "user_agent": "ua", "dfid": "df", "pin_unauth": "pu", "epik": "ep"}
_GPC_KEY = "gp"


# A named tuple, which takes a third of a frozen dataclass's time to make.
class Received(NamedTuple):
    """How an event was received; the cookies are from the request, or from the response that just set them.

    ``gpc`` is the browser's Global Privacy Control.
    """

    channel: Literal["browser", "server"]
    received_at: float
    ip: str | None = None
    user_agent: str | None = None
    dfid: str | None = None
    pin_unauth: str | None = None
    epik: str | None = None
    gpc: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the known fields under short keys, to store as JSON."""
        record: dict[str, Any] = {"ch": self.channel[0], "at": self.received_at}
        for name, key in _STORED_KEYS.items():
            value = getattr(self, name)
            if value is not None:
                record[key] = value
        if self.gpc:
            record[_GPC_KEY] = True
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Restore the result of ``to_dict``."""
        return cls(
            channel="browser" if record["ch"] == "b" else "server",
            received_at=record["at"],
            gpc=record.get(_GPC_KEY, False),
            **{name: record.get(key) for name, key in _STORED_KEYS.items()},
        )


def received_from_server(event: Mapping[str, Any], received_at: float) -> Received:
    """Describe an event from a server; the visitor's address and user agent come from the event's context."""
    raw_context = event.get("context")
    context = raw_context if isinstance(raw_context, Mapping) else {}
    ip = context.get("ip")
    address = parse_address(ip) if isinstance(ip, str) else None
    return Received(
        channel="server",
        received_at=received_at,
        ip=str(address) if address is not None else None,
        user_agent=clean_text(context.get("userAgent"), MAX_USER_AGENT_CHARACTERS),
    )


def epik_from_url(url: object) -> str | None:
    """Return Pinterest's click id from the query of a page's URL, or None."""
    if not isinstance(url, str) or "epik=" not in url:
        return None
    try:
        query = split_address(url).query
    except ValueError:
        return None
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name == "epik" and (epik := clean_click_id(unquote(value))):
            return epik
    return None


# An e-mail address, a URL or a phone number.
_NO_CLICK_ID = re.compile(r"@|%(?:25)*40|://|^(?:tel:)?(?:\+|%(?:25)*2b)[\d().+-]{7,}$", re.IGNORECASE)


def clean_click_id(value: object) -> str | None:
    """Return a click id or a browser id unchanged, or None if it cannot be valid."""
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        return None
    usable = value and " " not in value and len(value) <= _LONGEST_CLICK_ID and not _NO_CLICK_ID.search(value)
    return value if usable and value.lower() not in JUNK else None


def page_url(event: Mapping[str, Any]) -> str | None:
    """Return the URL of the page that an event happened on."""
    context = event.get("context")
    page = context.get("page") if type(context) is dict else None
    url = page.get("url") if type(page) is dict else None
    if type(url) is str and (stripped := url.strip()):
        return stripped
    properties = event.get("properties")
    url = properties.get("url") if type(properties) is dict else None
    return url.strip() or None if type(url) is str else None


def visitor_ids(event: Mapping[str, Any], received: Received) -> tuple[str | None, str | None]:
    """Return an event's anonymous id and user id, as text.

    For a browser, the cookie takes precedence over the id that a script on the page sends.
    """
    anonymous = clean_text(event.get("anonymousId"))
    if received.channel == "browser":
        anonymous = clean_text(received.dfid) or anonymous
    return anonymous or clean_text(received.dfid), clean_text(event.get("userId"))


class Trust(IntEnum):
    """How an event was authenticated.

    ``PUBLIC`` events carry the pipeline key, which is visible on every page of the shop. ``SIGNED`` events carry a
    signature made with the server secret, or come from a file that the operator imports.
    """

    PUBLIC = 0
    SIGNED = 1
