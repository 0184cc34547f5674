"""What must not be sent now is set apart, and costs the rest nothing."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, text, update

from tests.conftest import KEY
from tests.ledger.shop import NOW, RATE, pend, place, stand
from tests.logged import logged
from tests.pipeline.sandbox import FakePinterest, Stage, accepted, answer, refusing, trouble
from tests.pipeline.upkeep.test_sweeping import LATER, Sent
from worker.alerts import rules
from worker.alerts.rule_figures import gather_figures
from worker.ledger.database import Ledger
from worker.ledger.delivery import batches, failures
from worker.ledger.delivery.failures import FailureFilter
from worker.ledger.schema import Arrival, attempt, batch, data_key, delivery
from worker.ledger.setup import ad_accounts, integrations
from worker.pinterest.client.breaker import BreakerPolicy
from worker.pinterest.client.client import SendFailure

HOUR = 3_600.0
UNKNOWN = [answer(500), answer(502), answer(504), trouble(SendFailure.UNKNOWN), answer(418), answer(200, {})]
KNOWN = [
    answer(429),
    answer(503, {"code": 4197, "message": "off"}),
    trouble(SendFailure.NOT_SENT),
    answer(307),
    answer(401),
    answer(423),
]
OUTCOMES = [(one, Arrival.POSSIBLE) for one in UNKNOWN] + [(one, Arrival.NO) for one in KNOWN]


def arrivals(ledger: Ledger) -> set[int]:
    with ledger.read() as connection:
        return set(connection.scalars(select(delivery.c.may_have_arrived)))


def one_batch(ledger: Ledger, *replies: Any, count: int = 2, **changes: Any) -> tuple[Stage, int]:
    pend(ledger, place(ledger), count, **changes)
    stage = Stage(ledger, FakePinterest(*replies))
    (batch_id,) = stage.batch()
    stage.hinted.clear()
    return stage, batch_id


def retry(ledger: Ledger, now: float, **named: Any) -> int:
    with ledger.read() as connection:
        found = failures.failed_after(connection, FailureFilter(), 100)
    with ledger.write() as connection:
        return failures.retry_deliveries(connection, found, now, "kim", **named).retried


@pytest.mark.parametrize(("reply", "arrival"), OUTCOMES)
def test_an_outcome_that_is_unknown_is_remembered_of_each_event(
    sqlite_ledger: Ledger, reply: Any, arrival: Arrival
) -> None:
    stage, batch_id = one_batch(sqlite_ledger, reply)
    stage.deliver(batch_id)
    assert arrivals(sqlite_ledger) == {arrival}


def test_halves_of_a_422_remember_it_and_those_of_a_400_have_nothing_to_remember(ledger: Ledger) -> None:
    stage, batch_id = one_batch(ledger, answer(422, {"code": 1}), answer(503), count=4)
    stage.deliver(batch_id)
    assert (arrivals(ledger), len(stage.hinted)) == ({Arrival.POSSIBLE}, 2)
    other = Stage(ledger, FakePinterest(refusing("f0")))
    pend(ledger, place(ledger, "src_b", "77", "pina_b"), 4, prefix="f")
    other.batch()
    other.run()
    with ledger.read() as connection:
        found = select(delivery.c.may_have_arrived).where(delivery.c.event_id.startswith("f"))
        assert set(connection.scalars(found)) == {Arrival.NO}


def test_it_is_remembered_through_a_switch_off_and_a_new_batch(ledger: Ledger) -> None:
    """Two hours later Pinterest may not recognise a second copy, and the new batch has no attempts of its own."""
    stage, batch_id = one_batch(ledger, answer(500), accepted)
    stage.deliver(batch_id)
    with ledger.write() as connection:
        shop = integrations.load_integration(connection, "int_src_shop_549765662491")
        assert shop is not None
        for enabled in (False, True):
            shop = integrations.update_integration(
                connection, ledger.vault, replace(shop, enabled=enabled), rate=RATE, new_token=None, now=NOW
            )
    stage.now += 2 * HOUR
    stage.batch()
    stage.run()
    assert (len(stage.pinterest.requests), stand(ledger)) == (1, {"failed": 2})


def test_it_is_remembered_when_it_fails_and_is_retried_automatically(ledger: Ledger) -> None:
    stage, batch_id = one_batch(ledger, answer(500), accepted)
    stage.policy = replace(stage.policy, window_seconds=-1.0)
    stage.deliver(batch_id)
    assert stand(ledger) == {"failed": 2}
    assert retry(ledger, NOW + 60, how="by itself") == 2
    stage.now += 2 * HOUR
    stage.batch()
    stage.run()
    assert (len(stage.pinterest.requests), stand(ledger)) == (1, {"failed": 2})


def test_a_person_may_send_it_again_and_it_is_still_remembered(ledger: Ledger) -> None:
    stage, batch_id = one_batch(ledger, answer(500), trouble(SendFailure.NOT_SENT), accepted)
    stage.deliver(batch_id)
    stage.now += 2 * HOUR
    stage.deliver(batch_id)
    assert stand(ledger) == {"failed": 2}
    # The person decides: it is sent although it is old.
    assert retry(ledger, stage.now) == 2
    stage.batch()
    stage.run()
    assert (len(stage.pinterest.requests), arrivals(ledger)) == (2, {Arrival.SENT_AGAIN})
    # The new attempt reached nobody, and the decision holds.
    stage.now += 60
    with ledger.read() as connection:
        (again,) = connection.scalars(select(batch.c.id).where(batch.c.status == 0))
    assert stage.deliver(again) == "settled"


def test_a_lost_worker_may_have_sent_it(ledger: Ledger) -> None:
    _stage, batch_id = one_batch(ledger)
    with ledger.write() as connection:
        batches.start_batch(connection, batch_id, 60.0, NOW)
    Sent().sweep(ledger, LATER)
    assert arrivals(ledger) == {Arrival.POSSIBLE}


def open_breaker(ledger: Ledger, stage: Stage) -> int:
    with ledger.write() as connection:
        number = connection.scalar(select(batch.c.credential_id)) or 0
        ad_accounts.set_breaker(connection, number, 9, NOW)
    return number


@pytest.mark.parametrize("why", ["unopened", "risky", "token", "orphan", "key"])
def test_a_probe_that_is_set_apart_unsent_lets_another_batch_probe(ledger: Ledger, why: str) -> None:
    pend(ledger, place(ledger), 40, test=True)
    stage = Stage(ledger, FakePinterest())
    first, second = stage.batch()
    open_breaker(ledger, stage)
    with ledger.write() as connection:
        of_first = update(delivery).where(delivery.c.batch_id == first)
        if why == "unopened":
            connection.execute(of_first.values(payload=b"broken"))
        elif why == "risky":
            connection.execute(of_first.values(may_have_arrived=1, event_time=int(NOW - 2 * HOUR)))
        elif why == "orphan":
            connection.execute(of_first.values(integration_id=99))
        elif why == "token":
            connection.execute(text("UPDATE credential SET token = :token"), {"token": b"broken"})
    if why == "key":
        stranger(ledger, first)
    else:
        stage.deliver(first)
    if why == "token":
        with ledger.read() as connection:
            assert connection.scalar(text("SELECT breaker_probe_until FROM credential")) is None
        return
    assert stage.deliver(second) == "settled"


def stranger(ledger: Ledger, batch_id: int) -> str:
    """Deliver in a process that was not restarted for the new key."""
    with ledger.write() as connection:
        wrapped = connection.execute(select(data_key.c.id, data_key.c.wrapped)).all()
        for row in wrapped:
            connection.execute(
                update(data_key).where(data_key.c.id == row.id).values(wrapped=b"none" + row.wrapped[4:])
            )
    other = Ledger(ledger.url, (KEY,))
    try:
        return Stage(other, FakePinterest()).deliver(batch_id)
    finally:
        other.dispose()
        with ledger.write() as connection:
            for row in wrapped:
                connection.execute(
                    update(data_key).where(data_key.c.id == row.id).values(wrapped=row.wrapped)
                )


def test_a_process_without_the_key_gives_its_batch_back_and_an_alert_fires(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    stage, batch_id = one_batch(ledger)
    assert stranger(ledger, batch_id) == "released"
    assert stand(ledger) == {"in_flight": 2}
    assert [one["event"] for one in logged(caplog)] == ["key_missing"]
    with ledger.snapshot() as connection:
        figures = gather_figures(connection, 10**12, time.time())
        assert connection.scalar(select(attempt.c.id)) is None
    found = [problem.rule for problem in rules.find_problems(figures)]
    assert "key_missing" in found
    assert "token_refused" not in found
    # A process that has the key sends it.
    assert stage.deliver(batch_id) == "skipped"
    stage.now += 30
    assert stage.deliver(batch_id) == "settled"


def test_failures_that_are_counted_at_the_same_time_all_count(ledger: Ledger) -> None:
    pend(ledger, place(ledger), 160, test=True)
    barrier = threading.Barrier(8)

    def fail_together(_events: object) -> Any:
        barrier.wait(20)
        return answer(503)

    stage = Stage(ledger, FakePinterest(fail_together), breaker=BreakerPolicy(failures_to_open=99))
    made = stage.batch()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(stage.deliver, made))
    with ledger.read() as connection:
        number = connection.scalar(select(batch.c.credential_id)) or 0
        assert ad_accounts.find_credential(connection, number).breaker_failures == 8


@pytest.mark.services
@pytest.mark.parametrize("how", ["resume", "automatic", "change"])
def test_starts_of_probes_and_changes_do_not_deadlock(postgresql_url: str, how: str) -> None:
    """Both lock rows of the ad account, the credential and its batches, a hundred times at once."""
    ledger = Ledger(postgresql_url, (KEY,))
    ledger.vault.prepare()
    shop = place(ledger)
    pend(ledger, shop, 100, test=True)
    stage = Stage(ledger, FakePinterest())
    made = stage.batch()
    errors: list[str] = []

    def start(batch_id: int) -> None:
        for _ in range(20):
            with ledger.write() as connection:
                if not isinstance(batches.start_batch(connection, batch_id, 60.0, NOW), batches.StartedBatch):
                    connection.rollback()
                    continue
                connection.execute(
                    update(batch)
                    .where(batch.c.id == batch_id)
                    .values(status=0, not_before=NOW, first_tried_at=NOW)
                )

    def disturb(_number: int) -> None:
        for turn in range(20):
            with ledger.write() as connection:
                if how == "change":
                    integrations.update_integration(
                        connection,
                        ledger.vault,
                        shop,
                        rate=replace(RATE, burst=100 + turn),
                        new_token="pina_the_token_of_the_shop",
                        now=NOW,
                    )
                else:
                    ad_accounts.pause_credential(connection, shop.credential_id, "forbidden", "x", "y", NOW)
                    ad_accounts.resume_credential(
                        connection, shop.credential_id, now=NOW, is_manual=how == "resume"
                    )
                    ad_accounts.set_breaker(connection, shop.credential_id, 9, NOW - 1)

    def caught(work: Callable[[int], None], number: int) -> None:
        try:
            work(number)
        except Exception as error:  # noqa: BLE001 - any error is the test's finding
            errors.append(repr(error)[:200])

    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(caught, start, batch_id) for batch_id in made]
        jobs += [pool.submit(caught, disturb, number) for number in range(3)]
        for job in jobs:
            job.result()
    ledger.dispose()
    assert errors == []
