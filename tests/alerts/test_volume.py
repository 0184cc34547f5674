"""Events of one name that stop coming are noticed: the busier the name, the sooner."""

from collections.abc import Mapping

import pytest

from worker.alerts.source_rules import _expected_events, _find_dropped, _hours_of_silence, _Series
from worker.ledger.upkeep.alerts import Severity

NOW = 480_000


def steady(an_hour: int, *, silent_hours: int = 0, days: int = 8) -> dict[int, int]:
    """Return the same number for every hour, up to a silence that includes the hour that has begun."""
    return {hour: an_hour for hour in range(NOW - days * 24, NOW + 1) if hour < NOW - silent_hours}


def without(hours: Mapping[int, int], *days: int) -> dict[int, int]:
    """Take whole days out, counted back from now."""
    return {hour: n for hour, n in hours.items() if (NOW - hour) // 24 not in days}


@pytest.mark.parametrize(
    ("by_hour", "silent_for"),
    [
        # It comes as usual, or began to come again in the hour that has begun.
        (steady(100) | {NOW: 1}, None),
        (steady(100, silent_hours=5) | {NOW: 1}, None),
        # The busier a name, the sooner.
        (steady(20, silent_hours=1), 1),
        (steady(19, silent_hours=1), None),
        (steady(10, silent_hours=2), 2),
        (steady(2, silent_hours=12), 12),
        (steady(1, silent_hours=23), None),
        (steady(1, silent_hours=24), 24),
        # Rarely is as good as never.
        (dict.fromkeys(range(NOW - 168, NOW - 24, 24), 5), None),
        # One day's peak is not what is usual.
        ({NOW - 25: 5_000}, None),
        # A shop that was closed on this day of the week a week ago may be closed today.
        (without(steady(100, silent_hours=1), 6, 7), None),
        # One that is younger than a week has no usual yet.
        (steady(100, silent_hours=1, days=6), None),
        # Three quiet days of seven are no rule.
        (without(steady(100, silent_hours=1), 2, 3, 4), 1),
        ({}, None),
    ],
)
def test_silence_is_told_where_it_is_no_chance(by_hour: dict[int, int], silent_for: int | None) -> None:
    assert _hours_of_silence(by_hour, NOW) == silent_for


def test_what_is_usual_is_the_median_of_the_same_hours_or_last_weeks_if_less() -> None:
    by_hour = {
        NOW - 1 - day * 24: n for day, n in zip(range(1, 8), [10, 20, 30, 40, 50, 60, 70], strict=True)
    }

    assert _expected_events(by_hour, NOW, 1) == 40
    assert _expected_events(by_hour | {NOW - 169: 25}, NOW, 1) == 25


def test_the_name_and_its_integration_are_told() -> None:
    quiet = _Series("int_1", "page_visit", steady(100, silent_hours=3))
    busy = _Series("int_1", "checkout", steady(100) | {NOW: 1})
    (seen,) = _find_dropped([quiet, busy], NOW)

    assert (seen.rule, seen.subject, seen.severity) == (
        "volume_dropped",
        "int_1:page_visit",
        Severity.WARNING,
    )
    assert seen.summary == "No page_visit event was received for int_1 in the last hour; 100 are usual."
