"""A delivery process with all its slots, in virtual time, which passes only when all threads wait."""

import heapq
import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from tests.ledger.shop import NOW
from tests.pipeline.sandbox import POLICY, FakePinterest
from worker.ledger.database import Ledger
from worker.pinterest.client.client import Answer
from worker.pipeline.delivery.deliver_batch import deliver, postpone_delivery
from worker.pipeline.delivery.delivery_context import DeliveryContext, PostponedError
from worker.pipeline.delivery.group_pending import BatchingPolicy, claim_due_batches
from worker.pipeline.upkeep.sweeping import Hints, sweep_ledger

SLOTS = 56
TICK_SECONDS, SWEEP_SECONDS = 0.25, 2.0


class World:
    """Run threads one at a time, each until it waits; then the clock jumps to the next thing that is due.

    What happens is decided by the order of waiting alone, never by the machine: every run is the same.
    """

    def __init__(self) -> None:
        self.now = NOW
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._turn = threading.Semaphore(0)
        self._errors: list[BaseException] = []

    def __call__(self) -> float:
        return self.now

    def at(self, moment: float, action: Callable[[], None]) -> None:
        """Schedule a call at a time."""
        heapq.heappush(self._due, (moment, next(self._order), action))

    def sleep(self, seconds: float) -> None:
        """Wait, in a thread of this world."""
        mine = threading.Semaphore(0)
        self.at(self.now + seconds, lambda: self._let_run(mine))
        self.pause(mine)

    def pause(self, mine: threading.Semaphore) -> None:
        """Release the turn, and wait until another thread gives it to this one."""
        self._turn.release()
        mine.acquire()

    def wake(self, mine: threading.Semaphore) -> None:
        """Give the turn to a waiting thread when it is due."""
        self.at(self.now, lambda: self._let_run(mine))

    def start(self, work: Callable[[], None]) -> None:
        """Start a thread of this world."""
        mine = threading.Semaphore(0)

        def run() -> None:
            mine.acquire()
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - it is raised again where the test sees it
                self._errors.append(error)
            self._turn.release()

        threading.Thread(target=run, daemon=True).start()
        self.wake(mine)

    def live_until(self, moment: float) -> None:
        """Let time pass."""
        while self._due and self._due[0][0] <= moment and not self._errors:
            self.now, _, action = heapq.heappop(self._due)
            action()
        if self._errors:
            raise self._errors[0]
        self.now = max(self.now, moment)

    def _let_run(self, mine: threading.Semaphore) -> None:
        mine.release()
        self._turn.acquire()


class VirtualPinterest(FakePinterest):
    """Answer each ad account in its own way, after a delay."""

    def __init__(self, world: World, answers: Callable[[str, int], Answer | None], seed: int = 1) -> None:
        super().__init__()
        self._world, self._answers, self._dice = world, answers, random.Random(seed)

    def send(self, ad_account_id: str, access_token: str, body: bytes, test: bool) -> Answer:
        events = body.count(b'"event_id"')
        other = self._answers(ad_account_id, events)
        self._world.sleep(other.seconds if other is not None else self._dice.uniform(0.05, 0.15))
        return other if other is not None else super().send(ad_account_id, access_token, body, test)


@dataclass
class Process:
    """One delivery process with its slots, one beat and one batcher, as the Procfile has them."""

    ledger: Ledger
    pinterest: FakePinterest
    world: World
    queue: deque[int] = field(default_factory=deque)
    idle: deque[threading.Semaphore] = field(default_factory=deque)

    def start(self) -> None:
        for _ in range(SLOTS):
            self.world.start(self._work)
        self._every(TICK_SECONDS, self._tick)
        self._every(SWEEP_SECONDS, self._sweep)

    def _every(self, seconds: float, action: Callable[[], None]) -> None:
        def again() -> None:
            action()
            self.world.at(self.world.now + seconds, again)

        self.world.at(self.world.now + seconds, again)

    def _tick(self) -> None:
        claim_due_batches(self.ledger, BatchingPolicy(1.0), self.world, self._hint)

    def _sweep(self) -> None:
        hints = Hints(lambda _: None, self._hint, lambda: 0, lambda: len(self.queue))
        sweep_ledger(self.ledger, hints, self.world.now)

    def _hint(self, batch_ids: Sequence[int]) -> None:
        self.queue.extend(batch_ids)
        for _ in batch_ids:
            if self.idle:
                self.world.wake(self.idle.popleft())

    def __post_init__(self) -> None:
        self._context = DeliveryContext(
            self.ledger,
            self.pinterest,
            POLICY,
            lease_seconds=60.0,
            hint=self._hint,
            now=self.world,
            sleep=self.world.sleep,
            dice=lambda: 0.5,
        )

    def _work(self) -> None:
        while True:
            while not self.queue:
                mine = threading.Semaphore(0)
                self.idle.append(mine)
                self.world.pause(mine)
            batch_id = self.queue.popleft()
            try:
                deliver(self._context, batch_id)
            except PostponedError as postponed:
                seconds = postpone_delivery(self._context, postponed)
                if seconds is not None:
                    self.world.at(self.world.now + seconds, lambda again=batch_id: self._hint([again]))
