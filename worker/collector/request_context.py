"""The context of a request: its client, its cookies, its visitor."""

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from flask import Request, Response

from worker import retention
from worker.collector.callers import Caller
from worker.event.consent.consent import check_consent
from worker.event.received import (
    MAX_USER_AGENT_CHARACTERS,
    Network,
    Received,
    Trust,
    clean_click_id,
    client_ip,
    epik_from_url,
    page_url,
    received_from_server,
)
from worker.event.text import clean_text

_DFID, _PIN_UNAUTH, _EPIK = "_dfid", "_pin_unauth", "_epik"

_UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class _CookieRules:
    """Hold which cookies a source sets, and for which domain; None is the collector's host."""

    domain: str | None = None
    dfid: bool = True
    pin_unauth: bool = True
    epik: bool = True
    secure: bool = True

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Read the rules from a source's options."""
        cookies = options.get("cookies") or {}
        return cls(
            domain=cookies.get("domain") or None,
            dfid=cookies.get("dfid", True),
            pin_unauth=cookies.get("pin_unauth", True),
            epik=cookies.get("epik", True),
            secure=options.get("secure_cookies", True),
        )


@dataclass(frozen=True, slots=True)
class _Cookies:
    """Hold the cookies of a browser, before or after the answer."""

    dfid: str | None = None
    pin_unauth: str | None = None
    epik: str | None = None

    @classmethod
    def of(cls, sent: Mapping[str, str]) -> Self:
        """Read a request's cookies; a value that cannot be ours or Pinterest's counts as none."""
        dfid = sent.get(_DFID, "")
        return cls(
            dfid=dfid if _UUID4.fullmatch(dfid) else None,
            pin_unauth=clean_click_id(sent.get(_PIN_UNAUTH)),
            epik=clean_click_id(sent.get(_EPIK)),
        )


def _new_uuid() -> str:
    """Make a UUID v4."""
    return str(uuid.uuid4())


def _next_cookies(
    cookies: _Cookies,
    event: Mapping[str, Any],
    rules: _CookieRules,
    *,
    may_advertise: bool,
    make_id: Callable[[], str] = _new_uuid,
) -> _Cookies:
    """Return the cookies of the browser after this event."""
    if cookies.dfid is None and rules.dfid:
        cookies = replace(cookies, dfid=_claimed_id(event) or make_id())
    if not may_advertise:
        return cookies
    if cookies.pin_unauth is None and rules.pin_unauth:
        cookies = replace(cookies, pin_unauth=make_id())
    epik = epik_from_url(page_url(event)) if rules.epik else None
    return replace(cookies, epik=epik) if epik else cookies


def _visitor_id_of(event: Mapping[str, Any], sent: _Cookies, kept: _Cookies) -> str | None:
    """Return the first-party id that an event counts under.

    A client without the cookie that sends its own anonymousId keeps it: it may never return the cookie, like a
    command line.
    """
    if sent.dfid is None and event.get("anonymousId"):
        return _claimed_id(event)
    return kept.dfid


def _set_cookies(response: Response, before: _Cookies, after: _Cookies, rules: _CookieRules) -> None:
    """Set the new cookies, and `_dfid` always, which restarts its 400 days; expire those that were withdrawn.

    Pinterest's own tag reads `_pin_unauth` and `_epik`, so that these two are not HttpOnly.
    """

    def write(name: str, value: str, seconds: int, httponly: bool) -> None:
        response.set_cookie(
            name,
            value,
            max_age=seconds,
            domain=rules.domain,
            secure=rules.secure,
            httponly=httponly,
            samesite="Lax",
        )

    if after.dfid is not None and rules.dfid:
        write(_DFID, after.dfid, retention.VISITOR_DAYS * 86_400, httponly=True)
    if after.pin_unauth is not None and after.pin_unauth != before.pin_unauth:
        write(_PIN_UNAUTH, after.pin_unauth, retention.CLICK_COOKIE_SECONDS, httponly=False)
    if after.epik is not None and after.epik != before.epik:
        write(_EPIK, after.epik, retention.CLICK_COOKIE_SECONDS, httponly=False)
    for name, was, remains in (
        (_PIN_UNAUTH, before.pin_unauth, after.pin_unauth),
        (_EPIK, before.epik, after.epik),
    ):
        if was is not None and remains is None:
            response.delete_cookie(name, domain=rules.domain, secure=rules.secure, samesite="Lax")


