"""Route requests to the events endpoint and to the sandbox's own controls."""

import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from worker.dev.sandbox import replies
from worker.dev.sandbox.behaviour import Behaviour
from worker.dev.sandbox.endpoint import State, receive
from worker.dev.sandbox.http import HTML, JSON_LINES, Request, Response
from worker.dev.sandbox.memory import Bounds, Memory, token_fingerprint
from worker.dev.sandbox.oauth import AccountApi
from worker.dev.sandbox.page import render
from worker.dev.sandbox.reading import ScriptError
from worker.dev.sandbox.script import parse_script
from worker.dev.sandbox.shop import pages as shop

log = logging.getLogger(__name__)

_PAGE_EVENTS = 25
_events_path = re.compile(r"/v5/ad_accounts/([^/]+)/events").fullmatch


class App:
    """The sandbox without its network: a request in, an answer out."""

    def __init__(self, bounds: Bounds | None = None, clock: Callable[[], float] = time.time) -> None:
        self._bounds = bounds or Bounds()
        self._state = State(Memory(self._bounds), Behaviour(), clock)
        self._account = AccountApi(clock)
        self._shown_script: object = {}
        self._routes: dict[str, dict[str, Callable[[Request], Response]]] = {
            "/": {"GET": self._page},
            "/healthz": {"GET": lambda _: replies.ok({"status": "ok"})},
            "/received": {"GET": self._received, "DELETE": self._forget},
            "/received/ids": {"GET": self._ids},
            "/received/rate": {"GET": self._rate},
            "/received/requests": {"GET": self._requests},
            "/behave": {"GET": self._script, "POST": self._behave, "DELETE": self._behave_well},
            **{path: {"GET": show} for path, show in shop.routes().items()},
        }

    def __call__(self, request: Request) -> Response:
        """Answer a request."""
        response = self._route(request)
        log.debug("%s %s: %d", request.method, request.path, response.status)
        return response

    def _route(self, request: Request) -> Response:
        events = _events_path(request.path)
        if events:
            if request.method != "POST":
                return replies.error(405, headers={"Allow": "POST"})
            return receive(request, events[1], self._state)
        read = self._account.answer(request)
        if read:
            return read
        methods = self._routes.get(request.path)
        if methods is None:
            return replies.error(404)
        handle = methods.get(request.method)
        return handle(request) if handle else replies.error(405, headers={"Allow": ", ".join(methods)})

    def _page(self, _: Request) -> Response:
        memory = self._state.memory
        last = memory.last_events(account=None, event_id=None, event_name=None, limit=_PAGE_EVENTS)
        html = render(memory.summary(), last[::-1], self._state.behaviour.tallies())
        return Response(200, html.encode(errors="replace"), content_type=HTML)

    def _received(self, request: Request) -> Response:
        query, memory = request.query, self._state.memory
        limit = _limit(query, self._bounds.events)
        if limit is None:
            return replies.error(400, "limit must be a number")
        last = memory.last_events(
            account=query.get("account"),
            event_id=query.get("event_id"),
            event_name=query.get("event_name"),
            limit=limit,
        )
        return replies.ok({**memory.summary(query.get("account")), "last": last})

    def _forget(self, _: Request) -> Response:
        self._state.memory = Memory(self._bounds)
        return replies.ok({"status": "ok"})

    def _ids(self, request: Request) -> Response:
        lines = self._state.memory.id_lines(request.query.get("account"))
        return Response(200, lines, content_type=JSON_LINES)

    def _rate(self, request: Request) -> Response:
        return replies.ok({"accounts": self._state.memory.rates(request.query.get("account"))})

    def _requests(self, request: Request) -> Response:
        limit = _limit(request.query, 1_000)
        if limit is None:
            return replies.error(400, "limit must be a number")
        return replies.ok({"requests": self._state.memory.arrivals(request.query.get("account"), limit)})

    def _script(self, _: Request) -> Response:
        return replies.ok({"script": self._shown_script, "rules": self._state.behaviour.tallies()})

    def _behave(self, request: Request) -> Response:
        try:
            value = json.loads(request.body)
        except (ValueError, RecursionError):
            return replies.error(400, "The script must be JSON.")
        try:
            script = parse_script(value)
        except ScriptError as wrong:
            return replies.error(400, str(wrong))
        self._state.behaviour = Behaviour(script)
        self._account.follow(script.account_api)
        self._shown_script = _without_tokens(value)
        return self._script(request)

    def _behave_well(self, _: Request) -> Response:
        self._state.behaviour = Behaviour()
        self._account.follow(self._state.behaviour.script.account_api)
        self._shown_script = {}
        return replies.ok({"status": "ok"})


def _limit(query: Mapping[str, str], usual: int) -> int | None:
    text = query.get("limit", str(usual))
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _without_tokens(script: dict[str, Any]) -> dict[str, Any]:
    """Copy a script that was parsed, with the fingerprints of its tokens."""
    rules = [dict(rule) for rule in script.get("rules", [])]
    for rule in rules:
        if "require_token" in rule:
            tokens = rule["require_token"]
            rule["require_token"] = [
                token_fingerprint(t) for t in ([tokens] if isinstance(tokens, str) else tokens)
            ]
    return {**script, "rules": rules}
