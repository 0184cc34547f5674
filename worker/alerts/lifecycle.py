"""Follow a problem from its first occurrence to its end, and decide when to notify."""

from dataclasses import dataclass, replace

from worker.alerts.rules import Problem
from worker.ledger.upkeep.alerts import Alert, Change, Severity

# A problem is over after this long. A shorter time would report a flapping problem repeatedly.
_RESOLVE_AFTER_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class _Step:
    """Hold the next state of an alert (None when it is over), and the change to report."""

    alert: Alert | None
    change: Change | None = None


def next_step(alert: Alert | None, problem: Problem | None, now: float, wait_seconds: float) -> _Step:
    """Return the next state of an alert."""
    if problem is None:
        return _without_problem(alert, now) if alert else _Step(None)
    if alert is None:
        new = Alert(problem.rule, problem.subject, problem.severity, problem.summary, since=now, seen_at=now)
        return _wait(new, now, wait_seconds)
    worse = problem.severity is Severity.CRITICAL and alert.severity is Severity.WARNING
    # The severity never falls, so that a change back and forth is reported once.
    severity = problem.severity if worse else alert.severity
    # A clock that stepped back must not delay the alert.
    since = min(alert.since, now)
    updated = replace(alert, severity=severity, summary=problem.summary, since=since, seen_at=now)
    if alert.fired_at is None:
        return _wait(updated, now, wait_seconds)
    return _Step(updated, Change.ESCALATED if worse else None)


def _wait(alert: Alert, now: float, wait_seconds: float) -> _Step:
    if now - alert.since < wait_seconds:
        return _Step(alert)
    return _Step(replace(alert, fired_at=now), Change.FIRED)


def _without_problem(alert: Alert, now: float) -> _Step:
    if alert.fired_at is None:
        return _Step(None)
    if 0 <= now - alert.seen_at < _RESOLVE_AFTER_SECONDS:
        return _Step(alert)
    return _Step(None, Change.RESOLVED)
