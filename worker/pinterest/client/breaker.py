"""Circuit breaker: stop sending to an account after repeated failures, and probe it later."""

from dataclasses import dataclass

from worker.pinterest.client.answer_decisions import OUTAGES, ReasonClass

# Failures of the connection or of Pinterest; any other answer shows that Pinterest works.
_CONNECTION_FAILURES = frozenset((*OUTAGES, ReasonClass.UNEXPECTED))


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """How many failures in a row open a breaker, and for how long."""

    failures_to_open: int = 5
    first_seconds: float = 5.0
    longest_seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class Breaker:
    """A breaker is closed without ``open_until``, else open until that Unix time, and then probing."""

    failures: int = 0
    open_until: float | None = None


CLOSED_BREAKER = Breaker()


def breaker_after_failure(policy: BreakerPolicy, breaker: Breaker, now: float, *, probe: bool) -> Breaker:
    """Return the breaker after a failed attempt.

    Only a failed probe prolongs an open breaker, each time for twice as long; attempts that were in flight when it
    opened do not count.
    """
    if breaker.open_until is not None and not probe:
        return breaker
    failures = breaker.failures + 1
    if failures < policy.failures_to_open:
        return Breaker(failures)
    doublings = min(failures - policy.failures_to_open, 32)
    seconds = min(policy.first_seconds * 2.0**doublings, policy.longest_seconds)
    return Breaker(failures, now + seconds)


def is_connection_failure(reason_class: str) -> bool:
    """Return whether a reason means that the connection or Pinterest failed, not the batch."""
    return reason_class in _CONNECTION_FAILURES
