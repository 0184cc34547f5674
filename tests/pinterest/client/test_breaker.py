"""The breaker opens on repeated failure, doubles its pause with each failed probe, and closes."""

import pytest

from worker.pinterest.client.breaker import (
    CLOSED_BREAKER,
    Breaker,
    BreakerPolicy,
    breaker_after_failure,
    is_connection_failure,
)

POLICY = BreakerPolicy(failures_to_open=3, first_seconds=5.0, longest_seconds=30.0)


@pytest.mark.parametrize(
    ("breaker", "probe", "expected"),
    [
        # Single failures are counted, but do not open the breaker.
        (CLOSED_BREAKER, False, Breaker(1)),
        (Breaker(1), False, Breaker(2)),
        # The third in a row opens it.
        (Breaker(2), False, Breaker(3, 1_005.0)),
        # Attempts that were in flight when it opened change nothing.
        (Breaker(3, 1_004.0), False, Breaker(3, 1_004.0)),
        # A failed probe doubles the pause, up to the longest.
        (Breaker(3, 999.0), True, Breaker(4, 1_010.0)),
        (Breaker(4, 999.0), True, Breaker(5, 1_020.0)),
        (Breaker(5, 999.0), True, Breaker(6, 1_030.0)),
        (Breaker(900, 999.0), True, Breaker(901, 1_030.0)),
    ],
)
def test_a_failure_moves_the_breaker(breaker: Breaker, probe: bool, expected: Breaker) -> None:
    assert expected == breaker_after_failure(POLICY, breaker, 1_000.0, probe=probe)


@pytest.mark.parametrize(
    ("reason_class", "expected"),
    [
        ("unavailable", True),
        ("no_answer", True),
        ("not_reached", True),
        ("switched_off", True),
        # Pinterest answered, so it works.
        ("rate_limited", False),
        ("refused", False),
        ("unreadable", False),
    ],
)
def test_only_failures_of_the_connection_count(reason_class: str, expected: bool) -> None:
    assert expected is is_connection_failure(reason_class)
