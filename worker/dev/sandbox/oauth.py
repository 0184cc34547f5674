"""Play Pinterest's account API: the page that asks for access, tokens, ad accounts, and the Event Quality Score."""

import base64
import binascii
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any
from urllib.parse import parse_qs, urlencode

from worker.dev.sandbox import http_server
from worker.dev.sandbox.http_server import HTML, Request, Response

_CODE_SECONDS = 600.0
_USUAL_PAGE, _LARGEST_PAGE = 25, 250
_reading_path = re.compile(r"/v5/ad_accounts/([^/]+)/(advertiser_defined_events|conversion_eqs)").fullmatch
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Pinterest sandbox: give access</title></head>
<body><h1>Give access to your Pinterest account?</h1>
<p>The app <b>{client_id}</b> wants: {scope}. This is the sandbox, not Pinterest: nothing leaves this machine.</p>
<p><a href="{give}">Give access</a></p><p><a href="{refuse}">Cancel</a></p></body></html>
"""


def _components(coverage: int, overlap: int) -> dict[str, Any]:
    """Return quality components of two events, with one issue."""
    few = {
        "id": "low_coverage",
        "name": "Low e-mail coverage",
        "reason": "Few checkout events have a hashed email.",
    }
    return {
        "hashed_email": {
            "checkout": {"coverage": coverage, "issues": [few] if coverage < 50 else []},
            "page_visit": {"coverage": coverage / 2, "issues": []},
        },
        "click_id_epik": {"checkout": {"coverage": 31, "issues": []}},
        "ip_address": {"checkout": {"coverage": 100, "issues": []}},
        "external_event_id": {"checkout": {"coverage": 100, "overlap": overlap, "issues": []}},
    }


def _usual_accounts() -> list[dict[str, Any]]:
    shops = [("549755885175", "Demo shop", "US", "USD", "America/New_York")]
    shops += [("549755885176", "Laden Berlin", "DE", "EUR", "Europe/Berlin")]
    shops += [(str(549755885200 + n), f"Client {n:02}", "GB", "GBP", "Europe/London") for n in range(1, 41)]
    names = ("id", "name", "country", "currency", "time_zone")
    return [dict(zip(names, shop, strict=True)) | {"permissions": ["OWNER"]} for shop in shops]


def _usual_scores() -> list[dict[str, Any]]:
    return [
        {
            "source_platform": "WEB",
            "ingestion_source": source,
            "lookback_period": period,
            "overall_status": status,
            "quality_components": _components(coverage, 64),
        }
        for source, status, coverage in (("CONVERSIONS_API", "FAIR", 41), ("TAG", "GOOD", 72))
        for period in ("1d", "14d")
    ]


@dataclass
class AccountScript:
    """What the account API has and how it misbehaves; `answers` are rules, the first that is left over applies.

    A rule is `{"call": token | conversion_token | ad_accounts | advertiser_defined_events | conversion_eqs,
    "status", "code", "message", "headers", "times"}`. `scores` and `events` are by ad account. `revoked` refuses
    every token that was issued until now.
    """

    redirect_uris: list[str] = field(default_factory=list)
    app_secret: str = ""
    scope: str = ""
    expires_in: float = 2_592_000
    refresh_token_expires_in: float = 5_184_000
    ad_accounts: list[dict[str, Any]] = field(default_factory=_usual_accounts)
    events: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    scores: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    answers: list[dict[str, Any]] = field(default_factory=list)
    revoked: bool = False


@dataclass(frozen=True)
class _Grant:
    """What a code or token gives; `ends_at` is in Unix seconds."""

    client_id: str
    scope: str
    ends_at: float
    redirect_uri: str = ""


class AccountApi:
    """Pinterest's account API, with the codes and tokens that it has issued."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._script, self._answers = AccountScript(), list[dict[str, Any]]()
        self._codes: dict[str, _Grant] = {}
        self._access: dict[str, _Grant] = {}
        self._refresh: dict[str, _Grant] = {}

    def follow(self, script: AccountScript) -> None:
        """Follow a script; the tokens remain, unless it revokes them."""
        self._script = script
        self._answers = [dict(rule) for rule in script.answers]
        if script.revoked:
            self._codes, self._access, self._refresh = {}, {}, {}

    def answer(self, request: Request) -> Response | None:
        """Answer a request, or return None if it is not for the account API."""
        reading = _reading_path(request.path)
        method, call = ("GET", reading[2]) if reading else _CALLS.get(request.path, ("", ""))
        if not call:
            return None
        if request.method != method:
            return http_server.error(405, headers={"Allow": method})
        return self._scripted(call) or self._answer(call, reading, request)

    def _answer(self, call: str, reading: re.Match[str] | None, request: Request) -> Response:
        if call == "authorize":
            return self._authorize(request)
        return self._token(request) if call == "token" else self._with_access(call, reading, request)

    def _with_access(self, call: str, reading: re.Match[str] | None, request: Request) -> Response:
        grant = self._access.get(_credentials(request, "bearer"))
        if grant is None or grant.ends_at <= self._clock():
            return http_server.error(401)
        if ("ads:write" if call == "conversion_token" else "ads:read") not in grant.scope:
            return http_server.error(403, "The token lacks a scope.")
        if call == "conversion_token":
            return http_server.ok(
                {"access_token": f"pinc_{secrets.token_hex(16)}", "token_type": "conversion"}
            )
        return self._read(call, reading[1], request.query) if reading else self._ad_accounts(request.query)

    def _scripted(self, call: str) -> Response | None:
        for rule in self._answers:
            if rule.get("call") == call and rule.get("times", 1) > 0:
                rule["times"] = rule.get("times", 1) - 1
                return http_server.error(
                    rule.get("status", 500),
                    rule.get("message"),
                    code=rule.get("code"),
                    headers=rule.get("headers") or {},
                )
        return None

    def _authorize(self, request: Request) -> Response:
        query = dict(request.query)
        redirect, uris = query.get("redirect_uri", ""), self._script.redirect_uris
        if query.get("response_type") != "code" or not query.get("client_id") or not redirect:
            return http_server.error(400, "client_id, redirect_uri and response_type=code are required.")
        if uris and redirect not in uris:
            return http_server.error(400, "The redirect_uri is not registered with the app.")
        choice = query.pop("choice", "")
        if not choice:
            give, refuse = (f"/oauth/?{urlencode(query | {'choice': word})}" for word in ("give", "refuse"))
            fields = {"client_id": query["client_id"], "scope": query.get("scope", "nothing")}
            html = _PAGE.format(
                **{k: escape(v) for k, v in (fields | {"give": give, "refuse": refuse}).items()}
            )
            return Response(200, html.encode(errors="replace"), content_type=HTML)
        back = {"state": query["state"]} if "state" in query else {}
        if choice == "give":
            code = back["code"] = secrets.token_hex(12)
            scope = self._script.scope or query.get("scope", "")
            self._codes[code] = _Grant(query["client_id"], scope, self._clock() + _CODE_SECONDS, redirect)
        else:
            back["error"] = "access_denied"
        target = f"{redirect}?{urlencode(back)}"
        return Response(302, b"", headers={"Location": target})

    def _token(self, request: Request) -> Response:
        client_id, _, secret = _credentials(request, "basic").partition(":")
        if not client_id or not secret or secret != (self._script.app_secret or secret):
            return http_server.error(401)
        form = {name: values[-1] for name, values in parse_qs(request.body.decode(errors="replace")).items()}
        if form.get("grant_type") == "refresh_token":
            # A refresh token works once: the answer has the next one.
            grant = self._refresh.pop(form.get("refresh_token", ""), None)
        elif form.get("grant_type") == "authorization_code":
            grant = self._codes.pop(form.get("code", ""), None)
            if grant and grant.redirect_uri != form.get("redirect_uri"):
                return http_server.error(400, "The redirect_uri is not that of the code.")
        else:
            return http_server.error(400, "grant_type is not supported.")
        if grant is None or grant.ends_at <= self._clock() or grant.client_id != client_id:
            return http_server.error(400, "The code or refresh token is invalid or has expired.")
        return self._issue(grant)

    def _issue(self, grant: _Grant) -> Response:
        script, now = self._script, self._clock()
        access, refresh = f"pina_{secrets.token_hex(16)}", f"pinr_{secrets.token_hex(16)}"
        self._access[access] = _Grant(grant.client_id, grant.scope, now + script.expires_in)
        self._refresh[refresh] = _Grant(grant.client_id, grant.scope, now + script.refresh_token_expires_in)
        return http_server.ok(
            {
                "access_token": access,
                "refresh_token": refresh,
                "token_type": "bearer",
                "expires_in": script.expires_in,
                "refresh_token_expires_in": script.refresh_token_expires_in,
                "scope": grant.scope,
            }
        )

    def _ad_accounts(self, query: Mapping[str, str]) -> Response:
        size, start = query.get("page_size", str(_USUAL_PAGE)), query.get("bookmark", "0")
        if not (size.isdecimal() and 1 <= int(size) <= _LARGEST_PAGE and start.isdecimal()):
            return http_server.error(400, "page_size or bookmark is invalid.")
        end, accounts = int(start) + int(size), self._script.ad_accounts
        bookmark = str(end) if end < len(accounts) else None
        return http_server.ok({"items": accounts[int(start) : end], "bookmark": bookmark})

    def _read(self, call: str, account: str, query: Mapping[str, str]) -> Response:
        if not any(row["id"] == account for row in self._script.ad_accounts):
            return http_server.error(403)
        if call != "conversion_eqs":
            default = [{"name": "download_picture", "mapped_conversion_type": "LEAD"}]
            return http_server.ok({"items": self._script.events.get(account, default)})
        if query.get("lookback_period") not in ("1d", "14d"):
            return http_server.error(400, "lookback_period must be 1d or 14d.")
        scores = self._script.scores.get(account, _usual_scores())
        filters = ("lookback_period", "source_platform", "ingestion_source")
        return http_server.ok(
            [
                score
                for score in scores
                if all(score[name] == query.get(name, score[name]) for name in filters)
            ]
        )


_CALLS = {
    "/oauth/": ("GET", "authorize"),
    "/v5/oauth/token": ("POST", "token"),
    "/v5/oauth/conversion_token": ("POST", "conversion_token"),
    "/v5/ad_accounts": ("GET", "ad_accounts"),
}


def _credentials(request: Request, scheme: str) -> str:
    """Return the bearer token, or the decoded user and password; empty if they are missing or malformed."""
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != scheme:
        return ""
    try:
        return base64.b64decode(value, validate=True).decode() if scheme == "basic" else value.strip()
    except (binascii.Error, ValueError):
        return ""
