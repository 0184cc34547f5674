"""What the delivery stage works with."""

import random
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import Connection

from worker import logs
from worker.ledger.batches import Started
from worker.ledger.engine import Ledger, is_ledger_away
from worker.pinterest.backoff import RetryPolicy, Wait
from worker.pinterest.breaker import BreakerPolicy
from worker.pinterest.client import PinterestClient
from worker.stages.lanes import Chairs, Lanes
from worker.telemetry.meter import Meter

log = logs.of(__name__)

FIRST_PAUSE_SECONDS = 0.25

T = TypeVar("T")
Lend = Callable[[], AbstractContextManager[Connection]]


@dataclass(frozen=True, slots=True)
class Sender:
    """Hold what sending needs, so that tests bring their own clock, sleep and dice."""

    ledger: Ledger
    client: PinterestClient
    policy: RetryPolicy
    lease_seconds: float
    hint: Callable[[Sequence[int]], None]
    breaker_policy: BreakerPolicy = field(default_factory=BreakerPolicy)
    lanes: Lanes = field(default_factory=Lanes)
    chairs: Chairs = field(default_factory=Chairs)
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    dice: Callable[[], float] = random.random
    # Gathers only, unless the process writes it into the ledger.
    meter: Meter = field(default_factory=Meter)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Read from the ledger, patiently."""
        return self._patiently(self.ledger.read, work)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Do work in one transaction, patiently: what is done twice has to change nothing the second time."""
        return self._patiently(self.ledger.write, work)

    def _patiently(self, lend: Lend, work: Callable[[Connection], T]) -> T:
        """Try again while the database is away for a moment, within a third of the lease.

        An answer that could not be written down would be asked for again, and what is late or offline could not
        even be that: it would wait for a hand.
        """
        until, pause_seconds = self.now() + self.lease_seconds / 3, FIRST_PAUSE_SECONDS
        while True:
            try:
                with lend() as connection:
                    return work(connection)
            except Exception as error:
                if not is_ledger_away(error) or self.now() + pause_seconds > until:
                    raise
                log.warning("ledger_away", error=type(error).__name__)
            self.sleep(pause_seconds)
            pause_seconds *= 2


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
