"""Sign in with Pinterest by OAuth, and read what an ad account shows."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from worker.pinterest.client.client import Answer, Bearer, PinterestClient, is_pinterest, mask
from worker.pinterest.client.retry_delays import retry_after_seconds

_SCOPES = ("ads:read", "ads:write")
_SIGN_IN_PAGE = "https://www.pinterest.com/oauth/"
_PAGE_SIZE, _MOST_PAGES = 250, 40
_is_account_id = re.compile(r"[0-9]{1,18}").fullmatch
_is_token = re.compile(r"[\x21-\x7e]{1,4096}").fullmatch
# Without them in an answer: what Pinterest documents.
_ACCESS_SECONDS, _REFRESH_SECONDS = 30 * 86_400.0, 60 * 86_400.0
_DEADLINE_SECONDS = 10.0


class AccountApiError(Exception):
    """Pinterest refused or did not answer; the message is a sentence. ``status`` is None without an answer."""

    def __init__(self, message: str, status: int | None = None, wait_seconds: float | None = None) -> None:
        self.status, self.wait_seconds = status, wait_seconds
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Hold the tokens of a sign-in, and how long they last from now on. A refresh may leave the refresh token."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    scope: str
    access_seconds: float
    refresh_seconds: float


@dataclass(frozen=True, slots=True)
class AdAccount:
    """Describe an ad account as Pinterest does; a text is empty if it is not known."""

    id: str
    name: str
    country: str
    currency: str
    time_zone: str


class AccountClient(PinterestClient):
    """Call Pinterest's account API with the operator's own app. Every call may raise AccountApiError."""

    def __init__(self, base_url: str, app_id: str, app_secret: str) -> None:
        super().__init__(base_url, deadline_seconds=_DEADLINE_SECONDS, read_timeout_seconds=_DEADLINE_SECONDS)
        self._app = app_id, app_secret

    def sign_in_url(self, redirect_uri: str, state: str) -> str:
        """Return the address of the page on which a person gives access."""
        page = _SIGN_IN_PAGE if is_pinterest(self._base_url) else f"{self._base_url}/oauth/"
        query = {
            "client_id": self._app[0],
            "redirect_uri": redirect_uri,
            "response_type": "code",
            "scope": ",".join(_SCOPES),
            "state": state,
        }
        return f"{page}?{urlencode(query)}"

    def tokens(self, **grant: str) -> Tokens:
        """Return tokens for a code (``code``, ``redirect_uri``) or for a ``refresh_token``."""
        kind = "refresh_token" if "refresh_token" in grant else "authorization_code"
        answer = self._request(
            "POST",
            "/v5/oauth/token",
            auth=self._app,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            data={"grant_type": kind, "continuous_refresh": "true"} | grant,
        )
        reply = _object(_json(answer))
        return Tokens(
            _token(reply),
            _token(reply, "refresh_token") if reply.get("refresh_token") else grant.get("refresh_token", ""),
            " ".join(str(reply.get("scope") or "").replace(",", " ").split()),
            _seconds(reply.get("expires_in"), _ACCESS_SECONDS),
            _seconds(reply.get("refresh_token_expires_in"), _REFRESH_SECONDS),
        )

    def conversion_token(self, access_token: str) -> str:
        """Make a long-lived token that can send events and nothing else."""
        return _token(_object(self._call("POST", "/v5/oauth/conversion_token", access_token)))

    def ad_accounts(self, access_token: str) -> Iterator[AdAccount]:
        """Yield the ad accounts that the person may use, page by page."""
        query = {"include_shared_accounts": "true", "page_size": str(_PAGE_SIZE)}
        for _ in range(_MOST_PAGES):
            page = _object(self._call("GET", "/v5/ad_accounts", access_token, **query))
            for item in page.get("items") or ():
                account = AdAccount(
                    *(
                        str(item.get(name) or "")
                        for name in ("id", "name", "country", "currency", "time_zone")
                    )
                )
                if _is_account_id(account.id):
                    yield account
            following = page.get("bookmark")
            if not following or following == query.get("bookmark"):
                return
            query["bookmark"] = str(following)

    def defined_events(self, access_token: str, ad_account_id: str) -> list[str]:
        """Return the names of the events that the advertiser defined."""
        path = f"/v5/ad_accounts/{ad_account_id}/advertiser_defined_events"
        items = _object(self._call("GET", path, access_token)).get("items") or ()
        return sorted({str(item["name"]) for item in items if isinstance(item, Mapping) and item.get("name")})

    def quality_scores(self, access_token: str, ad_account_id: str, lookback: str) -> list[dict[str, Any]]:
        """Return the Event Quality Scores of ``1d`` or ``14d``, one for each platform and ingestion source.

        Each has ``source_platform``, ``ingestion_source``, ``overall_status`` and ``components``, which maps a
        component and an event name to its coverage, overlap and issues.
        """
        path = f"/v5/ad_accounts/{ad_account_id}/conversion_eqs"
        scores = self._call("GET", path, access_token, lookback_period=lookback)
        return (
            [_score(score) for score in scores if isinstance(score, Mapping)]
            if isinstance(scores, list)
            else []
        )

    def _call(self, method: str, path: str, access_token: str, **query: str) -> Any:
        return _json(self._request(method, path, auth=Bearer(access_token), params=query))


def missing_scopes(scope: str) -> list[str]:
    """Return what a sign-in did not give of what was requested."""
    return [name for name in _SCOPES if name not in scope.split()]


def _json(answer: Answer) -> Any:
    if answer.status is None or answer.failure is not None:
        raise AccountApiError(f"Pinterest could not be reached: {answer.detail}.")
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        document = None
    if answer.status != 200:
        words = mask(str(document.get("message") or "")) if isinstance(document, Mapping) else ""
        sentence = f"Pinterest answered HTTP {answer.status}{': ' if words else ''}{words.rstrip('. ')}."
        raise AccountApiError(sentence, answer.status, retry_after_seconds(answer.headers))
    if document is None:
        raise AccountApiError("Pinterest's answer could not be read.", 200)
    return document


def _object(document: Any) -> Mapping[str, Any]:
    if not isinstance(document, Mapping):
        raise AccountApiError("Pinterest's answer could not be read.", 200)
    return document


def _token(fields: Mapping[str, Any], name: str = "access_token") -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not _is_token(value):
        raise AccountApiError(f"Pinterest's answer has no {name.replace('_', ' ')}.", 200)
    return value


def _seconds(value: Any, default: float) -> float:
    return float(value) if isinstance(value, int | float) and value > 0 else default


def _score(entry: Mapping[str, Any]) -> dict[str, Any]:
    score: dict[str, Any] = {
        name: mask(str(entry.get(name) or "unknown"))
        for name in ("source_platform", "ingestion_source", "overall_status")
    }
    components = entry.get("quality_components")
    score["components"] = {
        mask(str(component)): {
            mask(str(event)): _details(facts) for event, facts in events.items() if isinstance(facts, Mapping)
        }
        for component, events in (components.items() if isinstance(components, Mapping) else ())
        if isinstance(events, Mapping)
    }
    return score


def _details(entry: Mapping[str, Any]) -> dict[str, Any]:
    issues = [issue for issue in entry.get("issues") or () if isinstance(issue, Mapping)]
    return {
        "coverage": _percent(entry.get("coverage")),
        "overlap": _percent(entry.get("overlap")),
        "issues": [[mask(str(issue.get(name) or "")) for name in ("name", "reason")] for issue in issues],
    }


def _percent(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 <= value <= 100 else None
