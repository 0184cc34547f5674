"""What the collector knows beside the event."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Literal, Self
from urllib.parse import unquote

from worker.event.text import clean_text
from worker.event.urls import split_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# A call from one of these comes through a proxy that TRUSTED_PROXIES lacks, or from the shop's own machines.
_LOCAL = tuple(
    ip_network(network)
    for network in (
        *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"),
        *("::1/128", "fc00::/7", "fe80::/10"),
    )
)
_IPV6_PREFIX_BITS = 64


def client_ip(remote: str | None, forwarded_for: str, trusted: Sequence[Network]) -> str | None:
    """Return the rightmost address that is not a trusted proxy's.

    ``forwarded_for`` is the whole X-Forwarded-For header. Each proxy appends whom it heard from, so that only
    what stands to the right of the first stranger is true; the rest is the caller's own tale. None where a
    trusted proxy wrote something that is no address.
    """
    current = parse_address(remote or "")
    hops = [hop for hop in forwarded_for.split(",") if hop.strip()]
    while current is not None and hops and _is_trusted(current, trusted):
        current = parse_address(hops.pop())
    return str(current) if current is not None else None


def parse_address(text: str) -> Address | None:
    """Read an address as proxies write it: with or without a port, IPv4 also in its IPv6 form."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)


def client_network(address: str | None) -> str | None:
    """Return what a client is counted by: its IPv4 address, or the /64 network that one line has in IPv6.

    None for local networks, which stand for many clients, and for what is not an address.
    """
    parsed = parse_address(address or "")
    if parsed is None or any(parsed in network for network in _LOCAL):
        return None
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    return str(ip_network((int(parsed), _IPV6_PREFIX_BITS), strict=False))


MAX_USER_AGENT_CHARACTERS = 1_024
_LONGEST_CLICK_ID = 512
_SHORT = {
    "ip": "ip",
    "user_agent": "ua",
    "dfid": "df",
    "pin_unauth": "pu",
    "epik": "ep",
}


@dataclass(frozen=True, slots=True)
class Received:
    """Hold how an event came in; the cookies are those of the request, or those just set by its answer."""

    channel: Literal["browser", "server"]
    received_at: float
    ip: str | None = None
    user_agent: str | None = None
    dfid: str | None = None
    pin_unauth: str | None = None
    epik: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it for storing as JSON, under short keys, without what is unknown."""
        kept: dict[str, Any] = {"ch": self.channel[0], "at": self.received_at}
        for name, short in _SHORT.items():
            value = getattr(self, name)
            if value is not None:
                kept[short] = value
        return kept

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Self:
        """Read back what ``to_dict`` made."""
        return cls(
            channel="browser" if kept["ch"] == "b" else "server",
            received_at=kept["at"],
            **{name: kept.get(short) for name, short in _SHORT.items()},
        )


def received_from_server(event: Mapping[str, Any], received_at: float) -> Received:
    """Return how a server's event came in: the visitor's address and browser are those that its context names."""
    context = event.get("context")
    given = context if isinstance(context, Mapping) else {}
    ip = given.get("ip")
    address = parse_address(ip) if isinstance(ip, str) else None
    return Received(
        channel="server",
        received_at=received_at,
        ip=str(address) if address is not None else None,
        user_agent=clean_text(given.get("userAgent"), MAX_USER_AGENT_CHARACTERS),
    )


def epik_from_url(url: object) -> str | None:
    """Return Pinterest's click id from the query of a page's address, if a usable one is there."""
    if not isinstance(url, str) or "epik=" not in url:
        return None
    try:
        query = split_address(url).query
    except ValueError:
        return None
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name == "epik":
            found = clean_click_id(unquote(value))
            if found:
                return found
    return None


def clean_click_id(value: object) -> str | None:
    """Return a click id or a browser id as it came, or None where it cannot be one."""
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        return None
    usable = value and " " not in value and len(value) <= _LONGEST_CLICK_ID
    return value if usable and value.lower() not in ("null", "undefined", "none") else None


def current_epik(url: str | None, received: Received) -> str | None:
    """Return the click id of the page's address, which is fresher than the cookie, else the cookie's."""
    return epik_from_url(url) or clean_click_id(received.epik)


def page_url(event: Mapping[str, Any]) -> str | None:
    """Return the address of the page that an event happened on."""
    context = event.get("context")
    page = context.get("page") if isinstance(context, dict) else None
    properties = event.get("properties")
    for holder in (page, properties):
        url = holder.get("url") if isinstance(holder, dict) else None
        if isinstance(url, str) and url.strip():
            return url.strip()
    return None


def visitor_ids(event: Mapping[str, Any], received: Received) -> tuple[str | None, str | None]:
    """Return the anonymous id and the user id that an event is known by, as text.

    A browser is known by its own cookie; what a page's script claims comes second.
    """
    anonymous = clean_text(event.get("anonymousId"))
    if received.channel == "browser":
        anonymous = clean_text(received.dfid) or anonymous
    return anonymous or clean_text(received.dfid), clean_text(event.get("userId"))


class Trust(IntEnum):
    """Say how an event came in.

    ``PUBLIC`` events carry the pipeline key, which every page of the shop shows to everybody. ``SIGNED`` events
    carry a signature made with the server secret, or come from a file that the operator imports.
    """

    PUBLIC = 0
    SIGNED = 1
