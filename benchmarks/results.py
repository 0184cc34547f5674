"""The results of a benchmark row, compared with its targets."""

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

LIBRARIES = ("celery", "kombu", "SQLAlchemy", "flower", "gunicorn")


@dataclass(frozen=True, slots=True)
class Goal:
    """Hold what was aimed at, in words, and what was reached; ``at_most`` where less is better."""

    words: str
    target: float
    reached: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        return self.reached <= self.target if self.at_most else self.reached >= self.target

    @property
    def missed_by(self) -> float:
        """Return by which share of the target it was missed, 0 where it was not."""
        return 0.0 if self.met else abs(self.reached - self.target) / self.target if self.target else 1.0

    def __str__(self) -> str:
        verdict = "met" if self.met else f"missed by {self.missed_by:.0%}"
        return f"{self.words}: {verdict} ({number(self.reached)})"


@dataclass(frozen=True, slots=True)
class Result:
    """Hold one line of the table; ``ours`` and what it is compared with are medians of the rounds.

    ``others`` names what was measured in the same run, in the same unit. ``spread`` has every round of ours.
    """

    row: str
    case: str
    unit: str
    ours: float
    others: Mapping[str, float] = field(default_factory=dict)
    goals: tuple[Goal, ...] = ()
    spread: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    # Filled in by the runner.
    setting: Mapping[str, str] = field(default_factory=dict)

    @property
    def ratios(self) -> dict[str, float]:
        return {name: self.ours / other for name, other in self.others.items() if other}

    @property
    def rounds(self) -> int:
        return max(1, len(self.spread))

    def with_goals(self, *goals: Goal) -> "Result":
        return replace(self, goals=goals)

    def lines(self) -> list[str]:
        """Return what is printed, the ratios first."""
        ratios = [f"{number(ratio)} times {name}" for name, ratio in self.ratios.items()]
        measured = [f"{name} {number(value)}" for name, value in {"ours": self.ours, **self.others}.items()]
        spread = f", rounds {', '.join(map(number, self.spread))}" if len(self.spread) > 1 else ""
        return [
            f"{self.row}, {self.case}",
            *(f"  {', '.join(some)}" for some in (ratios,) if some),
            f"  {', '.join(measured)} ({self.unit}{spread})",
            *(f"  goal, {goal}" for goal in self.goals),
            *(f"  {note}" for note in self.notes),
        ]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Result":
        goals = tuple(Goal(**goal) for goal in values["goals"])
        return cls(
            **{**values, "goals": goals, "spread": tuple(values["spread"]), "notes": tuple(values["notes"])}
        )


def of_rounds(row: str, case: str, unit: str, rounds: Mapping[str, Sequence[float]], **rest: Any) -> Result:
    """Return the medians of rounds, of which ``rounds["ours"]`` are ours."""
    medians = {name: median(values) for name, values in rounds.items()}
    ours = medians.pop("ours")
    return Result(row, case, unit, ours, medians, spread=tuple(rounds["ours"]), **rest)


def number(value: float) -> str:
    """Format a number with its significant digits only."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def setting() -> dict[str, str]:
    """Return the machine and the date of the measurements."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{os.cpu_count()} cores of {_processor()}, {_memory_gb()} GB, {platform.system()}",
        "versions": ", ".join([f"Python {platform.python_version()}", *map(_library, LIBRARIES)]),
    }


def _library(name: str) -> str:
    return f"{name} {version(name)}"


def _processor() -> str:
    return _first(Path("/proc/cpuinfo"), "model name") or platform.processor() or platform.machine()


def _memory_gb() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)


def _first(path: Path, key: str) -> str:
    lines: Iterable[str] = path.read_text().splitlines() if path.exists() else ()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")