def _claimed_id(event: Mapping[str, Any]) -> str | None:
    id_ = event.get("anonymousId")
    return id_ if isinstance(id_, str) and _UUID4.fullmatch(id_) else None


Channel = Literal["browser", "server"]


_THIS_MACHINE = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """Hold the address, user agent and cookies of the client."""

    ip: str | None
    user_agent: str | None
    is_browser: bool
    cookies: _Cookies
    gpc: bool = False

    @classmethod
    def of(cls, request: Request, trusted: Sequence[Network], local_client_ip: str = "") -> Self:
        """Read it from a request's headers; ``local_client_ip`` replaces the address of clients on this machine."""
        headers = request.headers
        ip = client_ip(request.remote_addr, headers.get("X-Forwarded-For", ""), trusted)
        return cls(
            ip=local_client_ip if local_client_ip and ip in _THIS_MACHINE else ip,
            user_agent=clean_text(headers.get("User-Agent"), MAX_USER_AGENT_CHARACTERS),
            is_browser="Origin" in headers or "Sec-Fetch-Site" in headers,
            cookies=_Cookies.of(request.cookies),
            gpc=headers.get("Sec-GPC", "").strip() == "1",
        )


def _channel_of(event: Mapping[str, Any], *, signed: bool, is_browser: bool) -> Channel:
    """Return whether an event comes from a server or a browser.

    Signed events come from servers. The pipeline key is public, so its events count as a browser's unless
    ``context.library.name`` is ``server`` or ends in ``-server``; a script in a page cannot claim that, since
    browsers add Origin or Sec-Fetch-Site to what it sends.
    """
    if signed:
        return "server"
    library = _context(event).get("library")
    name = library.get("name") if isinstance(library, Mapping) else None
    says_server = isinstance(name, str) and (name == "server" or name.endswith("-server"))
    return "server" if says_server and not is_browser else "browser"


class RequestContext:
    """Hold how the events of a request were received, and the cookies that the answer sets."""

    def __init__(self, caller: Caller, client: ClientInfo, received_at: float) -> None:
        self._caller = caller
        self._client = client
        self._received_at = received_at
        self._rules = _CookieRules.of(caller.source.options)
        self._cookies = client.cookies
        self._in_browser = False

    @property
    def trust(self) -> Trust:
        """Return whether the caller signed the request."""
        return self._caller.trust

    def receive(self, event: Mapping[str, Any]) -> Received:
        """Return how an event was received, with the cookies after it and the events before it."""
        client = self._client
        if _channel_of(event, signed=self._caller.signed, is_browser=client.is_browser) == "server":
            return received_from_server(event, self._received_at)
        source = self._caller.source
        consent = check_consent(
            event,
            ("advertising",),
            source.default_consent("browser"),
            gpc=client.gpc,
            groups=source.consent_groups,
        )
        self._in_browser = True
        self._cookies = _next_cookies(self._cookies, event, self._rules, may_advertise=consent.granted)
        if consent.is_denied:
            self._cookies = replace(self._cookies, pin_unauth=None, epik=None)
        return Received(
            channel="browser",
            received_at=self._received_at,
            ip=client.ip,
            user_agent=client.user_agent,
            dfid=_visitor_id_of(event, client.cookies, self._cookies),
            pin_unauth=self._cookies.pin_unauth,
            epik=self._cookies.epik,
            gpc=client.gpc,
        )

    def set_cookies(self, response: Response) -> None:
        """Set the cookies of a browser; a server gets none."""
        if self._in_browser:
            _set_cookies(response, self._client.cookies, self._cookies, self._rules)


def _context(event: Mapping[str, Any]) -> Mapping[str, Any]:
    context = event.get("context")
    return context if isinstance(context, Mapping) else {}
