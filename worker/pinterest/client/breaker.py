"""When an account is left alone after repeated trouble, and how it is tried again."""

from dataclasses import dataclass

from worker.pinterest.client.answers import ReasonClass

# Trouble on the way or at Pinterest, as opposed to an answer that shows that it works.
_CONNECTION_FAILURES = frozenset(
    {
        ReasonClass.UNAVAILABLE,
        ReasonClass.SWITCHED_OFF,
        ReasonClass.NOT_REACHED,
        ReasonClass.NO_ANSWER,
        ReasonClass.UNEXPECTED,
    }
)


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """Hold after how many failures in a row a breaker opens, and for how long."""

    failures_to_open: int = 5
    first_seconds: float = 5.0
    longest_seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class Breaker:
    """Hold one breaker: closed without ``open_until``, else open until then, and after that probing."""

    failures: int = 0
    open_until: float | None = None


CLOSED_BREAKER = Breaker()


def breaker_after_failure(policy: BreakerPolicy, breaker: Breaker, now: float, *, probe: bool) -> Breaker:
    """Return the breaker after a try that met trouble.

    Once it is open only a probe's failure prolongs it, twice as long each time: the tries that were under way
    when it opened say nothing new.
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
    """Tell whether a reason speaks against the connection rather than against a batch."""
    return reason_class in _CONNECTION_FAILURES
