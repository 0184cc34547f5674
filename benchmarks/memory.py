"""Row "memory": what each process holds while a shop's traffic passes through."""

from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.delivering import deliver
from benchmarks.processes import resident_megabytes, watched
from benchmarks.results import Goal, Result
from benchmarks.stacks import running, shop
from tests.integration.stack import BROKER

# The first rounds warm up: caches fill, and so does what Flower keeps, at its own bound of tasks.
WARM_UP, ROUNDS, EVENTS = 3, 10, 10_000
MOST_MEGABYTES = 150
# Memory that the allocator keeps for reuse is not a leak. More growth than this is one.
MOST_GROWTH = 1.05

Seen = Sequence[Mapping[str, float]]


def run(quick: bool = False) -> list[Result]:
    """Deliver round after round on both stacks, and look at every process twice a second."""
    return [
        _measure("RabbitMQ + PostgreSQL", "rabbitmq", "postgresql", quick),
        _measure("Valkey + SQLite", "valkey", "sqlite", quick),
    ]


def _measure(case: str, broker: str, database: str, quick: bool) -> Result:
    rounds: list[Seen] = []
    with running(broker, database) as stack:
        headers = {"Authorization": f"Bearer {shop(stack).key}"}
        idle = resident_megabytes(stack)
        for _ in range(2 if quick else ROUNDS):
            with watched(stack) as seen:
                deliver(stack.sandbox, stack.collector_url, headers, 2_000 if quick else EVENTS)
            rounds.append(seen)
    # The broker's memory is not counted: it grows with the queues.
    names = sorted(rounds[-1][-1].keys() - {BROKER})
    largest = {name: max(sample[name] for seen in rounds for sample in seen) for name in names}
    warm = rounds[min(WARM_UP, len(rounds) - 1) - 1]
    growth = {name: _held(rounds[-1], name) / _held(warm, name) for name in names}
    biggest, grown = max(names, key=largest.__getitem__), max(names, key=growth.__getitem__)
    text = ", ".join(f"{name} {largest[name]:.0f}" for name in names)
    return Result(
        "memory",
        f"{case}, at most: {text}; {biggest} before any event: {idle[biggest]:.0f}",
        f"MB, {biggest}",
        largest[biggest],
        goals=(
            Goal("at most 150 MB a process", MOST_MEGABYTES, largest[biggest], at_most=True),
            Goal(
                f"at most 5 % more in the last round than once warm ({grown})",
                MOST_GROWTH,
                growth[grown],
                at_most=True,
            ),
        ),
    )


def _held(seen: Seen, name: str) -> float:
    return median(sample[name] for sample in seen)
