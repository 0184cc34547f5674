"""What happens over hours: retries, the breaker, pauses and manual actions."""

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from sqlalchemy import select

from tests.chaos.timeline import Clock, Timeline
from tests.ledger.shop import NOW, accept, close, pend, place, stand
from tests.pipeline.ingest.test_ingest_bulk import order
from tests.pipeline.sandbox import POLICY, FakePinterest, accepted, answer
from worker.ledger.database import Ledger
from worker.ledger.delivery import failures
from worker.ledger.delivery.failures import FailureFilter
from worker.ledger.intake import inbox
from worker.ledger.schema import attempt, batch
from worker.ledger.setup import ad_accounts, integrations
from worker.ledger.setup.ad_accounts import AccountRateLimit
from worker.ledger.setup.integrations import Integration
from worker.pinterest.client.breaker import BreakerPolicy
from worker.pinterest.client.client import Answer
from worker.pipeline.ingest.ingest_bulk import ingest

HOUR = 3_600.0
DOWN = answer(500, {"code": 1, "message": "An unexpected error occurred."})
# Interval of a timeline's sweeps, which find the work in the ledger.
STEP = 20.0
# The highest draw, so that each wait is the longest that the policy allows.
HIGHEST = 1.0 - 1e-9


@pytest.fixture
def shop(ledger: Ledger) -> Integration:
    """Return a shop's integration; the events of these tests never become late."""
    return place(ledger)


def _pend(ledger: Ledger, shop: Integration, count: int, prefix: str = "e") -> None:
    pend(ledger, shop, count, prefix, event_time=int(NOW + 24 * HOUR))


def _retry(ledger: Ledger, now: float) -> int:
    with ledger.write() as connection:
        found = failures.failed_after(connection, FailureFilter(), 1_000)
        return failures.retry_deliveries(connection, found, now, "an operator").retried


def _set_paused(ledger: Ledger, shop: Integration, now: float, *, paused: bool) -> None:
    with ledger.write() as connection:
        if paused:
            assert ad_accounts.pause_credential(
                connection, shop.credential_id, "by_hand", "Legal asked.", "an operator", now
            )
        else:
            assert ad_accounts.resume_credential(connection, shop.credential_id, now=NOW)


def _spent(ledger: Ledger) -> list[int]:
    """Return how many attempts each batch used up."""
    with ledger.read() as connection:
        return list(connection.scalars(select(batch.c.attempts_spent)))


