"""When a batch is retried."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.pinterest.client.retry_delays import _MAX_RETRY_AFTER_SECONDS, RetryPolicy, Wait, next_wait

POLICY = RetryPolicy(max_attempts=5, base_seconds=4.0, window_seconds=86_400.0)
DAY = 86_400.0


@pytest.mark.parametrize(
    ("attempt", "elapsed", "after", "drawn", "expected"),
    [
        # The first retries go through Celery: the wait is random over the whole step, which doubles.
        (1, 0, None, 0.0, Wait("celery", 0.0)),
        (1, 0, None, 0.5, Wait("celery", 2.0)),
        (2, 0, None, 0.5, Wait("celery", 4.0)),
        (4, 0, None, 0.5, Wait("celery", 16.0)),
        # After the fifth attempt, the batch waits in the ledger, in the upper half of the step.
        (5, 0, None, 0.0, Wait("ledger", 32.0)),
        (5, 0, None, 0.5, Wait("ledger", 48.0)),
        (8, 0, None, 0.5, Wait("ledger", 384.0)),
        # The steps grow up to a quarter of an hour.
        (9, 0, None, 0.5, Wait("ledger", 675.0)),
        (100_000, 0, None, 0.5, Wait("ledger", 675.0)),
        # The wait that the answer requests is a minimum.
        (1, 0, 10.0, 0.5, Wait("celery", 12.0)),
        (5, 0, 10.0, 0.5, Wait("ledger", 48.0)),
        (5, 0, 100.0, 0.5, Wait("ledger", 116.0)),
        # An ETA must be well below the broker's visibility timeout: a long minimum waits in the ledger.
        (1, 0, 119.0, 0.9, Wait("celery", 120.0)),
        (1, 0, 121.0, 0.5, Wait("ledger", 122.0)),
        # A wait of a day is limited to an hour.
        (1, 0, DAY, 0.0, Wait("ledger", 3600.0)),
        # An invalid time is ignored.
        (1, 0, -5.0, 0.5, Wait("celery", 2.0)),
        (1, 0, math.nan, 0.5, Wait("celery", 2.0)),
        # After answers that count no attempt (429), the first step applies.
        (0, 0, None, 0.5, Wait("celery", 2.0)),
        # The last attempt is right after the window's end.
        (20, DAY - 60, None, 0.5, Wait("ledger", 62.0)),
        # Unless Pinterest requested a longer wait.
        (20, DAY - 60, 600.0, 0.0, Wait("ledger", 600.0)),
        # The window may have passed before the first retry: the worker may have been down for a day.
        (20, DAY, None, 0.5, Wait("over", 0.0)),
        (1, DAY + 1, 60.0, 0.5, Wait("over", 0.0)),
        # The clock stepped back: nothing gets stuck.
        (20, -2 * DAY, None, 0.5, Wait("ledger", 675.0)),
    ],
)
def test_a_wait_depends_on_the_attempt_the_window_and_the_answer(
    attempt: int, elapsed: float, after: float | None, drawn: float, expected: Wait
) -> None:
    assert next_wait(POLICY, attempt, 1e9, 1e9 + elapsed, after, lambda: drawn) == expected


def test_the_settings_of_the_policy_are_followed() -> None:
    policy = RetryPolicy(max_attempts=2, base_seconds=1.0, window_seconds=60.0, longest_seconds=8.0)

    waits = [next_wait(policy, attempt, 0.0, 0.0, None, lambda: 0.5) for attempt in (1, 2, 3, 9)]

    assert waits == [Wait("celery", 0.5), Wait("ledger", 1.5), Wait("ledger", 3.0), Wait("ledger", 6.0)]


policies = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 100),
    base_seconds=st.floats(0.01, 3600),
    window_seconds=st.floats(1, 6 * DAY),
)


@given(
    policies,
    st.integers(0, 1_000_000),
    st.floats(-1e6, 1e6),
    st.none() | st.floats(allow_nan=True, allow_infinity=True),
    st.floats(0, 1, exclude_max=True),
)
def test_no_wait_is_negative_too_long_or_below_its_minimum(
    policy: RetryPolicy, attempt: int, elapsed: float, after: float | None, drawn: float
) -> None:
    wait = next_wait(policy, attempt, 1e9, 1e9 + elapsed, after, lambda: drawn)

    floor = 0.0 if after is None or math.isnan(after) else min(max(after, 0.0), _MAX_RETRY_AFTER_SECONDS)
    # A float of this size rounds the sums of times.
    remaining = policy.window_seconds - max(0.0, (1e9 + elapsed) - 1e9)
    if wait.stage == "over":
        assert wait.seconds == 0.0
        assert remaining <= 0
        return
    assert floor <= wait.seconds <= max(floor, policy.longest_seconds / 2) + policy.longest_seconds / 2
    assert wait.seconds <= max(floor, remaining + 2)
    if wait.stage == "celery":
        assert attempt < policy.max_attempts
        assert wait.seconds <= policy.longest_celery_seconds


@given(st.floats(0, 1, exclude_max=True), st.floats(20, 100))
def test_a_batch_that_always_fails_ends_within_the_window_and_one_attempt(
    drawn: float, request_seconds: float
) -> None:
    now, tries = 0.0, 0
    while True:
        now, tries = now + request_seconds, tries + 1
        wait = next_wait(POLICY, tries, request_seconds, now, None, lambda: drawn)
        if wait.stage == "over":
            break
        now += wait.seconds

    assert DAY <= now - request_seconds <= DAY + request_seconds + 2
    assert tries < 250
