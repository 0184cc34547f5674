"""Ad accounts have a rate that all workers share; credentials have pauses and breakers."""

import random
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from tests.ledger.shop import NOW, place
from worker.ledger.database import Ledger
from worker.ledger.schema import ad_account, credential
from worker.ledger.setup import ad_accounts
from worker.ledger.setup.ad_accounts import AccountRateLimit


def enrol(ledger: Ledger, rate: AccountRateLimit, name: str = "1") -> int:
    with ledger.write() as connection:
        return ad_accounts.get_or_create_ad_account(connection, name, rate)


def take(ledger: Ledger, account: int, now: float) -> float:
    with ledger.write() as connection:
        return ad_accounts.take_token(connection, account, now)


def assert_within(rate: AccountRateLimit, departures: list[float]) -> None:
    """In any period at most burst + rps x its length requests are sent."""
    times = sorted(departures)
    for first, begins in enumerate(times):
        for last in range(first, len(times)):
            most = rate.burst + rate.rps * (times[last] - begins)
            # Times are floats of today's size: a microsecond is below their precision.
            assert last - first + 1 <= most + 1e-3 * rate.rps + 1e-6


def test_an_idle_bucket_allows_its_burst_and_then_its_rate(ledger: Ledger) -> None:
    account = enrol(ledger, AccountRateLimit(2.0, 3))
    waits = [take(ledger, account, NOW) for _ in range(6)]
    assert waits == pytest.approx([0, 0, 0, 0.5, 1.0, 1.5], abs=1e-5)


def test_an_idle_time_refills_no_more_than_the_burst(ledger: Ledger) -> None:
    account = enrol(ledger, AccountRateLimit(2.0, 3))
    for _ in range(3):
        take(ledger, account, NOW)
    assert [take(ledger, account, NOW + 3_600) for _ in range(4)] == pytest.approx([0, 0, 0, 0.5], abs=1e-5)


def test_a_request_that_is_rolled_back_spends_nothing(ledger: Ledger) -> None:
    account = enrol(ledger, AccountRateLimit(1.0, 1))
    take(ledger, account, NOW)
    for _ in range(3):
        with ledger.write() as connection:
            assert ad_accounts.take_token(connection, account, NOW) == pytest.approx(1.0, abs=1e-5)
            connection.rollback()


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(
    st.floats(0.5, 200.0),
    st.integers(1, 20),
    st.lists(st.floats(0.0, 0.4), min_size=5, max_size=40),
)
def test_no_pattern_of_requests_beats_the_rate(
    sqlite_ledger: Ledger, rps: float, burst: int, gaps: list[float]
) -> None:
    rate = AccountRateLimit(rps, burst)
    account = enrol(sqlite_ledger, rate, f"{random.getrandbits(60)}")
    now, departures = NOW, []
    for gap in gaps:
        now += gap
        wait = take(sqlite_ledger, account, now)
        departures.append(now + wait)
    assert_within(rate, departures)


def test_many_workers_together_keep_the_rate(ledger: Ledger) -> None:
    """Each worker has a clock that is slightly wrong and sends at the time it was given."""
    rate = AccountRateLimit(50.0, 10)
    account = enrol(ledger, rate)
    departures: list[float] = []
    together, lock, clock = Barrier(4), Lock(), [NOW]

    def work(number: int) -> None:
        together.wait()
        for _ in range(25):
            with lock:
                clock[0] += 0.004
                now = clock[0]
            wait = take(ledger, account, now)
            with lock:
                departures.append(now + wait)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert len(departures) == 100
    assert_within(rate, departures)
    # The full rate is used: the last request is sent when the bucket allows it.
    assert max(departures) == pytest.approx(NOW + 0.004 + (100 - 10) / 50.0, abs=0.15)


def test_a_clock_that_stepped_back_by_hours_stops_no_account_until_it_has_caught_up(ledger: Ledger) -> None:
    account = enrol(ledger, AccountRateLimit(1.0, 1))
    for _ in range(3):
        take(ledger, account, NOW)
    assert take(ledger, account, NOW - 7_200) == 0.0
    # From there on the rate holds as usual.
    assert take(ledger, account, NOW - 7_200) == pytest.approx(1.0, abs=1e-5)


def test_a_rate_limit_answer_may_last_an_hour(ledger: Ledger) -> None:
    account = enrol(ledger, AccountRateLimit(10.0, 5))
    with ledger.write() as connection:
        ad_accounts.hold_requests_until(connection, account, NOW + 3_600)
    assert take(ledger, account, NOW) == pytest.approx(3_600, abs=1e-3)


