"""No credential takes all slots of a delivery process, and few batches wait for their rate."""

import threading
from contextlib import ExitStack

from tests.ledger.shop import NOW, pend, place, stand
from tests.pipeline.sandbox import FakePinterest, Stage, accepted
from worker.ledger.database import Ledger
from worker.ledger.setup.ad_accounts import AccountRateLimit
from worker.pinterest.client.client import Answer
from worker.pipeline.delivery.deliver_batch import deliver
from worker.pipeline.delivery.delivery_context import (
    _RATE_WAIT_SLOTS,
    _SLOW_ANSWER_SECONDS,
    INITIAL_SLOTS,
    MAX_SLOTS,
    OWN_SLOTS,
    SHARED_SLOTS,
    _ConcurrencyLimiter,
    _RateWaitSlots,
)


def test_the_limit_is_low_until_answers_come_promptly() -> None:
    limiter = _ConcurrencyLimiter()
    assert [limiter.acquire(1, number) for number in range(4)] == [True] * INITIAL_SLOTS + [False] * 2
    # Another credential has slots of its own.
    assert limiter.acquire(2, 99)
    # A prompt answer frees two slots: its own, and one more by the higher limit.
    assert limiter.release(1, 0.2) == [2, 3]


def test_the_limit_rises_to_a_maximum_and_drops_at_once_when_answers_are_slow() -> None:
    limiter = _ConcurrencyLimiter()
    grow(limiter, 1)
    assert sum(limiter.acquire(1, number) for number in range(40)) == MAX_SLOTS
    assert limiter.release(1, _SLOW_ANSWER_SECONDS + 0.1) == []
    for _ in range(MAX_SLOTS - 2):
        assert limiter.release(1, _SLOW_ANSWER_SECONDS + 0.1) == []
    # The last release frees the only slot.
    assert limiter.release(1, _SLOW_ANSWER_SECONDS + 0.1) == [MAX_SLOTS]


def test_credentials_share_the_slots_beyond_their_own() -> None:
    limiter = _ConcurrencyLimiter()
    for credential_id in (1, 2):
        grow(limiter, credential_id)
    assert sum(limiter.acquire(1, number) for number in range(40)) == OWN_SLOTS + SHARED_SLOTS == MAX_SLOTS
    assert sum(limiter.acquire(2, number) for number in range(100, 140)) == OWN_SLOTS
    # The second credential gets more as the first one needs fewer.
    assert limiter.release(1, 0.1) == [MAX_SLOTS]
    assert limiter.release(2, 0.1) == [100 + OWN_SLOTS, 101 + OWN_SLOTS]


def grow(limiter: _ConcurrencyLimiter, credential_id: int) -> None:
    for number in range(MAX_SLOTS):
        assert limiter.acquire(credential_id, number)
        limiter.release(credential_id, 0.1)


def test_a_batch_that_is_named_twice_waits_once() -> None:
    limiter = _ConcurrencyLimiter()
    for number in (1, 2, 3, 3):
        limiter.acquire(1, number)
    assert limiter.release(1, 0.1) == [3]
    assert limiter.release(1, 0.1) == []


def test_rate_wait_slots_are_limited_and_given_back() -> None:
    wait_slots = _RateWaitSlots()
    with ExitStack() as stack:
        assert [stack.enter_context(wait_slots.acquire()) for _ in range(_RATE_WAIT_SLOTS + 1)] == [
            True
        ] * _RATE_WAIT_SLOTS + [False]
    with wait_slots.acquire() as may_wait:
        assert may_wait


def test_without_a_rate_wait_slot_a_batch_is_scheduled_again(ledger: Ledger) -> None:
    stage = Stage(ledger, FakePinterest())
    pend(ledger, place(ledger, rate=AccountRateLimit(1.0, 1)), 40, test=True)
    first, second = stage.batch()
    context = stage.context
    assert deliver(context, first) == "settled"
    with ExitStack() as stack:
        for _ in range(_RATE_WAIT_SLOTS):
            stack.enter_context(context.rate_wait_slots.acquire())
        assert deliver(context, second) == "skipped"
    assert stage.slept == []
    stage.now = NOW + 1.0
    assert deliver(context, second) == "settled"
    assert stand(ledger) == {"tested": 40}


def test_a_queued_batch_gets_a_hint_when_a_slot_is_free(ledger: Ledger) -> None:
    """The third waits as an id while two are being sent; it blocks no other batch."""
    pinterest = _Slow()
    stage = Stage(ledger, pinterest)
    pend(ledger, place(ledger), 60, test=True)
    context, made = stage.context, stage.batch()
    stage.hinted.clear()
    threads = [threading.Thread(target=deliver, args=(context, number)) for number in made[:2]]
    for thread in threads:
        thread.start()
    assert pinterest.both_are_here.wait(10)
    assert deliver(context, made[2]) == "queued"
    assert stage.hinted == []
    pinterest.go_on.set()
    for thread in threads:
        thread.join(10)
    assert stage.hinted == [made[2]]
    assert deliver(context, made[2]) == "settled"
    assert stand(ledger) == {"tested": 60}


class _Slow(FakePinterest):
    """Answer once two requests are here and a test says so."""

    def __init__(self) -> None:
        super().__init__(accepted)
        self.both_are_here, self.go_on = threading.Event(), threading.Event()
        self._lock, self._here = threading.Lock(), 0

    def send(self, ad_account_id: str, access_token: str, body: bytes, test: bool) -> Answer:
        with self._lock:
            self._here += 1
            if self._here == INITIAL_SLOTS:
                self.both_are_here.set()
        assert self.go_on.wait(10)
        return super().send(ad_account_id, access_token, body, test)
