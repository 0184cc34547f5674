"""A problem is reported once when it begins, once if it gets worse, and once when it is over."""

from worker.alerts.lifecycle import _RESOLVE_AFTER_SECONDS, next_step
from worker.alerts.rules import RuleProblem
from worker.ledger.upkeep.alerts import Alert, Change, Severity

NOW = 1_750_000_000.0
BAD = RuleProblem("breaker_open", "1", Severity.WARNING, "It is open.")
WORSE = RuleProblem("breaker_open", "1", Severity.CRITICAL, "It is open, and how.")


def walk(checks: list[tuple[float, RuleProblem | None]], wait_seconds: float = 0.0) -> list[Change | None]:
    """Check several times, each some seconds after the beginning; return the change of each check."""
    alert: Alert | None = None
    changes = []
    for seconds, problem in checks:
        then = next_step(alert, problem, NOW + seconds, wait_seconds)
        alert = then.alert
        changes.append(then.change)
    return changes


def test_it_is_told_once_and_not_at_every_look() -> None:
    assert walk([(0, BAD), (30, BAD), (60, BAD)]) == [Change.FIRED, None, None]


def test_it_is_told_again_when_it_is_over_and_when_it_begins_anew() -> None:
    checks = [(0, BAD), (30, None), (30 + _RESOLVE_AFTER_SECONDS, None), (400, BAD)]
    assert walk(checks) == [Change.FIRED, None, Change.RESOLVED, Change.FIRED]


def test_what_comes_and_goes_is_told_once() -> None:
    checks: list[tuple[float, RuleProblem | None]] = [
        (n * 30.0, BAD if n % 3 == 0 else None) for n in range(20)
    ]
    assert walk(checks) == [Change.FIRED, *[None] * 19]


def test_what_mends_itself_within_its_time_is_never_told() -> None:
    assert walk([(0, BAD), (30, BAD), (60, None), (90, BAD)], wait_seconds=90) == [None] * 4


def test_what_lasts_is_told_after_its_time() -> None:
    assert walk([(0, BAD), (60, BAD), (90, BAD)], wait_seconds=90) == [None, None, Change.FIRED]


def test_what_gets_worse_is_told_once_more() -> None:
    checks: list[tuple[float, RuleProblem | None]] = [(0, BAD), (30, WORSE), (60, BAD), (90, WORSE)]
    assert walk(checks) == [Change.FIRED, Change.ESCALATED, None, None]


def test_its_words_are_the_latest() -> None:
    first = next_step(None, BAD, NOW, 0).alert
    later = next_step(first, WORSE, NOW + 30, 0).alert
    assert later is not None
    assert (later.summary, later.since, later.severity) == ("It is open, and how.", NOW, Severity.CRITICAL)


def test_a_clock_that_steps_back_neither_keeps_nor_hides_it() -> None:
    waiting = next_step(None, BAD, NOW, 60).alert
    told = next_step(waiting, BAD, NOW - 86_400, 60)
    assert told.change is None
    assert next_step(told.alert, BAD, NOW - 86_400 + 60, 60).change is Change.FIRED
    fired = next_step(None, BAD, NOW, 0).alert
    assert next_step(fired, None, NOW - 86_400, 0).change is Change.RESOLVED


def test_nothing_wrong_is_nothing_to_tell() -> None:
    assert walk([(0, None), (30, None)]) == [None, None]
