"""What the delivery stage works with."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from worker.ledger.batches import Started
from worker.ledger.engine import Ledger
from worker.pinterest.backoff import RetryPolicy, Wait
from worker.pinterest.breaker import BreakerPolicy
from worker.pinterest.client import PinterestClient
from worker.telemetry.meter import Meter


@dataclass(frozen=True, slots=True)
class Sender:
    """Hold what sending needs, so that tests bring their own clock, sleep and dice."""

    ledger: Ledger
    client: PinterestClient
    policy: RetryPolicy
    lease_seconds: float
    hint: Callable[[Sequence[int]], None]
    breaker_policy: BreakerPolicy = field(default_factory=BreakerPolicy)
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    dice: Callable[[], float] = random.random
    # Gathers only, unless the process writes it into the ledger.
    meter: Meter = field(default_factory=Meter)


class PostponedError(Exception):
    """A batch has to be tried again; it stays with this worker until it is put off."""

    def __init__(
        self,
        started: Started,
        wait: Wait,
        spent: bool = False,
        unreadable: bool = False,
        reason_class: str | None = None,
    ) -> None:
        # All of them, in this order: a pool of processes pickles the exception.
        super().__init__(started, wait, spent, unreadable, reason_class)
        self.started = started
        self.wait = wait
        self.spent = spent
        self.unreadable = unreadable
        self.reason_class = reason_class

    def __str__(self) -> str:
        return f"batch {self.started.id} is due again in {self.wait.seconds:.1f} s"