def _gaps(tries: Sequence[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(tries)]


def test_retries_go_through_both_stages_until_the_window_is_over(ledger: Ledger, shop: Integration) -> None:
    """Four short waits are Celery's, then the ledger's double up to a quarter of an hour, for two hours."""
    policy = replace(POLICY, window_seconds=2 * HOUR)
    line = Timeline(ledger, FakePinterest(DOWN), policy, dice=HIGHEST)
    _pend(ledger, shop, 3)
    line.live(3 * HOUR, step_seconds=STEP)
    gaps = _gaps(line.tries)
    assert gaps[:4] == pytest.approx([4, 8, 16, 32], abs=0.01)
    assert gaps[4:8] == pytest.approx([64, 128, 256, 512], abs=STEP)
    assert gaps[8:-1] == pytest.approx([900] * len(gaps[8:-1]), abs=STEP)
    # The last try is aimed a little behind the window's end.
    assert line.tries[-1] - line.tries[0] == pytest.approx(2 * HOUR, abs=STEP + 2)
    assert stand(ledger) == {"failed": 3}
    with ledger.read() as connection:
        numbers = list(connection.scalars(select(attempt.c.number).order_by(attempt.c.id)))
        reasons = {failure.reason_class for failure in failures.failed_after(connection, FailureFilter(), 10)}
    assert numbers == list(range(1, len(line.tries) + 1))
    assert reasons == {"unavailable"}


def test_what_failed_in_an_outage_is_delivered_after_one_retry_by_hand(
    ledger: Ledger, shop: Integration
) -> None:
    line = Timeline(ledger, FakePinterest(DOWN), replace(POLICY, window_seconds=60.0))
    _pend(ledger, shop, 5)
    line.live(300.0, step_seconds=10.0)
    assert stand(ledger) == {"failed": 5}
    line.pinterest.replies = [accepted]
    assert _retry(ledger, line.clock()) == 5
    # Requested twice.
    assert _retry(ledger, line.clock()) == 0
    line.live(10.0)
    assert stand(ledger) == {"delivered": 5}
    assert sorted(line.pinterest.received) == [f"e{number}" for number in range(5)]


def test_a_breaker_opens_probes_closes_and_drains(ledger: Ledger, shop: Integration) -> None:
    """While it is open nothing is sent, and waiting batches use no attempt; after one probe succeeds, all follow."""
    breaker = BreakerPolicy(failures_to_open=5, first_seconds=60.0, longest_seconds=300.0)
    line = Timeline(ledger, FakePinterest(DOWN), breaker=breaker)
    _pend(ledger, shop, 2)
    line.live(60.0)
    opened = len(line.tries)
    assert opened == 5
    _pend(ledger, shop, 2_500, "late")
    line.live(400.0, step_seconds=5.0)
    # Probes alone, each a single request: after 60 s, and then twice as long each time.
    assert _gaps(line.tries[opened - 1 :]) == pytest.approx([60.0, 120.0, 240.0], abs=6.0)
    line.pinterest.replies = [accepted]
    line.live(350.0, step_seconds=5.0)
    # The batch that met all the trouble waits for its own backoff to end, a quarter of an hour at most.
    assert stand(ledger) == {"delivered": 2_500, "in_flight": 2}
    line.live(600.0, step_seconds=60.0)
    assert stand(ledger) == {"delivered": 2_502}
    assert len(line.pinterest.received) == len(set(line.pinterest.received))
    # The batches behind it had no failed attempt.
    assert sum(spent == 0 for spent in _spent(ledger)) >= 2
    with ledger.read() as connection:
        account = ad_accounts.find_credential(connection, shop.credential_id)
    assert (account.breaker_failures, account.breaker_open_until) == (0, None)


def test_a_paused_account_sends_nothing_and_goes_on_where_it_was(ledger: Ledger, shop: Integration) -> None:
    line = Timeline(ledger, FakePinterest(accepted))
    _pend(ledger, shop, 2)
    line.live(5.0)
    _set_paused(ledger, shop, line.clock(), paused=True)
    _pend(ledger, shop, 3, "waits")
    line.live(12 * HOUR, step_seconds=900.0)
    assert stand(ledger) == {"delivered": 2, "pending": 3}
    _set_paused(ledger, shop, line.clock(), paused=False)
    line.live(5.0)
    assert stand(ledger) == {"delivered": 5}
    assert set(_spent(ledger)) == {0}


def test_a_pause_holds_a_batch_that_was_to_be_tried_again(ledger: Ledger, shop: Integration) -> None:
    """The message of its retry arrives while it is paused; the sweeper publishes a new one after the resume."""
    line = Timeline(ledger, FakePinterest(DOWN, accepted), dice=HIGHEST)
    _pend(ledger, shop, 2)
    line.live(3.0)
    assert len(line.tries) == 1
    _set_paused(ledger, shop, line.clock(), paused=True)
    line.live(2 * HOUR, step_seconds=300.0)
    assert len(line.tries) == 1
    assert stand(ledger) == {"in_flight": 2}
    _set_paused(ledger, shop, line.clock(), paused=False)
    line.live(40.0)
    assert stand(ledger) == {"delivered": 2}


@pytest.mark.parametrize("trouble", [answer(429, Retry_After="5"), DOWN], ids=["too fast", "down"])
@pytest.mark.parametrize(
    "token", [None, "pina_the_next"], ids=["resumed by an operator", "given a new token"]
)
def test_a_pause_that_outlasts_the_window_leaves_a_whole_window_after_it(
    ledger: Ledger, shop: Integration, trouble: Answer, token: str | None
) -> None:
    """A token that ends on a Friday and is renewed on a Monday fails nothing at the next trouble."""
    line = Timeline(ledger, FakePinterest(answer(401), trouble, accepted))
    pend(ledger, shop, 3, event_time=int(NOW + 99 * HOUR))
    line.live(60 * HOUR, step_seconds=2 * HOUR)
    assert stand(ledger) == {"in_flight": 3}
    with ledger.write() as connection:
        if token is None:
            assert ad_accounts.resume_credential(connection, shop.credential_id, now=line.clock())
        else:
            rate, vault, now = AccountRateLimit(100.0, 200), ledger.vault, line.clock()
            integrations.update_integration(connection, vault, shop, rate=rate, new_token=token, now=now)
    line.live(90.0)
    assert stand(ledger) == {"delivered": 3}
    assert len(line.tries) == 3


def test_a_hand_that_comes_during_automatic_retries_changes_nothing(
    ledger: Ledger, shop: Integration
) -> None:
    line = Timeline(ledger, FakePinterest(DOWN, DOWN, accepted))
    _pend(ledger, shop, 4)
    line.live(3.0)
    assert _retry(ledger, line.clock()) == 0
    line.live(60.0)
    assert stand(ledger) == {"delivered": 4}
    assert len(line.pinterest.received) == 4


def test_a_retry_by_hand_goes_on_automatically_and_has_a_window_of_its_own(
    ledger: Ledger, shop: Integration
) -> None:
    line = Timeline(ledger, FakePinterest(DOWN), replace(POLICY, window_seconds=60.0))
    _pend(ledger, shop, 1)
    line.live(300.0, step_seconds=10.0)
    assert _retry(ledger, line.clock()) == 1
    line.live(10.0)
    assert stand(ledger) == {"in_flight": 1}
    # While it is retried automatically, an operator finds nothing to retry.
    assert _retry(ledger, line.clock()) == 0
    line.pinterest.replies = [accepted]
    line.live(60.0)
    assert stand(ledger) == {"delivered": 1}
    assert close(ledger).deliveries["delivered"] == 1


def test_retries_do_not_starve_first_attempts(ledger: Ledger, shop: Integration) -> None:
    """One poisoned ad account retries for an hour; what comes in for another leaves within seconds."""
    other = place(ledger, "src_other", "549765662492")

    line = Timeline(ledger, _DownForAllBut("549765662492"))
    _pend(ledger, shop, 5_000)
    line.live(600.0, step_seconds=5.0)
    _pend(ledger, other, 10, "fresh")
    began = line.clock()
    line.live(5.0)
    assert {f"fresh{number}" for number in range(10)} <= set(line.pinterest.received)
    assert line.clock() - began == 5.0
    assert stand(ledger)["delivered"] == 10


class _DownForAllBut(FakePinterest):
    """Take the events of one ad account only."""

    def __init__(self, ad_account_id: str) -> None:
        super().__init__(accepted)
        self._well = ad_account_id

    def send(self, ad_account_id: str, access_token: str, body: bytes, test: bool) -> Answer:
        self.replies = [accepted if ad_account_id == self._well else DOWN]
        return super().send(ad_account_id, access_token, body, test)


# The broker


def test_an_hour_without_a_broker_is_caught_up_with_few_messages(ledger: Ledger) -> None:
    """There are no messages for events accepted meanwhile; the ledger alone brings all of them back."""
    place(ledger)
    # Ingest goes by the real clock, and that hour has to lie before it.
    t = Timeline(ledger, FakePinterest(accepted), clock=Clock(time.time() - 2 * HOUR), broker_is_up=False)
    seconds = 0
    while seconds < HOUR:
        events = [order(f"{seconds}-{number}") for number in range(10)]
        accept(ledger, events, received_at=t.clock.now)
        t.live(STEP, step_seconds=STEP)
        seconds += int(STEP)
    assert (t.ranges, t.pinterest.requests) == ([], [])

    t.broker_is_up, messages, began = True, 0, t.clock.now
    while len(t.pinterest.received) < 1_800 and t.clock.now < began + 300:
        t.live(2.0)
        ranges, t.ranges = t.ranges, []
        messages += len(ranges)
        for first, last in ranges:
            with ledger.read() as connection:
                ids = inbox.ids_between(connection, first, last)
            ingest(ledger, ids)

    assert len(t.pinterest.received) == len(set(t.pinterest.received)) == 1_800
    assert t.clock.now - began < 60
    # Up to 500 events each; the last to come were not overdue at first.
    assert messages <= 6
    close(ledger)
