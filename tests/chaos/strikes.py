"""Which process is killed at which time, drawn from a seed."""

import random
from dataclasses import dataclass

BROKER = "broker"
KINDS = ("ingest", "delivery", "upkeep", "beat")
# Work is lost, if at all, in the processes that hold it: those two are killed more often.
_WEIGHTS = (3, 3, 1, 1)


@dataclass(frozen=True, slots=True)
class Strike:
    """What is killed, when (seconds from the first event), and for how long."""

    at_seconds: float
    kind: str
    away_seconds: float


def plan(seed: int, seconds: float, kills: int, broker_restarts: int) -> list[Strike]:
    """Draw the strikes of a storm: every kind of worker at least once where there are enough kills."""
    dice = random.Random(f"strikes {seed}")
    kinds = [*KINDS, *dice.choices(KINDS, _WEIGHTS, k=max(0, kills - len(KINDS)))][:kills]
    kinds += [BROKER] * broker_restarts
    dice.shuffle(kinds)
    moments = sorted(dice.uniform(0.05, 0.98) * seconds for _ in kinds)
    pairs = zip(moments, kinds, strict=True)
    return [Strike(moment, kind, dice.uniform(0.1, 1.5)) for moment, kind in pairs]
