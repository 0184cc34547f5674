"""Row "rate": requests that the sandbox sees, with three delivery workers, and with one and slow answers."""

import time
from uuid import uuid4

from sqlalchemy import func, select

from benchmarks.results import Goal, Result
from benchmarks.stacks import running
from benchmarks.traffic import Senders, Traffic
from tests.integration.shop import Shop
from tests.integration.stack import Stack
from tests.integration.waiting import until
from worker.dev.sandbox.server import Sandbox
from worker.ledger.schema import delivery

WORKERS = 3
RPS, BURST = 20, 40
# A batch in test mode holds at most 20 events, so that few events make many requests.
EVENTS_A_REQUEST = 20
# Long enough for a whole minute at the limit.
SECONDS = 70

# An integration's default rate, and about the time of an answer from Pinterest.
DEFAULT_RPS, ANSWER_SECONDS, SLOW_GOAL = 100, 0.2, 95
SLOW_SECONDS = 10
# Of a process's first requests each opens connections, and makes each statement known to PostgreSQL.
WARM_UP_EVENTS = 2_000
WAIT_SECONDS = 90.0


def run(quick: bool = False) -> list[Result]:
    """Keep an account at its limit, and count what arrives."""
    return [*_never_above(quick), _with_slow_answers(2 if quick else SLOW_SECONDS)]


def _never_above(quick: bool) -> list[Result]:
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


def _with_slow_answers(seconds: int) -> Result:
    """Let one delivery worker process a backlog with slow responses."""
    with running("rabbitmq", "postgresql") as stack:
        target = Shop(stack, rate_limit_rps=DEFAULT_RPS, rate_limit_burst=BURST, test_mode=True)
        stack.sandbox.behave({"rules": [{"latency_seconds": ANSWER_SECONDS}]})
        _send(stack, target, WARM_UP_EVENTS)
        until("the first events arrive", lambda: _tested(stack.sandbox) >= WARM_UP_EVENTS, WAIT_SECONDS)
        stack.sandbox.forget()
        pausing = f"/accounts/{target.account}"
        stack.admin("POST", f"{pausing}/pause", {"reason": "The row gathers what is to wait."})
        batches = BURST + DEFAULT_RPS * seconds
        _send(stack, target, batches * EVENTS_A_REQUEST)
        until(
            "all events are mapped",
            lambda: _mapped(stack) == WARM_UP_EVENTS + batches * EVENTS_A_REQUEST,
            WAIT_SECONDS,
        )
        stack.admin("POST", f"{pausing}/resume")
        until("all requests arrive", lambda: _requests(stack.sandbox) >= batches, WAIT_SECONDS, every=0.5)
        reached = _average(stack.sandbox)
    return Result(
        "rate",
        f"RabbitMQ + PostgreSQL, one delivery worker, {DEFAULT_RPS} requests/s, "
        f"answers after {ANSWER_SECONDS * 1e3:.0f} ms",
        "requests/s",
        reached,
        goals=(Goal(f"{SLOW_GOAL} requests/s", SLOW_GOAL, reached),),
    )


def _send(stack: Stack, target: Shop, events: int) -> None:
    headers = {"Authorization": f"Bearer {target.key}", "Content-Type": "application/json"}
    senders = Senders(stack.collector_url, headers, Traffic(uuid4().hex[:8], events).bodies())
    senders.start()
    senders.join()


def _mapped(stack: Stack) -> int:
    with stack.ledger() as ledger, ledger.read() as connection:
        return connection.scalar(select(func.count()).select_from(delivery)) or 0


def _tested(sandbox: Sandbox) -> int:
    return int(sandbox.received(limit=0)["tested"])


def _requests(sandbox: Sandbox) -> int:
    # Listing them takes the sandbox so long that it would distort the measurement.
    return int(sandbox.received(limit=0)["requests"])


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
