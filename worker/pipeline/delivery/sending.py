"""What the delivery stage works with."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import Connection

from worker import logs
from worker.ledger.database import Ledger, is_ledger_unavailable
from worker.ledger.delivery.batches import UNKNOWN_OUTCOME, Member, MemberResult, StartedBatch
from worker.monitoring.meter import Meter
from worker.pinterest.client.answers import ReasonClass
from worker.pinterest.client.breaker import BreakerPolicy
from worker.pinterest.client.client import PinterestClient
from worker.pinterest.client.retry_policy import RetryPolicy, Wait

# A new credential has shown nothing yet; each prompt answer makes its slots wider. The widest holds 100 requests/s
# at answers after 200 ms.
INITIAL_SLOTS, MAX_SLOTS = 2, 32
# So many places each slots may have for itself; for those beyond it all limiter of a process share a few.
OWN_SLOTS, SHARED_SLOTS = 8, 24
# A slot that is held for longer than this is missed by the others.
SLOW_ANSWER_SECONDS = 5.0
# So many slots may wait for their ad account's rate at once.
RATE_WAIT_SLOTS = 8
# Without a chair a slot waits no longer than this: bringing a batch back would take more.
MAX_INLINE_WAIT_SECONDS = 0.1


@dataclass(slots=True)
class _CredentialSlots:
    limit: int = INITIAL_SLOTS
    in_flight: int = 0
    # Batches that found the slots full, in their order; a dict, so that none waits twice.
    waiting: dict[int, None] = field(default_factory=dict)


class ConcurrencyLimiter:
    """Bound how many batches of one credential this process sends at once.

    An account that gets no answers holds each slot until the deadline: with all its batches sent at once, two
    such accounts stop everybody else for half a minute. So a slots is narrow until answers come promptly, and
    only a few may be wide at once: two that fall silent hold 40 of the usual 56 slots. What waits here are only
    numbers: the ledger has the batches, and the sweeper names again what gets lost.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots: dict[int, _CredentialSlots] = {}
        self._free_shared_slots = SHARED_SLOTS

    def acquire(self, credential_id: int, batch_id: int) -> bool:
        """Take a place in a slots, or leave the batch's number for whoever leaves the slots next."""
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
        """Give a place back after so many seconds; return the batches for which there is room now."""
        with self._lock:
            slots = self._slots[credential_id]
            if slots.in_flight > OWN_SLOTS:
                self._free_shared_slots += 1
            slots.in_flight -= 1
            slots.limit = 1 if seconds > SLOW_ANSWER_SECONDS else min(slots.limit + 1, MAX_SLOTS)
            following = list(slots.waiting)[: max(0, self._free_slots(slots))]
            for batch_id in following:
                del slots.waiting[batch_id]
            return following

    def _free_slots(self, slots: _CredentialSlots) -> int:
        free = slots.limit - slots.in_flight
        return min(free, max(0, OWN_SLOTS - slots.in_flight) + self._free_shared_slots)


class RateWaitSlots:
    """Bound how many slots wait at once; who finds no chair has its batch come back later instead."""

    def __init__(self, count: int = RATE_WAIT_SLOTS) -> None:
        self._free = threading.BoundedSemaphore(count)

    @contextmanager
    def acquire(self) -> Iterator[bool]:
        """Hold a chair, if there is one, and say whether there was."""
        got = self._free.acquire(blocking=False)
        try:
            yield got
        finally:
            if got:
                self._free.release()


log = logs.of(__name__)

_FIRST_PAUSE_SECONDS = 0.25

_Result = TypeVar("_Result")
_Transaction = Callable[[], AbstractContextManager[Connection]]


@dataclass(frozen=True, slots=True)
class Sender:
    """Hold what sending needs, so that tests bring their own clock, sleep and dice."""

    ledger: Ledger
    client: PinterestClient
    policy: RetryPolicy
    lease_seconds: float
    hint: Callable[[Sequence[int]], None]
    breaker_policy: BreakerPolicy = field(default_factory=BreakerPolicy)
    limiter: ConcurrencyLimiter = field(default_factory=ConcurrencyLimiter)
    rate_wait_slots: RateWaitSlots = field(default_factory=RateWaitSlots)
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    dice: Callable[[], float] = random.random
    # Gathers only, unless the process writes it into the ledger.
    meter: Meter = field(default_factory=Meter)

    def read(self, work: Callable[[Connection], _Result]) -> _Result:
        """Read from the ledger, patiently."""
        return self._patiently(self.ledger.read, work)

    def write(self, work: Callable[[Connection], _Result]) -> _Result:
        """Do work in one transaction, patiently: what is done twice has to change nothing the second time."""
        return self._patiently(self.ledger.write, work)

    def _patiently(self, lend: _Transaction, work: Callable[[Connection], _Result]) -> _Result:
        """Try again while the database is away for a moment, within a third of the lease.

        An answer that could not be written down would be asked for again, and what is late or offline could not
        even be that: it would wait for a hand.
        """
        until, pause_seconds = self.now() + self.lease_seconds / 3, _FIRST_PAUSE_SECONDS
        while True:
            try:
                with lend() as connection:
                    return work(connection)
            except Exception as error:
                if not is_ledger_unavailable(error) or self.now() + pause_seconds > until:
                    raise
                log.warning("ledger_away", error=type(error).__name__)
            self.sleep(pause_seconds)
            pause_seconds *= 2


class PostponedError(Exception):
    """A batch has to be tried again; it stays with this worker until it is put off."""

    def __init__(
        self,
        started: StartedBatch,
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


# Beyond this age a second copy is counted as offline and may not be deduplicated.
DEDUP_SECONDS = 3_600


# After these Pinterest may have the events, whatever a later try said.
MAY_HAVE_ARRIVED = (
    ReasonClass.UNAVAILABLE,
    ReasonClass.NO_ANSWER,
    ReasonClass.UNREADABLE,
    ReasonClass.UNEXPECTED,
)
# Some of the events were processed, and the answer did not say which.
PARTLY_PROCESSED = 422


def events_at_risk(everyone: Sequence[Member], then: float, *, offline: bool) -> list[Member]:
    """Return the events of which a second copy, sent at a time, could count twice."""
    return [one for one in everyone if offline or one.event_time < then - DEDUP_SECONDS]


def ids_without(everyone: Sequence[Member], risky: Sequence[Member]) -> list[int]:
    """Return the ids of the other events."""
    risky_ids = {one.id for one in risky}
    return [one.id for one in everyone if one.id not in risky_ids]


def unknown_outcome_endings(risky: Sequence[Member], reason: str) -> list[MemberResult]:
    """Return endings that leave it to a person whether the events are sent again."""
    words = f"Pinterest may have it already, and a second copy could count twice. {reason}"
    return [MemberResult(one.id, UNKNOWN_OUTCOME, words) for one in risky]
