"""Authenticate requests by token or session, and check roles and rates."""

import math
from dataclasses import dataclass
from hmac import compare_digest
from ipaddress import ip_network

from flask import Flask, g, request
from werkzeug.datastructures import Authorization

from worker.api import context, docs
from worker.api.errors import ApiError
from worker.api.throttle import FailureCounter, SlidingWindow
from worker.event.received import client_ip
from worker.ledger.setup import access
from worker.ledger.setup.access import Role, User

_REQUESTS_A_MINUTE = 100
# High, because a script with an old token retries often and does no harm.
_MOST_WRONG_TOKENS = 1_000
_OPEN_ENDPOINTS = frozenset({"health.get_healthz", "health.get_readyz", "metrics.get_metrics"})
# The pages check sessions themselves, and show a page instead of a 401.
UI = "ui"
SESSION_COOKIE = "signal_session"

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_BEARER = 'Bearer realm="Signal Management API"'
_BASIC = 'Basic realm="Signal Management API", charset="UTF-8"'


@dataclass(frozen=True, slots=True)
class _Person:
    """Hold the actor of a request and their role; ``user`` is None for the holder of a token."""

    actor: str
    role: Role
    user: User | None = None

    @property
    def may_change(self) -> bool:
        return self.role is not Role.VIEWER

    @property
    def is_owner(self) -> bool:
        return self.role is Role.OWNER


_ADMIN = _Person("admin", Role.OWNER)


def add_guard(app: Flask) -> None:
    """Require a token for every request, and check its rate and role."""
    window = SlidingWindow(_REQUESTS_A_MINUTE)
    failures = FailureCounter(_MOST_WRONG_TOKENS)

    def let_in() -> None:
        if request.endpoint in _OPEN_ENDPOINTS or request.blueprint == UI or is_unknown_page():
            return
        person = _person(failures)
        g.person, g.actor = person, person.actor
        wait_seconds = window.take(g.actor)
        if wait_seconds:
            raise _wait(f"Limit of {_REQUESTS_A_MINUTE} requests a minute exceeded.", wait_seconds)
        if not person.may_change and request.method not in _READING:
            raise ApiError(403, "This token has the role viewer: it can read but not change anything.")

    app.before_request(let_in)


def is_unknown_page() -> bool:
    """Return whether a browser looks for a page that does not exist."""
    accepts_pages = "text/html" in request.headers.get("Accept", "")
    return request.endpoint is None and accepts_pages and not request.path.startswith("/v1/")


def person_of_token(token: str) -> _Person | None:
    """Return the person of a token, or None."""
    if compare_digest(token.encode(), context.app_settings().admin_token.encode()):
        return _ADMIN
    return _holder(access.token_hash(context.app_ledger().vault, token))


def person_of_session(cookie: str | None) -> _Person | None:
    """Return the person of a session, or None. A session ends with its token, and with its user's password."""
    if not cookie:
        return None
    vault = context.app_ledger().vault
    with context.app_ledger().read() as connection:
        digest = access.token_of_session(connection, vault, cookie, context.now())
    if digest is None:
        return None
    admin = access.token_hash(vault, context.app_settings().admin_token)
    return _ADMIN if compare_digest(digest, admin) else _holder(digest) or _signed_in_user(digest)


def require_owner() -> None:
    """Refuse the request unless an owner sends it."""
    if not g.person.is_owner:
        raise ApiError(403, "Only a token with the role owner may do this.")


def client_address() -> str:
    """Return the client address of a request, behind trusted proxies."""
    networks = [ip_network(network) for network in context.app_settings().trusted_proxies]
    address = client_ip(request.remote_addr, request.headers.get("X-Forwarded-For", ""), networks)
    return address or request.remote_addr or ""


def _holder(digest: bytes) -> _Person | None:
    with context.app_ledger().read() as connection:
        token = access.token_by_hash(connection, digest)
    return _Person(token.actor, token.role) if token else None


def _signed_in_user(session_key: bytes) -> _Person | None:
    with context.app_ledger().read() as connection:
        user = access.find_user(connection, session_key=session_key)
    if user is None or not user.may_sign_in(context.now()):
        return None
    return _Person(user.actor, user.role, user)


def _person(failures: FailureCounter) -> _Person:
    is_docs = docs.is_docs(request.path)
    if is_docs and request.method in _READING:
        signed_in = person_of_session(request.cookies.get(SESSION_COOKIE))
        if signed_in is not None:
            return signed_in
    token = _token(request.authorization, basic=is_docs)
    person = person_of_token(token) if token is not None else None
    if person is None:
        wait_seconds = failures.failed(client_address()) if token is not None else 0.0
        if wait_seconds:
            raise _wait(
                "Too many invalid tokens from your address. A valid token is accepted at any time.",
                wait_seconds,
            )
        challenge = _BASIC if is_docs else _BEARER
        message = "A valid token is required: Authorization: Bearer YOUR_TOKEN."
        raise ApiError(401, message, headers={"WWW-Authenticate": challenge})
    return person


def _wait(message: str, wait_seconds: float) -> ApiError:
    return ApiError(429, message, headers={"Retry-After": str(math.ceil(wait_seconds))})


def _token(authorization: Authorization | None, *, basic: bool) -> str | None:
    """Return the token of a request; on the pages for people a browser sends it as a password.

    Nowhere else: a browser repeats a password by itself, also when another site makes it ask.
    """
    if authorization is None:
        return None
    if authorization.type == "bearer":
        return authorization.token
    return authorization.password if basic and authorization.type == "basic" else None
