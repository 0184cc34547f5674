"""What the delivery of batches uses: ledger, client, policies and limits, and how it ends."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from sqlalchemy import Connection

from worker import logs
from worker.ledger.database import Ledger, is_ledger_unavailable
from worker.ledger.delivery.batches import StartedBatch
from worker.monitoring.meter import Meter
from worker.pinterest.client.breaker import BreakerPolicy
from worker.pinterest.client.client import PinterestClient
from worker.pinterest.client.retry_delays import RetryPolicy, Wait

# Slots of one credential: the first limit, which each prompt answer raises by one, and the highest, enough for
# 100 requests/s with answers after 200 ms.
INITIAL_SLOTS, MAX_SLOTS = 2, 32
# Slots that each credential has for itself, and slots that all credentials of a process share beyond those.
OWN_SLOTS, SHARED_SLOTS = 8, 24
# A slower answer lowers the limit of its credential to 1.
_SLOW_ANSWER_SECONDS = 5.0
# Batches of a process that may wait at the same time for their ad account's rate.
_RATE_WAIT_SLOTS = 8


@dataclass(slots=True)
class _CredentialSlots:
    limit: int = INITIAL_SLOTS
    in_flight: int = 0
    # Ids of batches that found no free slot, in order; a dict, so that each waits once.
    waiting: dict[int, None] = field(default_factory=dict)


class _ConcurrencyLimiter:
    """Limit how many batches of one credential this process sends at the same time.

    A batch without an answer holds its slot until the deadline. Without limits, two unresponsive accounts would
    block all others for half a minute. So the limit rises only with prompt answers, and few credentials can have
    a high one: two unresponsive ones hold at most 40 of the usual 56 slots. Only ids wait here: the ledger has
    the batches, and the sweeper sends hints for lost ones.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots: dict[int, _CredentialSlots] = {}
        self._free_shared_slots = SHARED_SLOTS

    def acquire(self, credential_id: int, batch_id: int) -> bool:
        """Take a slot, or queue the batch id until `release` returns it."""
        with self._lock:
            slots = self._slots.setdefault(credential_id, _CredentialSlots())
            if self._free_slots(slots) <= 0:
                slots.waiting[batch_id] = None
                return False
            slots.in_flight += 1
            if slots.in_flight > OWN_SLOTS:
                self._free_shared_slots -= 1
            return True

    def release(self, credential_id: int, seconds: float) -> list[int]:
        """Free a slot that was held for `seconds`; return the queued batches that can be sent now."""
        with self._lock:
            slots = self._slots[credential_id]
            if slots.in_flight > OWN_SLOTS:
                self._free_shared_slots += 1
            slots.in_flight -= 1
            slots.limit = 1 if seconds > _SLOW_ANSWER_SECONDS else min(slots.limit + 1, MAX_SLOTS)
            following = list(slots.waiting)[: max(0, self._free_slots(slots))]
            for batch_id in following:
                del slots.waiting[batch_id]
            return following

    def _free_slots(self, slots: _CredentialSlots) -> int:
        free_slots = slots.limit - slots.in_flight
        return min(free_slots, max(0, OWN_SLOTS - slots.in_flight) + self._free_shared_slots)


class _RateWaitSlots:
    """Limit how many batches wait for their rate at the same time; the others are scheduled again later."""

    def __init__(self, count: int = _RATE_WAIT_SLOTS) -> None:
        self._free = threading.BoundedSemaphore(count)

    @contextmanager
    def acquire(self) -> Iterator[bool]:
        """Hold a slot if one is free; yield whether it was."""
        acquired = self._free.acquire(blocking=False)
        try:
            yield acquired
        finally:
            if acquired:
                self._free.release()


log = logs.of(__name__)

_FIRST_PAUSE_SECONDS = 0.25

_Result = TypeVar("_Result")
_Transaction = Callable[[], AbstractContextManager[Connection]]


@dataclass(frozen=True, slots=True)
class DeliveryContext:
    """Hold what the delivery of batches uses; tests replace clock, sleep and random numbers."""

    ledger: Ledger
    client: PinterestClient
    policy: RetryPolicy
    lease_seconds: float
    hint: Callable[[Sequence[int]], None]
    breaker_policy: BreakerPolicy = field(default_factory=BreakerPolicy)
    limiter: _ConcurrencyLimiter = field(default_factory=_ConcurrencyLimiter)
    rate_wait_slots: _RateWaitSlots = field(default_factory=_RateWaitSlots)
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    dice: Callable[[], float] = random.random
    # Counts in memory; the process that made it may write it to the ledger.
    meter: Meter = field(default_factory=Meter)

    def read(self, work: Callable[[Connection], _Result]) -> _Result:
        """Read from the ledger; retry while the database is away."""
        return self._with_retries(self.ledger.read, work)

    def write(self, work: Callable[[Connection], _Result]) -> _Result:
        """Write in one transaction; retry while the database is away, so `work` must be safe to repeat."""
        return self._with_retries(self.ledger.write, work)

    def _with_retries(self, transaction: _Transaction, work: Callable[[Connection], _Result]) -> _Result:
        """Retry for a third of the lease.

        A batch whose answer is lost is sent again, or needs manual action where a second copy could count twice.
        """
        until, pause_seconds = self.now() + self.lease_seconds / 3, _FIRST_PAUSE_SECONDS
        while True:
            try:
                with transaction() as connection:
                    return work(connection)
            except Exception as error:
                if not is_ledger_unavailable(error) or self.now() + pause_seconds > until:
                    raise
                log.warning("ledger_away", error=type(error).__name__)
            self.sleep(pause_seconds)
            pause_seconds *= 2


class DeliveryResult(StrEnum):
    """Name what happened to a batch."""

    SETTLED = "settled"
    SPLIT = "split"
    PAUSED = "paused"
    # Not ready, not due or paused.
    SKIPPED = "skipped"
    # Given back unsent: this process lacks its key, or some events lost the integration that can send them.
    RELEASED = "released"
    # Waits for a slot of its credential.
    QUEUED = "queued"
    # Another worker has the batch now; nothing was written.
    LEASE_LOST = "lease lost"


class PostponedError(Exception):
    """A batch must be tried again; this worker keeps its lease until `postpone_delivery`."""

    def __init__(
        self,
        started: StartedBatch,
        wait: Wait,
        spent: bool = False,
        unreadable: bool = False,
        reason_class: str | None = None,
    ) -> None:
        # A process pool pickles the exception with these arguments.
        super().__init__(started, wait, spent, unreadable, reason_class)
        self.started = started
        self.wait = wait
        self.spent = spent
        self.unreadable = unreadable
        self.reason_class = reason_class

    def __str__(self) -> str:
        return f"batch {self.started.id} is due again in {self.wait.seconds:.1f} s"
