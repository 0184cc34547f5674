"""How long to wait after an answer."""

import pytest

from worker.pinterest.client.retry_delays import rate_limit_seconds, retry_after_seconds

AT_NOON = "Tue, 30 Jan 2024 12:00:00 GMT"
NOON = 1_706_616_000


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        # Seconds, in either header; Retry-After is the standard header and takes precedence.
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"X-RateLimit-Reset": "12"}, 12.0),
        ({"X-RateLimit-Reset": "12, 60;w=60"}, 12.0),
        ({"Retry-After": "7", "X-RateLimit-Reset": "12"}, 7.0),
        ({"Retry-After": "0"}, 0.0),
        # A date, by Pinterest's own clock.
        ({"Retry-After": "Tue, 30 Jan 2024 12:00:09 GMT", "Date": AT_NOON}, 9.0),
        ({"Retry-After": "Tue, 30 Jan 2024 11:00:00 GMT", "Date": AT_NOON}, 0.0),
        # Some servers send the time of the reset where Pinterest sends seconds.
        ({"X-RateLimit-Reset": str(NOON + 30), "Date": AT_NOON}, 30.0),
        # A wait of a day is limited to an hour.
        ({"Retry-After": "86400"}, 3600.0),
        ({"X-RateLimit-Reset": "86400"}, 3600.0),
        ({"Retry-After": "Wed, 31 Jan 2034 12:00:00 GMT", "Date": AT_NOON}, 3600.0),
        # An invalid time is ignored.
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
def test_a_429_waits_as_requested_within_limits(headers: dict[str, str], expected: float) -> None:
    assert rate_limit_seconds(headers) == expected


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "soon"}, {"X-RateLimit-Reset": "12"}])
def test_an_unusable_retry_after_is_ignored(headers: dict[str, str]) -> None:
    assert retry_after_seconds(headers) is None
