"""Send a shop's traffic to a collector, and measure the time until the sandbox has all of it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import uuid4

from benchmarks.traffic import Senders, Traffic, payload
from tests.integration.waiting import until
from worker.dev.sandbox.server import Sandbox

# The sandbox stores this many of the last events in full; each is compared with the expected one.
SAMPLE_EVENTS = 500
DEADLINE_SECONDS = 240.0
WARM_UP_EVENTS = 1_000


class Size(NamedTuple):
    """The amount of work to measure."""

    rounds: int
    events: int
    usual_events: int


@dataclass(frozen=True, slots=True)
class Run:
    """The result of a round; the time runs from the first request to the arrival of the last event."""

    events: int
    seconds: float
    accepted_seconds: float
    requests: int

    @property
    def rate(self) -> float:
        return self.events / self.seconds


def rates_of(runs: Sequence[Run]) -> list[float]:
    return [run.rate for run in runs]


def measure(sandbox: Sandbox, url: str, headers: dict[str, str], rounds: int, events: int) -> list[Run]:
    """Deliver traffic in rounds, after a little that is not timed."""
    deliver(sandbox, url, headers, min(events, WARM_UP_EVENTS))
    return [deliver(sandbox, url, headers, events) for _ in range(rounds)]


def deliver(sandbox: Sandbox, url: str, headers: dict[str, str], events: int) -> Run:
    """Deliver events, check that all arrived as expected, and return how long it took."""
    traffic = Traffic(uuid4().hex[:8], events)
    senders = Senders(url, {"Content-Type": "application/json"} | headers, traffic.bodies())
    sandbox.forget()
    start = time.time()
    senders.start()
    senders.join()
    accepted_at = time.time()
    until(f"{events} events arrive", lambda: _has(sandbox, events), DEADLINE_SECONDS, every=0.2)
    (last,) = sandbox.requests(limit=1)
    check(sandbox, traffic)
    requests = sandbox.received(limit=0)["requests"]
    run = Run(events, last["at"] - start, accepted_at - start, requests)
    print(
        f"  {events:,} events: accepted in {run.accepted_seconds:.1f} s, delivered in {run.seconds:.1f} s, "
        f"{run.rate:,.0f}/s, {requests:,} requests",
        flush=True,
    )
    return run


def check(sandbox: Sandbox, traffic: Traffic) -> None:
    """Fail unless every id arrived, once, and the last events with the expected payloads."""
    copies = {entry["event_id"]: entry["copies"] for entry in sandbox.ids()}
    assert set(copies) == traffic.ids(), "other events arrived than were sent"
    repeated = sum(number > 1 for number in copies.values())
    assert not repeated, f"{repeated} events arrived more than once"
    sample = sandbox.received(limit=SAMPLE_EVENTS)["last"]
    for entry in sample:
        expected = payload(traffic.event(entry["event"]["event_id"]))
        assert entry["event"] == expected, f"{entry['event']} arrived in place of {expected}"


def _has(sandbox: Sandbox, events: int) -> bool:
    return bool(sandbox.received(limit=0)["unique_ids"] >= events)
