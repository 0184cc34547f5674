"""The HTTP client for Pinterest's Conversions API."""

import os
import re
import threading
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import DecodeError

from worker.http.deadline import NETWORK_ERRORS, RequestDeadline, new_session

# The answer to a thousand events, with a sentence for each, is a quarter of this.
_MAX_ANSWER_BYTES = 4 * 1024 * 1024
_READ_BYTES = 64 * 1024

# A shorter token could be a normal word of the answer.
_SHORTEST_TOKEN_TO_SCRUB = 16

_ACCOUNT = re.compile(r"[0-9]{1,18}")
_TOKEN = re.compile(r"[\x21-\x7e]+")


def is_pinterest(base_url: str) -> bool:
    """Return whether an address is Pinterest's own, and not a sandbox's."""
    return urlsplit(base_url).hostname == "api.pinterest.com"


class SendFailure(Enum):
    """What Pinterest may have received of a request without a complete answer."""

    # Nothing, or an incomplete body: Pinterest did not get the batch.
    NOT_SENT = "not sent"
    # The whole request: Pinterest may have accepted the batch.
    UNKNOWN = "unknown"
    # Nothing: the token or account id is not valid in a request, so a retry cannot help.
    UNSENDABLE = "unsendable"


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of one request.

    With a status *and* a failure, the status line and headers arrived, but the body did not. ``detail`` describes
    the failure, without token or payload. The body may echo user data, so ``repr`` omits it.
    """

    status: int | None
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    failure: SendFailure | None
    seconds: float
    detail: str = ""


class PinterestClient:
    """Send batches to Pinterest, on one persistent session per thread and process.

    No request, from the first byte sent to the last byte read, takes longer than ``deadline_seconds``. The DNS lookup
    cannot be interrupted: if it takes longer, nothing is sent.

    The client ignores netrc and proxies of the environment, follows no redirects and stores no cookies. It always
    verifies certificates, against the bundle of requests.
    """

    def __init__(
        self,
        base_url: str,
        *,
        connect_timeout_seconds: float = 5.0,
        read_timeout_seconds: float = 20.0,
        deadline_seconds: float = 30.0,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise ValueError("base_url must be an http or https address without a user")
        self._base_url = base_url.rstrip("/")
        self._connect_seconds = connect_timeout_seconds
        self._read_seconds = read_timeout_seconds
        self._deadline_seconds = deadline_seconds
        self._local = threading.local()

    def send(self, ad_account_id: str, access_token: str, body: bytes, test: bool) -> Answer:
        """Post one batch, once, and return the answer. Network errors are returned, not raised."""
        if not _ACCOUNT.fullmatch(ad_account_id):
            return _failed_answer(
                SendFailure.UNSENDABLE, "the ad account id is not a number of at most 18 digits"
            )
        if not _TOKEN.fullmatch(access_token):
            return _failed_answer(
                SendFailure.UNSENDABLE, "the access token has characters that are not allowed in a header"
            )
        return self._request(
            "POST",
            f"/v5/ad_accounts/{ad_account_id}/events",
            auth=Bearer(access_token),
            secret=access_token,
            params={"test": "true"} if test else None,
            data=body,
        )

    def close(self) -> None:
        """Close the calling thread's session; the next request opens a new one."""
        entry: tuple[int, requests.Session] | None = self._local.__dict__.pop("kept", None)
        if entry:
            entry[1].close()

    def _request(self, method: str, path: str, *, secret: str = "", **options: Any) -> Answer:
        """Send one request within the deadline; ``secret`` is removed from the answer."""
        deadline = RequestDeadline(self._connect_seconds, self._read_seconds, self._deadline_seconds)
        with deadline.active():
            try:
                response = self._session().request(
                    method,
                    self._base_url + path,
                    stream=True,
                    allow_redirects=False,
                    timeout=(self._connect_seconds, self._read_seconds),
                    **options,
                )
            except NETWORK_ERRORS as error:
                failure = SendFailure.UNKNOWN if deadline.fully_sent else SendFailure.NOT_SENT
                return _failed_answer(failure, deadline.explain(error), deadline.elapsed_seconds())
            with response:
                return _read_answer(response, deadline, secret)

    def _session(self) -> requests.Session:
        # A forked child must not use its parent's connections: their bytes would mix.
        entry: tuple[int, requests.Session] | None = getattr(self._local, "kept", None)
        if entry is None or entry[0] != os.getpid():
            entry = self._local.kept = (os.getpid(), _new_session())
        return entry[1]


