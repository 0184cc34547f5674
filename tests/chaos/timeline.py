"""Hours of batching, delivery and sweeping within a moment, with a simulated clock."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.ledger.shop import NOW
from tests.pipeline.sandbox import POLICY, FakePinterest
from worker.ledger.database import Ledger
from worker.pinterest.client.breaker import BreakerPolicy
from worker.pinterest.client.retry_delays import RetryPolicy
from worker.pipeline.delivery.deliver_batch import deliver, postpone_delivery
from worker.pipeline.delivery.delivery_context import DeliveryContext, PostponedError
from worker.pipeline.delivery.group_pending import BatchingPolicy, claim_due_batches
from worker.pipeline.upkeep.sweeping import Hints, sweep_ledger

NEVER_OPENS = BreakerPolicy(failures_to_open=1_000_000)


@dataclass(slots=True)
class Clock:
    """Time that the test sets, also backwards."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Timeline:
    """A simulation of Celery: beat's ticks, messages that arrive at once, and retries with a countdown.

    ``tries`` holds when each request was made.
    """

    ledger: Ledger
    pinterest: FakePinterest
    policy: RetryPolicy = POLICY
    breaker: BreakerPolicy = NEVER_OPENS
    clock: Clock = field(default_factory=Clock)
    dice: float = 0.5
    tries: list[float] = field(default_factory=list)
    # (due at, batch id): what waits at the broker, or as a countdown in a worker.
    messages: list[tuple[float, int]] = field(default_factory=list)
    # The sweeper's messages about the inbox; only tests consume them.
    ranges: list[tuple[int, int]] = field(default_factory=list)
    broker_is_up: bool = True
    beats: int = 1

    @property
    def context(self) -> DeliveryContext:
        return DeliveryContext(
            self.ledger,
            self.pinterest,
            self.policy,
            lease_seconds=60.0,
            hint=self._hint,
            breaker_policy=self.breaker,
            now=self.clock,
            sleep=self.sleep,
            dice=lambda: self.dice,
        )

    def sleep(self, seconds: float) -> None:
        self.clock.now += seconds

    def _hint_at_ranges(self, ranges: Sequence[tuple[int, int]]) -> None:
        self.ranges += ranges if self.broker_is_up else ()

    def _hint(self, batch_ids: Sequence[int]) -> None:
        for batch_id in batch_ids if self.broker_is_up else ():
            heapq.heappush(self.messages, (self.clock.now, batch_id))

    def live(self, seconds: float, step_seconds: float = 1.0) -> None:
        """Let time pass, with a tick of each beat and a sweep at every step."""
        passed = 0.0
        while passed < seconds:
            for _ in range(self.beats):
                self.tick()
            self.work()
            moment = self.clock.now + min(step_seconds, seconds - passed)
            if self.messages:
                # A countdown ends on time, even with large steps.
                moment = min(moment, self.messages[0][0])
            passed += moment - self.clock.now
            self.clock.now = moment
        self.work()

    def tick(self) -> None:
        """Run the tasks of one beat."""
        claim_due_batches(self.ledger, BatchingPolicy(1.0), self.clock, self._hint)
        hints = Hints(self._hint_at_ranges, self._hint, self._queued, self._queued)
        sweep_ledger(self.ledger, hints, self.clock.now)

    def _queued(self) -> int | None:
        return 0 if self.broker_is_up else None

    def work(self) -> None:
        """Process the due messages in order."""
        while self.messages and self.messages[0][0] <= self.clock.now:
            _, batch_id = heapq.heappop(self.messages)
            self._deliver(batch_id)

    def _deliver(self, batch_id: int) -> None:
        before = len(self.pinterest.requests)
        try:
            deliver(self.context, batch_id)
        except PostponedError as postponed:
            seconds = postpone_delivery(self.context, postponed)
            if seconds is not None:
                heapq.heappush(self.messages, (self.clock.now + seconds, batch_id))
        self.tries += [self.clock.now] * (len(self.pinterest.requests) - before)
