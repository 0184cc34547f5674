"""No credential takes all slots of a delivery process, and few slots wait at once."""

import threading
from contextlib import ExitStack

from tests.ledger.shop import NOW, pend, place, stand
from tests.pipeline.sandbox import FakePinterest, Stage, accepted
from worker.ledger.database import Ledger
from worker.ledger.setup.ad_accounts import Rate
from worker.pinterest.client.client import Answer
from worker.pipeline.delivery.deliver_batch import deliver
from worker.pipeline.delivery.sending import (
    CHAIRS,
    FIRST_WIDTH,
    OWN_PLACES,
    SHARED_PLACES,
    SLOW_SECONDS,
    WIDEST,
    Chairs,
    Lanes,
)


def test_a_lane_is_narrow_until_answers_come_promptly() -> None:
    lanes = Lanes()
    assert [lanes.enter(1, number) for number in range(4)] == [True] * FIRST_WIDTH + [False] * 2
    # Another credential has a lane of its own.
    assert lanes.enter(2, 99)
    # A prompt answer makes room for two: the place that is free, and one more.
    assert lanes.leave(1, 0.2) == [2, 3]


def test_a_lane_grows_to_a_bound_and_narrows_at_once_when_answers_are_slow() -> None:
    lanes = Lanes()
    grow(lanes, 1)
    assert sum(lanes.enter(1, number) for number in range(40)) == WIDEST
    assert lanes.leave(1, SLOW_SECONDS + 0.1) == []
    for _ in range(WIDEST - 2):
        assert lanes.leave(1, SLOW_SECONDS + 0.1) == []
    # Only as the last one leaves is there room, for one.
    assert lanes.leave(1, SLOW_SECONDS + 0.1) == [WIDEST]


def test_lanes_share_what_they_have_beyond_their_own_places() -> None:
    lanes = Lanes()
    for credential_id in (1, 2):
        grow(lanes, credential_id)
    assert sum(lanes.enter(1, number) for number in range(40)) == OWN_PLACES + SHARED_PLACES == WIDEST
    assert sum(lanes.enter(2, number) for number in range(100, 140)) == OWN_PLACES
    # The second one's turn comes as the first one needs fewer.
    assert lanes.leave(1, 0.1) == [WIDEST]
    assert lanes.leave(2, 0.1) == [100 + OWN_PLACES, 101 + OWN_PLACES]


def grow(lanes: Lanes, credential_id: int) -> None:
    for number in range(WIDEST):
        assert lanes.enter(credential_id, number)
        lanes.leave(credential_id, 0.1)


def test_a_batch_that_is_named_twice_waits_once() -> None:
    lanes = Lanes()
    for number in (1, 2, 3, 3):
        lanes.enter(1, number)
    assert lanes.leave(1, 0.1) == [3]
    assert lanes.leave(1, 0.1) == []


def test_there_are_so_many_chairs_and_they_are_given_back() -> None:
    chairs = Chairs()
    with ExitStack() as stack:
        assert [stack.enter_context(chairs.taken()) for _ in range(CHAIRS + 1)] == [True] * CHAIRS + [False]
    with chairs.taken() as seated:
        assert seated


def test_who_finds_no_chair_has_its_batch_come_back_later(ledger: Ledger) -> None:
    stage = Stage(ledger, FakePinterest())
    pend(ledger, place(ledger, rate=Rate(1.0, 1)), 40, test=True)
    first, second = stage.batch()
    sender = stage.sender
    assert deliver(sender, first) == "settled"
    with ExitStack() as stack:
        for _ in range(CHAIRS):
            stack.enter_context(sender.chairs.taken())
        assert deliver(sender, second) == "left alone"
    assert stage.slept == []
    stage.now = NOW + 1.0
    assert deliver(sender, second) == "settled"
    assert stand(ledger) == {"tested": 40}


def test_a_batch_that_finds_its_lane_full_is_hinted_at_when_there_is_room(ledger: Ledger) -> None:
    """The third waits, as a number alone, while two are being sent; nobody else waits for it."""
    pinterest = _Slow()
    stage = Stage(ledger, pinterest)
    pend(ledger, place(ledger), 60, test=True)
    sender, made = stage.sender, stage.batch()
    stage.hinted.clear()
    threads = [threading.Thread(target=deliver, args=(sender, number)) for number in made[:2]]
    for thread in threads:
        thread.start()
    assert pinterest.both_are_here.wait(10)
    assert deliver(sender, made[2]) == "left for later"
    assert stage.hinted == []
    pinterest.go_on.set()
    for thread in threads:
        thread.join(10)
    assert stage.hinted == [made[2]]
    assert deliver(sender, made[2]) == "settled"
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
            if self._here == FIRST_WIDTH:
                self.both_are_here.set()
        assert self.go_on.wait(10)
        return super().send(ad_account_id, access_token, body, test)
