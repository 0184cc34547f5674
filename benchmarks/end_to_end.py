"""Row "end-to-end": ``/v1/batch`` in, delivered out, on RabbitMQ and PostgreSQL, compared with the usual way."""

from typing import Any

from benchmarks import usual_stack
from benchmarks.delivering import Size, measure, rates_of
from benchmarks.results import Goal, Result, of_rounds
from benchmarks.stacks import running, shop

ROW, BROKER, DATABASE = "end-to-end", "rabbitmq", "postgresql"
USUAL, QUICK = Size(3, 40_000, 2_500), Size(1, 5_000, 300)
TIMES, RATE = 20, 3_000


def run(quick: bool = False) -> list[Result]:
    """Deliver a shop's traffic both ways, as fast as each of them can."""
    size = QUICK if quick else USUAL
    return compare(ROW, "RabbitMQ + PostgreSQL", BROKER, DATABASE, size, (TIMES, RATE))


def settings_for(database: str) -> dict[str, Any]:
    """Return what to run on two cores: an ingest process for each of them, where several may write at once."""
    return {"ingest_workers": 2 if database == "postgresql" else 1, "INGEST_CONCURRENCY": "2"}


def compare(
    row: str, case: str, broker: str, database: str, size: Size, goals: tuple[int, int]
) -> list[Result]:
    """Return the row of a broker and a database; ``goals`` are times the usual way, and events per second."""
    times, rate = goals
    with running(broker, database, **settings_for(database)) as stack:
        target = shop(stack)
        headers = {"Authorization": f"Bearer {target.key}"}
        runs = measure(stack.sandbox, stack.collector_url, headers, size.rounds, size.events)
    with usual_stack.running(broker, database) as usual:
        print("\n".join(f"  {line}" for line in usual.configuration), flush=True)
        baseline = measure(usual.sandbox, usual.collector_url, usual.headers, size.rounds, size.usual_events)
    result = of_rounds(row, case, "events/s", {"ours": rates_of(runs), "the usual way": rates_of(baseline)})
    return [
        result.with_goals(
            Goal(f"{times} times the usual way", times, result.ratios["the usual way"]),
            Goal(f"{rate:,} events/s on 2 cores", rate, result.ours),
        )
    ]
