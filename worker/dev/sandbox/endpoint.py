"""Serve the events endpoint."""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from worker.dev.sandbox import http_server
from worker.dev.sandbox.choose_faults import Behaviour, EventsRequest, Plan
from worker.dev.sandbox.fault_rules import Status
from worker.dev.sandbox.http_server import Request, Response
from worker.dev.sandbox.received_events import LONGEST_KEPT_ID, Arrival, Memory, token_fingerprint
from worker.dev.sandbox.request_body import EVENT_NAMES, TEST_MAX_EVENTS, Reading, event_problem, parse_body

log = logging.getLogger(__name__)

_NO_ACCOUNT = "invalid"
_is_account = re.compile(r"[0-9]{1,18}").fullmatch
_bearer = re.compile(r"bearer +([!-~]+)", re.IGNORECASE).fullmatch


@dataclass
class State:
    """What the sandbox remembers and how it behaves; touched by one event loop only."""

    memory: Memory
    behaviour: Behaviour
    clock: Callable[[], float]


@dataclass(frozen=True)
class _Verdict:
    """The outcome of a request: the response, and the events that Pinterest would accept."""

    response: Response
    accepted: list[dict[str, Any]]


def receive(request: Request, account: str, state: State) -> Response:
    """Answer a POST of events, and remember it."""
    now_seconds = state.clock()
    token = _bearer_token(request)
    reading = _read(request, account)
    events_request = EventsRequest(
        account=account if _is_account(account) else _NO_ACCOUNT,
        test=request.query.get("test") == "true",
        token=token or "",
        events=reading.events,
        well_formed=reading.problem is None,
        at_seconds=now_seconds,
    )
    if token is None:
        plan, verdict = Plan(), _Verdict(http_server.error(401), [])
    else:
        plan = state.behaviour.plan(events_request)
        verdict = _judge(events_request, plan, reading.problem, state.behaviour)
    _remember(events_request, plan, verdict, len(request.body), state.memory)
    return replace(verdict.response, delay_seconds=plan.latency_seconds)


def _bearer_token(request: Request) -> str | None:
    match = _bearer(request.headers.get("authorization", ""))
    return match[1] if match else None


def _read(request: Request, account: str) -> Reading:
    problem = _problem_around_the_body(request, account)
    return Reading([], problem) if problem else parse_body(request.body)


def _problem_around_the_body(request: Request, account: str) -> str | None:
    if not _is_account(account):
        return "Invalid ad_account_id"
    if request.query.get("test") not in (None, "true", "false"):
        return "test must be true or false"
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        return "Content-Type must be application/json"
    if request.headers.get("content-encoding", "identity") != "identity":
        return "The body must not be encoded"
    return None


def _judge(events_request: EventsRequest, plan: Plan, problem: str | None, behaviour: Behaviour) -> _Verdict:
    """Decide on a request that has a token.

    Events that are well formed and still wrong fail alone, in a 200 (or a 422 if the script says so) that
    lists every event in order, even where all of them failed. In test mode the list covers the first 20.
    """
    if plan.status and not plan.status.accepting:
        return _Verdict(_scripted(plan.status), [])
    if plan.wire and not plan.wire.accepting:
        return _Verdict(Response(200, b"", fault=plan.wire.fault), [])
    if problem:
        return _Verdict(http_server.error(400, problem), [])
    looked_at = events_request.events[:TEST_MAX_EVENTS] if events_request.test else events_request.events
    failures = _failures(events_request, looked_at, behaviour) | {
        position: words for position, words in plan.failures.items() if position < len(looked_at)
    }
    accepted = [event for position, event in enumerate(looked_at) if position not in failures]
    if plan.status:
        return _Verdict(_scripted(plan.status), accepted)
    response = _answer(events_request, len(looked_at), failures, plan, behaviour.script.failed_as)
    return _Verdict(replace(response, fault=plan.wire.fault) if plan.wire else response, accepted)


def _failures(
    events_request: EventsRequest, events: list[dict[str, Any]], behaviour: Behaviour
) -> dict[int, str]:
    script = behaviour.script
    names = EVENT_NAMES | script.names.get(events_request.account, frozenset())
    now_seconds = events_request.at_seconds if script.now_seconds is None else script.now_seconds
    return {
        position: problem
        for position, event in enumerate(events)
        if (problem := event_problem(event, names, now_seconds)) is not None
    }


def _scripted(status: Status) -> Response:
    response = http_server.error(
        status.status, status.message, code=status.code, details=status.details, headers=status.headers
    )
    if status.status in (204, 304):
        # These responses have no body by definition. A client would read a body as the next response.
        return replace(response, body=b"")
    return response if status.body is None else replace(response, body=status.body.encode(errors="replace"))


def _answer(
    events_request: EventsRequest,
    looked_at: int,
    failures: Mapping[int, str],
    plan: Plan,
    usually_failed_as: int,
) -> Response:
    received = len(events_request.events)
    if not failures and not plan.warnings and plan.listing == "full" and received == looked_at:
        return http_server.all_processed(received)
    body = http_server.event_list(
        received=received,
        looked_at=looked_at,
        failures=failures,
        warnings=plan.warnings,
        listing=plan.listing,
    )
    failed_as = plan.failed_as or (usually_failed_as if failures else 200)
    if failed_as == 422:
        return http_server.error(422, details={} if plan.listing == "none" else body)
    return http_server.ok(body)


def _remember(
    events_request: EventsRequest, plan: Plan, verdict: _Verdict, size_bytes: int, memory: Memory
) -> None:
    unanswered = plan.wire is not None and plan.wire.fault.kind in ("close", "reset")
    arrival = Arrival(
        at=events_request.at_seconds,
        account=events_request.account,
        test=events_request.test,
        token=token_fingerprint(events_request.token) if events_request.token else None,
        status=None if unanswered else verdict.response.status,
        fault=plan.wire.name if plan.wire else None,
        events=len(events_request.events),
        accepted=len(verdict.accepted),
        first_event_ids=tuple(event["event_id"][:LONGEST_KEPT_ID] for event in events_request.events[:3]),
    )
    memory.note(arrival)
    if verdict.accepted:
        memory.accept(arrival, verdict.accepted, size_bytes)
    if plan.rules:
        outcome = arrival.fault or arrival.status
        events = "1 event" if arrival.events == 1 else f"{arrival.events} events"
        log.info("%s for ad account %s: rules %s, %s", events, arrival.account, plan.rules, outcome)
