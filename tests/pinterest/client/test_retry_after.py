"""How long an answer asks to wait."""

import pytest

from worker.pinterest.client.retry_policy import rate_limit_seconds, retry_after_seconds

AT_NOON = "Tue, 30 Jan 2024 12:00:00 GMT"
NOON = 1_706_616_000


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        # Seconds, by either header; Retry-After is the standard's, and goes first.
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"X-RateLimit-Reset": "12"}, 12.0),
        ({"X-RateLimit-Reset": "12, 60;w=60"}, 12.0),
        ({"Retry-After": "7", "X-RateLimit-Reset": "12"}, 7.0),
        ({"Retry-After": "0"}, 0.0),
        # A date, by Pinterest's own clock.
        ({"Retry-After": "Tue, 30 Jan 2024 12:00:09 GMT", "Date": AT_NOON}, 9.0),
        ({"Retry-After": "Tue, 30 Jan 2024 11:00:00 GMT", "Date": AT_NOON}, 0.0),
        # Others send the time of the reset where Pinterest sends seconds.
        ({"X-RateLimit-Reset": str(NOON + 30), "Date": AT_NOON}, 30.0),
        # An answer that asks for a day gets an hour.
        ({"Retry-After": "86400"}, 3600.0),
        ({"X-RateLimit-Reset": "86400"}, 3600.0),
        ({"Retry-After": "Wed, 31 Jan 2034 12:00:00 GMT", "Date": AT_NOON}, 3600.0),
        # What is no time is as good as none.
        ({}, 5.0),
        ({"Retry-After": "-3"}, 5.0),
        ({"Retry-After": "soon"}, 5.0),
        ({"Retry-After": "nan"}, 5.0),
        ({"Retry-After": "٣"}, 5.0),
        ({"Retry-After": "1e9"}, 5.0),
        ({"Retry-After": "Tue, 30 Jan 2024 12:00:09 GMT"}, 5.0),
        ({"Retry-After": "Tue, 30 Jan 99999 12:00:09 GMT", "Date": AT_NOON}, 5.0),
        ({"X-RateLimit-Reset": str(NOON + 30)}, 5.0),
    ],
)
def test_a_rate_limit_waits_as_long_as_it_is_told_within_bounds(
    headers: dict[str, str], expected: float
) -> None:
    assert rate_limit_seconds(headers) == expected


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "soon"}, {"X-RateLimit-Reset": "12"}])
def test_without_a_usable_retry_after_none_is_told(headers: dict[str, str]) -> None:
    assert retry_after_seconds(headers) is None
