"""Row "scale": one, two and four delivery workers while each answer takes two seconds; the processors' time."""

from collections.abc import Mapping
from statistics import median

from benchmarks.delivering import deliver
from benchmarks.processes import cpu_seconds, seconds_per_hash
from benchmarks.results import Goal, Result
from benchmarks.stacks import running, shop
from tests.integration.stack import Stack

WORKERS = (1, 2, 4)
# One request at a time and worker, so that the workers are what is short: 500 events/s each.
CONCURRENCY, ANSWER_SECONDS = 1, 2.0
EVENTS_A_WORKER = 6_000
SERVERS = ("PostgreSQL", "RabbitMQ")
NEAR_LINEAR = 0.85
TARGET_RATE = 100_000
# In times of the SHA-256 of a short text, because machines differ.
GOAL_HASHES, GOAL_INGEST_HASHES = 600, 270


def run(quick: bool = False) -> list[Result]:
    """Deliver as many events for each worker as one of them alone has."""
    with running(
        "rabbitmq", "postgresql", delivery_workers=max(WORKERS), DELIVERY_CONCURRENCY=str(CONCURRENCY)
    ) as stack:
        headers = {"Authorization": f"Bearer {shop(stack).key}"}
        deliver(stack.sandbox, stack.collector_url, headers, 1_000)
        stack.sandbox.behave({"rules": [{"latency_seconds": ANSWER_SECONDS}]})
        rates: dict[int, float] = {}
        for workers in WORKERS:
            _have(stack, workers)
            events = workers * (2_000 if quick else EVENTS_A_WORKER)
            before = cpu_seconds(stack)
            rates[workers] = deliver(stack.sandbox, stack.collector_url, headers, events).rate
            costs = _difference(before, cpu_seconds(stack), events)
    return [_scaling(rates), _processors(costs, median(seconds_per_hash() for _ in range(25)))]


def _have(stack: Stack, workers: int) -> None:
    """Run this many delivery workers."""
    names = ["delivery", *(f"delivery{number}" for number in range(2, workers + 1))]
    delivery_names = [name for name in stack.commands if name.startswith("delivery")]
    stack.stop(*(name for name in delivery_names if name not in names and name in stack.running))
    stack.start(*(name for name in names if name not in stack.running))
    stack.await_ready(*names)


def _difference(before: Mapping[str, float], after: Mapping[str, float], events: int) -> dict[str, float]:
    """Return the microseconds of a processor for each event, by part; those of a kind are added up."""
    costs: dict[str, float] = {}
    for name, seconds in after.items():
        kind = name.rstrip("0123456789")
        costs[kind] = costs.get(kind, 0.0) + (seconds - before.get(name, 0.0)) / events * 1e6
    return costs


def _scaling(rates: Mapping[int, float]) -> Result:
    single_rate, most = rates[1], max(rates)
    others = {f"with {workers}" if workers > 1 else "with one": rates[workers] for workers in rates}
    del others[f"with {most}"]
    share = rates[most] / single_rate / most
    return Result(
        "scale",
        f"RabbitMQ + PostgreSQL, {most} delivery workers with a slot each, answers after {ANSWER_SECONDS:g} s",
        "events/s",
        rates[most],
        others,
        goals=(Goal(f"{NEAR_LINEAR:.0%} of {most} times one worker, in %", 100 * NEAR_LINEAR, 100 * share),),
    )


def _processors(costs: Mapping[str, float], seconds_of_a_hash: float) -> Result:
    own_costs = {name: cost for name, cost in costs.items() if name not in SERVERS}
    parts = ", ".join(f"{name} {cost:.0f}" for name, cost in sorted(costs.items()))
    total = sum(costs.values())
    hashes, of_ingest = (cost / seconds_of_a_hash / 1e6 for cost in (total, costs["ingest"]))
    return Result(
        "scale",
        f"a processor's time by part in µs: {parts}",
        f"µs an event, {sum(own_costs.values()):.0f} of them ours; {total * TARGET_RATE / 1e6:.0f} cores "
        f"for {TARGET_RATE:,} events/s",
        total,
        goals=(
            Goal(f"the time of {GOAL_HASHES} SHA-256 of short texts", GOAL_HASHES, hashes, at_most=True),
            Goal(f"ingest: the time of {GOAL_INGEST_HASHES}", GOAL_INGEST_HASHES, of_ingest, at_most=True),
        ),
        notes=(f"a SHA-256 of a short text {seconds_of_a_hash * 1e6:.2f} µs",),
    )
