"""Storms of every size: nothing is lost, and the books balance."""

from pathlib import Path

import pytest

from tests.chaos.kill_storm import Storm, blow

SHORT = Storm(events=3_000, kills=6, broker_restarts=1, seed=3, seconds=30)
LONG = (
    pytest.param(Storm(events=15_000, seed=5, seconds=75), id="valkey+sqlite"),
    pytest.param(
        Storm(events=15_000, seed=7, seconds=120, broker="rabbitmq", database="postgresql"),
        id="rabbitmq+postgresql",
        marks=pytest.mark.services,
    ),
)


@pytest.mark.timeout(400)
def test_a_short_storm_loses_nothing(tmp_path: Path) -> None:
    """Workers and the broker are killed, and Pinterest answers in every way: all events end up delivered."""
    _survives(SHORT, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("storm", LONG)
def test_a_long_storm_loses_nothing(storm: Storm, tmp_path: Path) -> None:
    """The same at length, on both pairs of broker and database."""
    _survives(storm, tmp_path)


def _survives(storm: Storm, folder: Path) -> None:
    result = blow(storm, folder)
    print(f"\n{result.table()}")
    result.check()
