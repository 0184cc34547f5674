"""Route requests to the events endpoint and to the sandbox's own controls."""

import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from worker.dev.sandbox import http_server
from worker.dev.sandbox.choose_faults import Behaviour
from worker.dev.sandbox.endpoint import State, receive
from worker.dev.sandbox.fault_script import ScriptError, parse_script
from worker.dev.sandbox.http_server import HTML, Request, Response
from worker.dev.sandbox.oauth import AccountApi
from worker.dev.sandbox.received_events import Bounds, Memory, token_fingerprint
from worker.dev.sandbox.shop import pages as shop

_JSON_LINES = "application/x-ndjson"

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="5">
<title>Pinterest sandbox</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; margin: 0 0 2rem; }}
caption {{ text-align: left; font-weight: 600; padding: .5rem 0; }}
th, td {{ text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #8885; }}
td {{ overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }}
</style>
</head>
<body>
<h1>Pinterest sandbox</h1>
<p>A stand-in for Pinterest's Conversions API on this machine. It checks every request against the published
contract, answers as Pinterest does and remembers what came; nothing leaves for Pinterest.
<a href="/received">/received</a> has all of this as JSON, <a href="/behave">/behave</a> the script of faults
in force. <a href="/shop">/shop</a> is a sample shop that sends events.</p>
{tables}
</body>
</html>
"""


def _render(
    summary: Mapping[str, Any], last: Iterable[Mapping[str, Any]], tallies: Sequence[Mapping[str, int]]
) -> str:
    """Build the page; `last` holds the newest events, newest first."""
    totals = ("requests", "events", "accepted", "tested", "unique_ids", "repeated_ids", "extra_copies")
    tables = [
        _table("Totals", ("", ""), [(name.replace("_", " "), summary[name]) for name in totals]),
        _table("Answers", ("Status", "Requests"), summary["statuses"].items()),
        _table("Accepted", ("Ad account", "Event", "Events"), _count_rows(summary["counts"])),
        _table(
            "Last accepted events",
            ("Received", "Ad account", "Event", "Event id", "Value"),
            map(_event_row, last),
        ),
    ]
    if tallies:
        rows = [(position, *tally.values()) for position, tally in enumerate(tallies)]
        tables.append(_table("Rules of the script", ("Rule", "Matched", "Applied"), rows))
    return _PAGE.format(tables="\n".join(tables))


def _count_rows(counts: Mapping[str, Mapping[str, int]]) -> Iterable[tuple[object, ...]]:
    for account, names in list(counts.items())[:100]:
        for name, count in sorted(names.items()):
            yield account, name, count


def _event_row(entry: Mapping[str, Any]) -> tuple[object, ...]:
    event = entry["event"]
    at = datetime.fromtimestamp(entry["received_at"], UTC).strftime("%H:%M:%S UTC")
    account = f"{entry['account']} (test)" if entry["test"] else entry["account"]
    order = event.get("custom_data", {})
    value = " ".join(order[key] for key in ("value", "currency") if order.get(key))
    return at, account, event["event_name"], event["event_id"][:100], value


def _table(caption: str, heads: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads) if any(heads) else ""
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>\n" for row in rows
    )
    none = f'<tr><td colspan="{len(heads)}">None yet.</td></tr>'
    return f"<table><caption>{caption}</caption><tr>{head}</tr>\n{body or none}</table>"


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
            "/healthz": {"GET": lambda _: http_server.ok({"status": "ok"})},
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
                return http_server.error(405, headers={"Allow": "POST"})
            return receive(request, events[1], self._state)
        answer = self._account.answer(request)
        if answer:
            return answer
        methods = self._routes.get(request.path)
        if methods is None:
            return http_server.error(404)
        handle = methods.get(request.method)
        return handle(request) if handle else http_server.error(405, headers={"Allow": ", ".join(methods)})

    def _page(self, _: Request) -> Response:
        memory = self._state.memory
        last = memory.last_events(account=None, event_id=None, event_name=None, limit=_PAGE_EVENTS)
        html = _render(memory.summary(), last[::-1], self._state.behaviour.tallies())
        return Response(200, html.encode(errors="replace"), content_type=HTML)

    def _received(self, request: Request) -> Response:
        query, memory = request.query, self._state.memory
        limit = _limit(query, self._bounds.events)
        if limit is None:
            return http_server.error(400, "limit must be a number")
        last = memory.last_events(
            account=query.get("account"),
            event_id=query.get("event_id"),
            event_name=query.get("event_name"),
            limit=limit,
        )
        return http_server.ok({**memory.summary(query.get("account")), "last": last})

    def _forget(self, _: Request) -> Response:
        self._state.memory = Memory(self._bounds)
        return http_server.ok({"status": "ok"})

    def _ids(self, request: Request) -> Response:
        lines = self._state.memory.id_lines(request.query.get("account"))
        return Response(200, lines, content_type=_JSON_LINES)

    def _rate(self, request: Request) -> Response:
        return http_server.ok({"accounts": self._state.memory.rates(request.query.get("account"))})

    def _requests(self, request: Request) -> Response:
        limit = _limit(request.query, 1_000)
        if limit is None:
            return http_server.error(400, "limit must be a number")
        return http_server.ok({"requests": self._state.memory.arrivals(request.query.get("account"), limit)})

    def _script(self, _: Request) -> Response:
        return http_server.ok({"script": self._shown_script, "rules": self._state.behaviour.tallies()})

    def _behave(self, request: Request) -> Response:
        try:
            value = json.loads(request.body)
        except (ValueError, RecursionError):
            return http_server.error(400, "The script must be JSON.")
        try:
            script = parse_script(value)
        except ScriptError as error:
            return http_server.error(400, str(error))
        self._state.behaviour = Behaviour(script)
        self._account.follow(script.account_api)
        self._shown_script = _without_tokens(value)
        return self._script(request)

    def _behave_well(self, _: Request) -> Response:
        self._state.behaviour = Behaviour()
        self._account.follow(self._state.behaviour.script.account_api)
        self._shown_script = {}
        return http_server.ok({"status": "ok"})


def _limit(query: Mapping[str, str], default: int) -> int | None:
    text = query.get("limit", str(default))
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
