"""Times in all formats that senders use."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.event.times import iso, parse_time


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("2024-01-29T14:53:20.000Z", 1706540000.0),
        ("2024-01-29T14:53:20.250Z", 1706540000.25),
        ("2024-01-29T14:53:20Z", 1706540000.0),
        ("2024-01-29t14:53:20z", 1706540000.0),
        ("2024-01-29 14:53:20", 1706540000.0),  # without an offset it is UTC
        ("2024-01-29T16:53:20+02:00", 1706540000.0),
        ("20240129T145320Z", 1706540000.0),
        ("2024-01-29T14:53:20.123456789Z", 1706540000.123456),
        (" 2024-01-29 ", 1706486400.0),
        ("2024-01-29 14:53:20 UTC", 1706540000.0),
        ("2024-01-29 16:53:20 +0200", 1706540000.0),
        ("2024-01-29T16:53:20.000+0200", 1706540000.0),
        ("Mon, 29 Jan 2024 14:53:20 GMT", 1706540000.0),
        ("Mon, 29 Jan 2024 16:53:20 +0200", 1706540000.0),
        ("29 Jan 2024 14:53:20 -0000", 1706540000.0),
        ("Mon, 29 Jan 2024 14:53:20 +0000 (UTC)", 1706540000.0),
        ("Mon Jan 29 2024 16:53:20 GMT+0200 (Central European Summer Time)", 1706540000.0),
        ("Mon Jan 29 2024 14:53:20 GMT+0000", 1706540000.0),
        ("2024-01-29T15:53:20+01:00[Europe/Berlin]", 1706540000.0),
        ("2024/01/29 14:53:20", 1706540000.0),
        (1706540000, 1706540000.0),
        (1706540000.5, 1706540000.5),
        ("1706540000", 1706540000.0),
        (1706540000250, 1706540000.25),  # milliseconds
        ("1706540000250", 1706540000.25),
        (1706540000250000, 1706540000.25),  # microseconds
        (1706540000000000000, 1706540000.0),  # nanoseconds
    ],
)
def test_a_time_is_parsed(written: object, seconds: float) -> None:
    assert parse_time(written) == seconds


@pytest.mark.parametrize(
    "written",
    [
        None,
        "",
        "yesterday",
        "29.01.2024",
        "2024-02-30T00:00:00Z",
        "2024-01-29T25:00:00Z",
        "2024-01-29x14:53:20",
        "Invalid Date",
        "2024-01-29T15:53:20[Europe/Berlin]",
        "2024/29/01",
        "Mon Foo 29 2024 14:53:20 GMT+0000",
        "Mon, 99 Jan 2024 14:53:20 GMT",
        "Mon, 29 Foo 2024 14:53:20 GMT",
        True,
        0,
        -1,
        1706540,  # seconds divided by a thousand once too often
        10**25,
        float("nan"),
        float("inf"),
        [],
        {},
    ],
)
def test_text_that_is_not_a_time_becomes_none(written: object) -> None:
    assert parse_time(written) is None


@given(st.text("0159-+:./,TZzGMTUCJan[]() ", max_size=40))
@example("1[a]")
@example("0001-01-01T00:00:00+14:00")
def test_any_text_is_a_time_that_can_be_shown_or_none(text: str) -> None:
    seconds = parse_time(text)
    assert seconds is None or parse_time(iso(seconds)) is not None
