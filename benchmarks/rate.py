"""Row "rate": requests that the sandbox sees in any second and any minute, with three delivery workers."""

import time
from uuid import uuid4

from benchmarks.results import Goal, Result
from benchmarks.stacks import running
from benchmarks.traffic import Senders, Traffic
from tests.integration.shop import Shop
from worker.sandbox.client import Sandbox

WORKERS = 3
RPS, BURST = 20, 40
# A batch in test mode holds at most 20 events, so that few events make many requests.
EVENTS_A_REQUEST = 20
# Long enough for a whole minute at the limit.
SECONDS = 70


def run(quick: bool = False) -> list[Result]:
    """Keep an account at its limit, and count what arrives."""
    seconds = 10 if quick else SECONDS
    with running("rabbitmq", "postgresql", delivery_workers=WORKERS) as stack:
        target = Shop(stack, rate_limit_rps=RPS, rate_limit_burst=BURST, test_mode=True)
        events = (BURST + RPS * (seconds + 5)) * EVENTS_A_REQUEST
        headers = {"Authorization": f"Bearer {target.key}", "Content-Type": "application/json"}
        senders = Senders(stack.collector_url, headers, Traffic(uuid4().hex[:8], events).bodies())
        senders.start()
        time.sleep(seconds)
        senders.join()
        seen = stack.sandbox.rates()[target.account]
        reached = _average(stack.sandbox)
    return [_within("second", 1, seen["most_in_1_second"], reached)] + (
        [] if quick else [_within("minute", 60, seen["most_in_60_seconds"], reached)]
    )


def _average(sandbox: Sandbox) -> float:
    """Return requests a second from the first to the last, the burst left out."""
    arrivals = sandbox.requests(limit=100_000)
    return (len(arrivals) - BURST) / (arrivals[-1]["at"] - arrivals[0]["at"])


def _within(name: str, seconds: int, most: int, reached: float) -> Result:
    allowed = BURST + RPS * seconds
    return Result(
        "rate",
        f"RabbitMQ + PostgreSQL, {WORKERS} delivery workers, {RPS} requests/s and {BURST} at once",
        f"requests in any {name}",
        most,
        goals=(
            Goal(f"never above burst and rate in any {name}", allowed, most, at_most=True),
            Goal("nine tenths of the rate are used", 0.9 * RPS, reached),
        ),
    )