def _failed_answer(failure: SendFailure, detail: str, seconds: float = 0.0) -> Answer:
    return Answer(None, CaseInsensitiveDict(), b"", failure, seconds, detail)


def _read_answer(response: requests.Response, deadline: RequestDeadline, access_token: str) -> Answer:
    """Read the body up to its maximum size; if it cannot be read, return an empty body and the reason."""
    failure, detail, body = None, "", b""
    try:
        body = _read_body(response)
    except DecodeError:
        detail = "the answer cannot be decompressed"
    except NETWORK_ERRORS as error:
        failure, detail = SendFailure.UNKNOWN, deadline.explain(error)
    if len(body) > _MAX_ANSWER_BYTES:
        detail, body = f"the answer is larger than {_MAX_ANSWER_BYTES} bytes", b""
    if len(access_token) >= _SHORTEST_TOKEN_TO_SCRUB:
        # Remove an echoed token here: the message is stored and shown later.
        body = body.replace(access_token.encode(), b"[token]")
    return Answer(response.status_code, response.headers, body, failure, deadline.elapsed_seconds(), detail)


def _read_body(response: requests.Response) -> bytes:
    body = bytearray()
    while len(body) <= _MAX_ANSWER_BYTES:
        # The answer may be compressed although the request does not accept it.
        part = response.raw.read(_READ_BYTES, decode_content=True)
        if not part:
            break
        body += part
    return bytes(body)


class Bearer(requests.auth.AuthBase):
    """Set the Authorization header last, so that nothing else replaces it."""

    def __init__(self, access_token: str) -> None:
        self._access_token = access_token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._access_token}"
        return request


def _new_session() -> requests.Session:
    session = new_session()
    session.headers = CaseInsensitiveDict(
        {
            "User-Agent": "signal-worker",
            "Content-Type": "application/json",
            "Accept": "application/json",
            # Answers are small, and the length of an uncompressed answer proves that it is complete.
            "Accept-Encoding": "identity",
        }
    )
    return session


_MAX_REASON_CHARACTERS = 300

# Far more than is kept, but short enough to mask a hostile text quickly.
_MASKED_CHARACTERS = 2000

# The characters between words in JSON, in prose and in URLs.
_EDGE = r"\s\"'<>(){}\[\],;:=?&/"

_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), put)
    for pattern, put in (
        (r"(?i)\bbearer\s+\S+", "[token]"),
        (r"(?i)((?:token|authorization)[\"']?\s?[:=]\s?[\"']?)[^\s\"',;]+", r"\1[token]"),
        (r"(?i)\bpin[acr]_\S+", "[token]"),
        # The query of a page's URL may hold anything.
        (r"(https?://[^\s\"'?#]{1,500})[?#][^\s\"']*", r"\1?[…]"),
        (rf"(?<![^{_EDGE}])(?:[^{_EDGE}@%]|%(?!40))+(?:@|%40)[^{_EDGE}@]+", "[e-mail]"),
        (r"Mozilla/[^\"'\]}]*", "[user agent]"),
        # Hashes, click ids and anything else that is long and has a digit.
        (r"(?<![\w+/=-])(?=[\w+/=-]*\d)[\w+/=-]{20,}", "[id]"),
        (r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?!\d)", "[ip]"),
        (r"(?i)(?<![\w:])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:])", "[ip]"),
        (r"\+?\d(?:[ ()./\u2013-]{0,2}\d){6,}", "[number]"),
    )
)


def mask(text: str) -> str:
    """Remove personal data and secrets from a message of Pinterest's, which may echo the request.

    This covers e-mail and IP addresses, phone numbers and other long numbers, hashes and ids, tokens, user agents and
    the queries of URLs. The result is one line of at most 300 characters, without control characters.
    """
    if not text:
        return ""
    words = _words(text[:_MASKED_CHARACTERS])
    if len(text) > _MASKED_CHARACTERS:
        # The last word may be half an e-mail address, which the patterns would not find.
        words[-1:] = ["…"]
    text = " ".join(words)
    for pattern, put in _SECRETS:
        text = pattern.sub(put, text)
    return text if len(text) <= _MAX_REASON_CHARACTERS else text[: _MAX_REASON_CHARACTERS - 1] + "…"


def _words(text: str) -> list[str]:
    """Split into words of visible characters; full-width and similar characters become plain ones."""
    if not (text.isascii() and text.isprintable()):
        text = unicodedata.normalize("NFKC", text)
        text = "".join(map(_visible, text))
    return text.split()


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    # An invisible joiner would hide text from the patterns.
    if category == "Cf":
        return ""
    return " " if category[0] in "CZ" else character
