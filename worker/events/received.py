"""What the collector knows beside the event."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self
from urllib.parse import unquote

from worker.events.addresses import split_address
from worker.events.client_ip import parse_address
from worker.events.text import clean_text

LONGEST_USER_AGENT = 1_024
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
        user_agent=clean_text(given.get("userAgent"), LONGEST_USER_AGENT),
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
            found = click_id(unquote(value))
            if found:
                return found
    return None


def click_id(value: object) -> str | None:
    """Return a click id or a browser id as it came, or None where it cannot be one."""
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        return None
    usable = value and " " not in value and len(value) <= _LONGEST_CLICK_ID
    return value if usable and value.lower() not in ("null", "undefined", "none") else None
