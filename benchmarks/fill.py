"""Row "fill": how full requests to Pinterest are when more comes in than can be worked on at once."""

from benchmarks.delivering import measure
from benchmarks.end_to_end import settings_for
from benchmarks.results import Goal, Result, of_rounds
from benchmarks.stacks import running, shop

ROUNDS, EVENTS = 3, 30_000
EVENTS_A_REQUEST = 950


def run(quick: bool = False) -> list[Result]:
    """Count events and requests, those at the beginning and at the end included."""
    with running("rabbitmq", "postgresql", **settings_for("postgresql")) as stack:
        target = shop(stack)
        headers = {"Authorization": f"Bearer {target.key}"}
        rounds, events = (1, 10_000) if quick else (ROUNDS, EVENTS)
        runs = measure(stack.sandbox, stack.collector_url, headers, rounds, events)
    fills = [sample.events / sample.requests for sample in runs]
    result = of_rounds(
        "fill", f"RabbitMQ + PostgreSQL, {events:,} events at once", "events a request", {"ours": fills}
    )
    goal = Goal(f"{EVENTS_A_REQUEST} of 1,000 events a request", EVENTS_A_REQUEST, result.ours)
    return [result.with_goals(goal)]
