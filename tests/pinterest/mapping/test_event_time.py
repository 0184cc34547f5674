"""The time of an event, and late and stale events."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pinterest.conftest import browser
from worker.pinterest.mapping.call import Explanation
from worker.pinterest.mapping.payload_checks import TimeError, Timing, time_event

RECEIVED = 1706540000.25
ISO = "2024-01-29T14:53:20.000Z"  # 1706540000


@pytest.mark.parametrize(
    ("event", "event_time"),
    [
        ({"timestamp": ISO}, 1706540000),
        ({"timestamp": 1706539000123}, 1706539000),
        ({}, 1706540000),  # the time of receipt
        ({"timestamp": None}, 1706540000),
        # The sender's clock is an hour behind, or ahead: its sentAt shows it.
        ({"timestamp": 1706536390, "sentAt": 1706536400}, 1706539990),
        ({"timestamp": 1706543590, "sentAt": 1706543600}, 1706539990),
        # A request that waited for hours is no clock that is behind.
        ({"timestamp": 1706522000, "sentAt": 1706522400}, 1706522000),
        ({"timestamp": ISO, "sentAt": "2024-01-29T03:00:00Z"}, 1706540000),
        ({"timestamp": 1706280000, "sentAt": 1706280800}, 1706280000),
        # A clock that is hours ahead: nothing arrives before it is sent.
        ({"timestamp": 1706575990, "sentAt": 1706576000}, 1706539990),
        # The correction does not move an event beyond its receipt.
        ({"timestamp": 1706539000, "sentAt": 1706536400}, 1706540000),
        # An empty text is a missing time.
        ({"timestamp": "", "sentAt": ""}, 1706540000),
        ({"timestamp": " \t", "sentAt": "  "}, 1706540000),
        ({"timestamp": 1706539000, "sentAt": ""}, 1706539000),
        ({"timestamp": "Mon, 29 Jan 2024 14:53:20 GMT"}, 1706540000),
        # A network delay is not a wrong clock.
        ({"timestamp": 1706539940, "sentAt": 1706539945}, 1706539940),
        # A time slightly after the receipt becomes the time of receipt.
        ({"timestamp": 1706540300}, 1706540000),
    ],
)
def test_the_time_of_an_event(event: dict[str, Any], event_time: int) -> None:
    assert time_event(event, browser(received_at=RECEIVED), RECEIVED + 1).event_time == event_time


@pytest.mark.parametrize(
    ("age", "late", "stale"),
    [
        (0, False, False),
        (3600, False, False),
        (3601, True, False),
        (7 * 86_400, True, False),
        (7 * 86_400 + 1, True, True),
    ],
)
def test_an_event_becomes_late_after_an_hour_and_stale_after_a_week(
    age: int, late: bool, stale: bool
) -> None:
    timing = time_event({"timestamp": ISO}, browser(received_at=RECEIVED), 1706540000 + age)
    assert timing == Timing(1706540000, late, stale)


@pytest.mark.parametrize(
    ("event", "reason_class", "reason"),
    [
        ({"timestamp": "yesterday"}, "bad_timestamp", "timestamp is not a time"),
        ({"timestamp": ISO, "sentAt": {}}, "bad_timestamp", "sentAt is not a time"),
        # With their offsets these are in the years 0 and 10000.
        ({"timestamp": "0001-01-01T00:00:00+14:00"}, "bad_timestamp", "timestamp is not a time"),
        ({"timestamp": "9999-12-31T23:59:59-14:00"}, "bad_timestamp", "timestamp is not a time"),
        ({"timestamp": 1706543600}, "future", "the event is dated 1.0 h after it was received"),
    ],
)
def test_an_invalid_time_is_refused(event: dict[str, Any], reason_class: str, reason: str) -> None:
    with pytest.raises(TimeError) as error:
        time_event(event, browser(received_at=RECEIVED), RECEIVED)
    assert (error.value.reason_class, str(error.value)) == (reason_class, reason)


@pytest.mark.parametrize("timestamp", [ISO, "0001-01-01T00:00:00Z", None])
def test_a_clock_that_is_thousands_of_years_ahead_is_explained(timestamp: str | None) -> None:
    """An explanation that failed would set aside each such event while its source is debugged."""
    event = {"timestamp": timestamp, "sentAt": "9999-12-31T23:59:59Z"}
    explained = Explanation()
    timing = time_event(event, browser(received_at=RECEIVED), RECEIVED, explained)
    assert timing.stale is (timestamp is not None)
    assert "happened at" in str(explained)


@given(st.integers(-700_000, 500), st.none() | st.integers(-700_000, 700_000))
def test_an_event_never_happens_after_its_receipt(timestamp: int, sent: int | None) -> None:
    event = {"timestamp": 1706540000 + timestamp} | ({} if sent is None else {"sentAt": 1706540000 + sent})
    timing = time_event(event, browser(received_at=RECEIVED), RECEIVED)
    assert timing.event_time <= RECEIVED


def test_a_later_attempt_has_the_same_event_time() -> None:
    received = browser(received_at=RECEIVED)
    times = {
        time_event({"timestamp": 1706540300}, received, RECEIVED + later).event_time
        for later in (0, 500, 90_000)
    }
    assert times == {1706540000}
