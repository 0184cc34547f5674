"""Follow a thing that is wrong from its first sight to its end, and decide when to tell."""

from dataclasses import dataclass, replace

from worker.alerts.rules import Problem
from worker.ledger.upkeep.alerts import Alert, Change, Severity

# What is not seen for so long is over; less would tell of one that comes and goes again and again.
RESOLVE_AFTER_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Step:
    """Hold what becomes of an alert, and what to tell of it; no alert means that it is over."""

    alert: Alert | None
    change: Change | None = None


def next_step(alert: Alert | None, seen: Problem | None, now: float, wait_seconds: float) -> Step:
    """Take what is known and what is seen one look further."""
    if seen is None:
        return _unseen(alert, now) if alert else Step(None)
    if alert is None:
        fresh = Alert(seen.rule, seen.subject, seen.severity, seen.summary, since=now, seen_at=now)
        return _wait(fresh, now, wait_seconds)
    worse = seen.severity is Severity.CRITICAL and alert.severity is Severity.WARNING
    # It stays as grave as it ever was: going to and fro between the two would tell of it again and again.
    severity = seen.severity if worse else alert.severity
    # A clock that stepped back must not put it off.
    since = min(alert.since, now)
    known = replace(alert, severity=severity, summary=seen.summary, since=since, seen_at=now)
    if alert.fired_at is None:
        return _wait(known, now, wait_seconds)
    return Step(known, Change.ESCALATED if worse else None)


def _wait(alert: Alert, now: float, wait_seconds: float) -> Step:
    if now - alert.since < wait_seconds:
        return Step(alert)
    return Step(replace(alert, fired_at=now), Change.FIRED)


def _unseen(alert: Alert, now: float) -> Step:
    if alert.fired_at is None:
        return Step(None)
    if 0 <= now - alert.seen_at < RESOLVE_AFTER_SECONDS:
        return Step(alert)
    return Step(None, Change.RESOLVED)
