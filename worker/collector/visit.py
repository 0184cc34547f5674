"""Follow one request's visitor through its events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from flask import Request, Response

from worker.collector.auth import Caller
from worker.collector.cookies import CookieRules, Cookies, follow, known_by, set_cookies
from worker.events.client_ip import Network, client_ip
from worker.events.consent import decide
from worker.events.received import LONGEST_USER_AGENT, Received, received_from_server
from worker.events.text import clean_text
from worker.events.trust import Trust

Channel = Literal["browser", "server"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Hold what a request tells of the machine that made it."""

    ip: str | None
    user_agent: str | None
    is_browser: bool
    cookies: Cookies

    @classmethod
    def of(cls, request: Request, trusted: Sequence[Network]) -> "Origin":
        """Read it from a request's headers."""
        headers = request.headers
        return cls(
            ip=client_ip(request.remote_addr, headers.get("X-Forwarded-For", ""), trusted),
            user_agent=clean_text(headers.get("User-Agent"), LONGEST_USER_AGENT),
            is_browser="Origin" in headers or "Sec-Fetch-Site" in headers,
            cookies=Cookies.of(request.cookies),
        )


def channel_of(event: Mapping[str, Any], *, signed: bool, is_browser: bool) -> Channel:
    """Tell a server's event from a browser's.

    A signature is a server's. A pipeline key stands in every page, so that its events are a browser's unless
    ``context.library.name`` is ``server`` or ends in ``-server``; a script in a page cannot claim that, since
    browsers add Origin or Sec-Fetch-Site to what it sends.
    """
    if signed:
        return "server"
    library = _context(event).get("library")
    name = library.get("name") if isinstance(library, Mapping) else None
    says_server = isinstance(name, str) and (name == "server" or name.endswith("-server"))
    return "server" if says_server and not is_browser else "browser"


class Visit:
    """Tell for each event of a request how it was received, and which cookies the answer sets in the end."""

    def __init__(self, caller: Caller, origin: Origin, received_at: float) -> None:
        self._caller = caller
        self._origin = origin
        self._received_at = received_at
        self._rules = CookieRules.of(caller.source.options)
        self._cookies = origin.cookies
        self._in_browser = False

    @property
    def trust(self) -> Trust:
        """Return whether the caller signed the request."""
        return self._caller.trust

    def receive(self, event: Mapping[str, Any]) -> Received:
        """Return how an event came in, with the cookies that it and those before it lead to."""
        origin = self._origin
        if channel_of(event, signed=self._caller.signed, is_browser=origin.is_browser) == "server":
            return received_from_server(event, self._received_at)
        default = self._caller.source.default_consent("browser")
        may_advertise = decide(event, ("advertising",), default).granted
        self._in_browser = True
        self._cookies = follow(self._cookies, event, self._rules, may_advertise=may_advertise)
        return Received(
            channel="browser",
            received_at=self._received_at,
            ip=origin.ip,
            user_agent=origin.user_agent,
            dfid=known_by(event, origin.cookies, self._cookies),
            pin_unauth=self._cookies.pin_unauth,
            epik=self._cookies.epik,
        )

    def set_cookies(self, response: Response) -> None:
        """Write the cookies; a server gets none."""
        if self._in_browser:
            set_cookies(response, self._origin.cookies, self._cookies, self._rules)


def _context(event: Mapping[str, Any]) -> Mapping[str, Any]:
    context = event.get("context")
    return context if isinstance(context, Mapping) else {}