def test_a_rate_limit_answer_holds_all_requests_until_then(ledger: Ledger) -> None:
    account = enrol(ledger, AccountRateLimit(10.0, 5))
    with ledger.write() as connection:
        ad_accounts.hold_requests_until(connection, account, NOW + 30)
        # A shorter one changes nothing.
        ad_accounts.hold_requests_until(connection, account, NOW + 5)
    assert [take(ledger, account, NOW) for _ in range(2)] == pytest.approx([30.0, 30.1], abs=1e-4)
    # Afterwards the usual rate applies, without a saved-up burst.
    assert take(ledger, account, NOW + 30.2) == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize(
    ("spent", "rate", "expected"),
    [
        # The burst of 10 is spent: at the new rate the next request waits one interval.
        (10, AccountRateLimit(1.0, 10), 1.0),
        (10, AccountRateLimit(100.0, 10), 0.01),
        # A larger burst leaves some requests; a smaller one must be earned back.
        (10, AccountRateLimit(1.0, 12), 0.0),
        (10, AccountRateLimit(1.0, 8), 3.0),
        (0, AccountRateLimit(1.0, 1), 0.0),
    ],
)
def test_a_new_rate_holds_from_the_next_request_on_and_forgets_nothing(
    ledger: Ledger, spent: int, rate: AccountRateLimit, expected: float
) -> None:
    account = enrol(ledger, AccountRateLimit(10.0, 10))
    for _ in range(spent):
        take(ledger, account, NOW)
    with ledger.write() as connection:
        ad_accounts.set_rate_limit(connection, account, rate, NOW)
    assert take(ledger, account, NOW) == pytest.approx(expected, abs=1e-4)


def test_an_account_is_created_once_and_takes_a_new_rate(ledger: Ledger) -> None:
    together = Barrier(4)

    def run(number: int) -> int:
        together.wait()
        return enrol(ledger, AccountRateLimit(10.0 + number, 5))

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(run, range(4)))) == 1
    enrol(ledger, AccountRateLimit(3.0, 4))
    with ledger.read() as connection:
        kept = select(ad_account.c.rate_limit_rps, ad_account.c.rate_limit_burst)
        assert [tuple(row) for row in connection.execute(kept)] == [(3.0, 4)]


def test_two_concurrent_calls_create_one_credential(ledger: Ledger) -> None:
    account = enrol(ledger, AccountRateLimit(1.0, 1))
    together = Barrier(4)

    def run(_: int) -> int:
        together.wait()
        with ledger.write() as connection:
            return ad_accounts.get_or_create_credential(connection, ledger.vault, account, "pina_same", NOW)

    with ThreadPoolExecutor(4) as pool:
        (number,) = set(pool.map(run, range(4)))
    with ledger.read() as connection:
        assert connection.scalar(select(func.count()).select_from(credential)) == 1
        assert ad_accounts.access_token(connection, ledger.vault, number) == "pina_same"
        sealed = connection.scalar(select(credential.c.token))
    assert sealed is not None
    assert b"pina_same" not in sealed


def test_the_first_pause_counts_and_a_resume_clears_it(ledger: Ledger) -> None:
    number = place(ledger).credential_id
    with ledger.write() as connection:
        assert ad_accounts.pause_credential(connection, number, "unauthorized", "HTTP 401", "delivery", NOW)
        assert not ad_accounts.pause_credential(
            connection, number, "forbidden", "HTTP 403", "delivery", NOW + 1
        )
        found = ad_accounts.find_credential(connection, number)
        assert (found.paused_class, found.paused_by, found.paused_at) == ("unauthorized", "delivery", NOW)
        assert ad_accounts.resume_credential(connection, number, now=NOW)
        assert not ad_accounts.resume_credential(connection, number, now=NOW)
        assert ad_accounts.find_credential(connection, number).paused_class is None


def test_one_batch_at_a_time_probes_an_open_breaker(ledger: Ledger) -> None:
    number = place(ledger).credential_id
    with ledger.write() as connection:
        assert not ad_accounts.begin_probe(connection, number, 60, NOW)
        ad_accounts.set_breaker(connection, number, 5, NOW + 10)
        assert not ad_accounts.begin_probe(connection, number, 60, NOW + 9)
        assert ad_accounts.begin_probe(connection, number, 60, NOW + 10)
        assert not ad_accounts.begin_probe(connection, number, 60, NOW + 11)
        # A probe ends with its lease if its worker died.
        assert ad_accounts.begin_probe(connection, number, 60, NOW + 70)
        ad_accounts.set_breaker(connection, number, 0, None)
        assert ad_accounts.find_credential(connection, number).breaker_open_until is None


def test_a_missing_credential_is_named(ledger: Ledger) -> None:
    with ledger.read() as connection, pytest.raises(LookupError, match="credential 99"):
        ad_accounts.access_token(connection, ledger.vault, 99)


def test_the_rate_check_covers_every_period() -> None:
    """The check detects a bucket that allows twice its burst around an edge."""
    with pytest.raises(AssertionError):
        assert_within(AccountRateLimit(1.0, 2), [0.9, 0.9, 1.0, 1.0])


def test_accounts_and_tokens_do_not_affect_each_other(ledger: Ledger) -> None:
    """Rate, rate-limit answer, breaker and probe are independent."""
    one = place(ledger)
    others = [place(ledger, "src_token", token="pina_other"), place(ledger, "src_far", "549765662499")]
    with ledger.write() as connection:
        ad_accounts.set_breaker(connection, one.credential_id, 5, NOW)
        ad_accounts.take_token(connection, one.ad_account, NOW)
        ad_accounts.hold_requests_until(connection, one.ad_account, NOW + 600)
        for other in others:
            found = ad_accounts.find_credential(connection, other.credential_id)
            assert (found.breaker_failures, found.breaker_open_until) == (0, None)
            ad_accounts.set_breaker(connection, other.credential_id, 5, NOW)
        for each in (one, *others):
            assert ad_accounts.begin_probe(connection, each.credential_id, 60.0, NOW)
        far = others[1].ad_account
        assert not connection.scalar(select(ad_account.c.arrival_at).where(ad_account.c.id == far))
