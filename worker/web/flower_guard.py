"""Give Flower's answers protecting headers, and refuse an address that guesses its password."""

import math
from base64 import b64decode, b64encode
from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest
from typing import Any

from flower.views import BaseHandler
from tornado.web import HTTPError, StaticFileHandler

from worker.api.throttle import FailureCounter

# A browser that has kept an old password sends a dozen requests a page.
_MOST_WRONG_PASSWORDS = 50
# The one script in Flower's pages that is not a file, as its template renders it.
_INLINE_SCRIPTS = tuple(f"\nvar autorefresh = {value};\n" for value in (0, 1))


def _policy() -> str:
    hashes = " ".join(
        f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in _INLINE_SCRIPTS
    )
    return (
        # Its tables set widths in style attributes; its style sheets contain pictures.
        f"default-src 'none'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def guard_flower(credentials: Sequence[str]) -> None:
    """Let in only these ``user:password`` pairs. A right one is let in whatever its address did before."""
    headers = {
        "Content-Security-Policy": _policy(),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Server": "flower",
    }
    failures = FailureCounter(_MOST_WRONG_PASSWORDS)
    right = [pair.encode() for pair in credentials]

    def add_headers(handler: Any) -> None:
        for name, value in headers.items():
            handler.set_header(name, value)
        # Also after an error: Tornado clears the headers before it answers one.
        if handler.request.path.startswith("/static/"):
            return
        handler.set_header("Cache-Control", "no-store")
        if getattr(handler, "wait_seconds", 0):
            handler.set_header("Retry-After", str(math.ceil(handler.wait_seconds)))

    def user(handler: BaseHandler) -> bool:
        credentials = _credentials(handler.request.headers.get("Authorization", ""))
        # Each pair is compared, so that the time says nothing of which is right.
        if sum([compare_digest(credentials, pair) for pair in right]):
            return True
        handler.wait_seconds = failures.failed(handler.request.remote_ip or "") if credentials else 0.0
        raise HTTPError(429 if handler.wait_seconds else 401)

    for kind in (BaseHandler, StaticFileHandler):
        setattr(kind, "set_default_headers", add_headers)  # noqa: B010 - a method cannot be assigned for mypy
    BaseHandler.get_current_user = user


def _credentials(header: str) -> bytes:
    """Return the user and the password of a request, or nothing."""
    scheme, _, encoded = header.partition(" ")
    try:
        return b64decode(encoded, validate=True) if scheme.lower() == "basic" else b""
    except ValueError:
        return b""
