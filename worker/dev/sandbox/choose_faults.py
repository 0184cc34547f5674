"""Choose the faults of a request by the script."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.dev.sandbox.fault_rules import Marks, RateLimit, Rule, Script, Status, WireFault

_MAX_BUCKETS = 10_000
_TOKEN_ERROR = Status(401)


@dataclass(frozen=True)
class EventsRequest:
    """A request as the rules see it; `events` is empty if the body breaks the contract."""

    account: str
    test: bool
    token: str
    events: list[dict[str, Any]]
    well_formed: bool
    at_seconds: float


@dataclass
class Plan:
    """The planned faults: messages by the event's position, and at most one of `status` and `wire`."""

    latency_seconds: float = 0.0
    failures: dict[int, str] = field(default_factory=dict)
    warnings: dict[int, str] = field(default_factory=dict)
    failed_as: int | None = None
    listing: str = "full"
    status: Status | None = None
    wire: WireFault | None = None
    rules: list[int] = field(default_factory=list)


class _Bucket:
    """A token bucket that refills continuously."""

    def __init__(self, limit: RateLimit, at_seconds: float) -> None:
        self._limit = limit
        self._tokens = float(limit.burst)
        self._at_seconds = at_seconds

    def refusal(self, at_seconds: float) -> Status | None:
        """Take a token, or return a 429 that names the time to wait."""
        elapsed = max(0.0, at_seconds - self._at_seconds)
        self._tokens = min(float(self._limit.burst), self._tokens + elapsed * self._limit.per_second)
        self._at_seconds = at_seconds
        if self._tokens >= 1:
            self._tokens -= 1
            return None
        wait_seconds = math.ceil((1 - self._tokens) / self._limit.per_second)
        headers = {
            "Retry-After": str(wait_seconds),
            "X-RateLimit-Limit": str(self._limit.burst),
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": str(wait_seconds),
        }
        return Status(429, headers=headers)


class _ActiveRule:
    """A rule with what it has done so far; each rule draws from random numbers of its own."""

    def __init__(self, rule: Rule, seed: int, position: int) -> None:
        self.rule = rule
        self.seen = 0
        self.applied = 0
        self._random = random.Random(f"{seed}:{position}")  # noqa: S311 - a script must give the same results each time
        self._buckets: dict[str, _Bucket] = {}

    def apply(self, request: EventsRequest, plan: Plan) -> bool:
        """Add to the plan what this rule does to a request; false where it leaves the request alone."""
        if not self._is_due(request):
            return False
        rule = self.rule
        status = rule.status or self._refusal(request)
        if status is None and (rule.rate_limit or rule.require_token):
            return False
        self.applied += 1
        plan.status, plan.wire = status, rule.wire
        least, most = rule.latency_seconds
        plan.latency_seconds += self._random.uniform(least, most)
        if rule.failing:
            plan.failures |= self._mark(rule.failing.marks, request.events)
            plan.failed_as = rule.failing.answer_as or plan.failed_as
            plan.listing = rule.failing.listing
        if rule.warning:
            plan.warnings |= self._mark(rule.warning, request.events)
        return True

    def _is_due(self, request: EventsRequest) -> bool:
        if not _is_meant(self.rule, request):
            return False
        match = self.rule.match
        self.seen += 1
        if self.seen <= match.skip_first or self.applied >= match.times:
            return False
        return match.probability >= 1 or self._random.random() < match.probability

    def _refusal(self, request: EventsRequest) -> Status | None:
        good_tokens, limit = self.rule.require_token, self.rule.rate_limit
        if good_tokens is not None and request.token not in good_tokens:
            return _TOKEN_ERROR
        if limit is None:
            return None
        if request.account not in self._buckets and len(self._buckets) >= _MAX_BUCKETS:
            # Forgetting the oldest bucket gives its account a full one: good enough for a sandbox.
            del self._buckets[next(iter(self._buckets))]
        bucket = self._buckets.setdefault(request.account, _Bucket(limit, request.at_seconds))
        return bucket.refusal(request.at_seconds)

    def _mark(self, marks: Marks, events: Sequence[Mapping[str, Any]]) -> dict[int, str]:
        return {
            position: marks.message
            for position, event in enumerate(events)
            if position in marks.positions
            or event["event_id"] in marks.event_ids
            or (marks.share and self._random.random() < marks.share)
        }


def _is_meant(rule: Rule, request: EventsRequest) -> bool:
    match = rule.match
    if match.accounts is not None and request.account not in match.accounts:
        return False
    if match.test is not None and request.test is not match.test:
        return False
    ids, names = match.event_ids, match.event_names
    if ids is not None and not any(event["event_id"] in ids for event in request.events):
        return False
    if names is not None and not any(event["event_name"] in names for event in request.events):
        return False
    accepts = rule.failing or rule.warning or (rule.wire and rule.wire.accepting)
    return request.well_formed or not accepts


class Behaviour:
    """Follow a script: rules apply in order, up to the first that decides the response.

    The same script and the same requests in the same order give the same faults.
    """

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self._rules = [
            _ActiveRule(rule, self.script.seed, position) for position, rule in enumerate(self.script.rules)
        ]

    def plan(self, request: EventsRequest) -> Plan:
        """Plan the faults of a request."""
        plan = Plan()
        for position, rule in enumerate(self._rules):
            if rule.apply(request, plan):
                plan.rules.append(position)
            if plan.status or plan.wire:
                break
        return plan

    def tallies(self) -> list[dict[str, int]]:
        """Return how often each rule matched, and how often it applied."""
        return [{"matched": rule.seen, "applied": rule.applied} for rule in self._rules]
