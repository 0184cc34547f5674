"""Decide which first-party cookies an answer sets."""

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from flask import Response

from worker.events.identity import page_url
from worker.events.received import click_id, epik_from_url

DFID, PIN_UNAUTH, EPIK = "_dfid", "_pin_unauth", "_epik"
SECONDS_A_DAY = 86_400
DFID_SECONDS = 400 * SECONDS_A_DAY
PIN_UNAUTH_SECONDS = EPIK_SECONDS = 365 * SECONDS_A_DAY

_UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class CookieRules:
    """Say which cookies a source wants set, and for which domain; None means the collector's own host."""

    domain: str | None = None
    dfid: bool = True
    pin_unauth: bool = True
    epik: bool = True
    secure: bool = True

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Read the rules from a source's options."""
        chosen = options.get("cookies") or {}
        return cls(
            domain=chosen.get("domain") or None,
            dfid=chosen.get("dfid", True),
            pin_unauth=chosen.get("pin_unauth", True),
            epik=chosen.get("epik", True),
            secure=options.get("secure_cookies", True),
        )


@dataclass(frozen=True, slots=True)
class Cookies:
    """Hold the values that a browser keeps, or will keep after the answer."""

    dfid: str | None = None
    pin_unauth: str | None = None
    epik: str | None = None

    @classmethod
    def of(cls, sent: Mapping[str, str]) -> Self:
        """Read a request's cookies; a value that cannot be ours or Pinterest's counts as none."""
        dfid = sent.get(DFID, "")
        return cls(
            dfid=dfid if _UUID4.fullmatch(dfid) else None,
            pin_unauth=click_id(sent.get(PIN_UNAUTH)),
            epik=click_id(sent.get(EPIK)),
        )


def new_id() -> str:
    """Make a UUID v4."""
    return str(uuid.uuid4())


def follow(
    known: Cookies,
    event: Mapping[str, Any],
    rules: CookieRules,
    *,
    may_advertise: bool,
    make_id: Callable[[], str] = new_id,
) -> Cookies:
    """Return what the browser will keep once it has sent this event."""
    if known.dfid is None and rules.dfid:
        known = replace(known, dfid=_claimed_id(event) or make_id())
    if not may_advertise:
        return known
    if known.pin_unauth is None and rules.pin_unauth:
        known = replace(known, pin_unauth=make_id())
    brought = epik_from_url(page_url(event)) if rules.epik else None
    return replace(known, epik=brought) if brought else known


def known_by(event: Mapping[str, Any], sent: Cookies, kept: Cookies) -> str | None:
    """Return the first-party id that an event counts under.

    A browser that sent none and names its visitor itself is known by that name: it may never bring back the
    cookie that it is about to get, as a command line does not.
    """
    if sent.dfid is None and event.get("anonymousId"):
        return _claimed_id(event)
    return kept.dfid


def set_cookies(response: Response, before: Cookies, after: Cookies, rules: CookieRules) -> None:
    """Write the cookies that are new, and `_dfid` always: that starts its 400 days anew.

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
        write(DFID, after.dfid, DFID_SECONDS, httponly=True)
    if after.pin_unauth is not None and after.pin_unauth != before.pin_unauth:
        write(PIN_UNAUTH, after.pin_unauth, PIN_UNAUTH_SECONDS, httponly=False)
    if after.epik is not None and after.epik != before.epik:
        write(EPIK, after.epik, EPIK_SECONDS, httponly=False)


def _claimed_id(event: Mapping[str, Any]) -> str | None:
    claimed = event.get("anonymousId")
    return claimed if isinstance(claimed, str) and _UUID4.fullmatch(claimed) else None
