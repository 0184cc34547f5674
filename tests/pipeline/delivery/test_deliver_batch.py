"""A batch is sent, and every answer has its consequence for each event and for the account."""

import json
import pickle
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, func, select, update

from tests.ledger.shop import ACCOUNT, NOW, TOKEN, new, pend, place, stand, write
from tests.logged import logged
from tests.pipeline.sandbox import FakePinterest, Reply, Stage, accepted, answer, refused, refusing, trouble
from worker.ledger.database import Ledger, LedgerBusyError
from worker.ledger.delivery import batches
from worker.ledger.delivery.batches import Member
from worker.ledger.delivery.new_deliveries import PAYLOAD
from worker.ledger.reports import measures
from worker.ledger.schema import BatchStatus, attempt, batch, credential, delivery
from worker.ledger.setup import ad_accounts
from worker.ledger.setup.ad_accounts import AccountRateLimit
from worker.pinterest.client.breaker import BreakerPolicy
from worker.pinterest.client.client import Answer, SendFailure
from worker.pinterest.client.retry_delays import RetryPolicy, Wait
from worker.pipeline.delivery.deliver_batch import deliver, postpone_delivery
from worker.pipeline.delivery.delivery_context import PostponedError

HOUR = 3_600


@pytest.fixture
def ledger(sqlite_ledger: Ledger) -> Ledger:
    """Return one on SQLite: the ledger's own tests run the statements on both databases."""
    return sqlite_ledger


def stage(ledger: Ledger, *replies: Reply | Answer, events: int = 4, **changes: Any) -> Stage:
    pend(ledger, place(ledger), events, **changes)
    made = Stage(ledger, FakePinterest(*replies))
    made.batch()
    return made


def reasons(ledger: Ledger) -> dict[str, str | None]:
    with ledger.read() as connection:
        kept = select(delivery.c.event_id, delivery.c.reason_class).where(
            delivery.c.reason_class.is_not(None)
        )
        return {row.event_id: row.reason_class for row in connection.execute(kept)}


def row(ledger: Ledger, batch_id: int) -> Any:
    with ledger.read() as connection:
        return connection.execute(select(batch).where(batch.c.id == batch_id)).one()


def paused_class(ledger: Ledger) -> str | None:
    with ledger.read() as connection:
        return connection.scalar(select(credential.c.paused_class))


def test_a_good_batch_is_delivered_by_one_request(sqlite_ledger: Ledger) -> None:
    s = stage(sqlite_ledger)
    (batch_id,) = s.hinted
    assert s.deliver(batch_id) == "settled"
    assert s.pinterest.requests == [["e0", "e1", "e2", "e3"]]
    assert s.pinterest.sent_with == [(ACCOUNT, TOKEN, False)]
    assert stand(sqlite_ledger) == {"delivered": 4}


def test_a_batch_that_two_messages_name_is_sent_once(ledger: Ledger) -> None:
    s = stage(ledger)
    (batch_id,) = s.hinted
    assert [s.deliver(batch_id) for _ in range(3)] == ["settled", "skipped", "skipped"]
    assert len(s.pinterest.requests) == 1


def test_a_message_for_a_batch_that_is_not_there_is_left_alone(sqlite_ledger: Ledger) -> None:
    assert Stage(sqlite_ledger, FakePinterest()).deliver(12_345) == "skipped"


def test_of_a_partial_answer_each_event_has_its_own_end(ledger: Ledger) -> None:
    s = stage(ledger, lambda events: accepted(events, failed=["e1", "e3"]))
    s.run()
    assert stand(ledger) == {"delivered": 2, "failed": 2}
    assert reasons(ledger) == {"e1": "refused", "e3": "refused"}
    with ledger.read() as connection:
        kept = connection.execute(select(attempt.c.http_status, attempt.c.reason)).one()
    assert tuple(kept) == (200, "2 of 4 events failed, the first with: missing email")


def test_a_test_batch_is_sent_as_such_and_ends_as_tested(sqlite_ledger: Ledger) -> None:
    s = stage(sqlite_ledger, test=True)
    s.run()
    assert s.pinterest.sent_with == [(ACCOUNT, TOKEN, True)]
    assert stand(sqlite_ledger) == {"tested": 4}


@pytest.mark.parametrize("events", [2, 3, 40, 1_000])
def test_a_refused_batch_is_halved_until_the_culprit_stands_alone(ledger: Ledger, events: int) -> None:
    s = stage(ledger, refusing("e1"), events=events, payload=None)
    fill_in(ledger)
    assert s.run() <= 1 + 2 * (events - 1).bit_length()
    assert stand(ledger) == {"delivered": events - 1, "failed": 1}
    assert reasons(ledger) == {"e1": "malformed"}


def test_three_bad_events_in_a_thousand_cost_at_most_55_requests(sqlite_ledger: Ledger) -> None:
    s = stage(sqlite_ledger, refusing("e3", "e501", "e998"), events=1_000, payload=None)
    fill_in(sqlite_ledger)
    assert s.run() <= 55
    assert stand(sqlite_ledger) == {"delivered": 997, "failed": 3}
    assert sorted(s.pinterest.received) == sorted(set(s.pinterest.received))


def fill_in(ledger: Ledger) -> None:
    """Give a thousand deliveries a short text each, for sealing them one by one takes its time."""
    with ledger.write() as connection:
        for number, event_id in connection.execute(select(delivery.c.id, delivery.c.event_id)).all():
            sealed = ledger.vault.seal(f'{{"event_id":"{event_id}"}}'.encode(), b"payload")
            connection.execute(update(delivery).where(delivery.c.id == number).values(payload=sealed))


@pytest.mark.parametrize(
    ("status", "reason_class"),
    [(401, "unauthorized"), (402, "account_blocked"), (403, "forbidden"), (404, "no_such_account")],
)
def test_a_refused_token_pauses_the_account_and_costs_no_attempt(
    ledger: Ledger, status: int, reason_class: str
) -> None:
    s = stage(ledger, answer(status, {"code": status, "message": "no"}), accepted)
    (batch_id,) = s.hinted
    assert s.deliver(batch_id) == "paused"
    assert paused_class(ledger) == reason_class
    kept = row(ledger, batch_id)
    assert (kept.status, kept.attempts_spent) == (BatchStatus.READY, 0)
    assert s.deliver(batch_id) == "skipped"
    with ledger.write() as connection:
        ad_accounts.resume_credential(connection, kept.credential_id, now=NOW)
    assert s.deliver(batch_id) == "settled"
    assert stand(ledger) == {"delivered": 4}


def test_a_bad_token_of_one_integration_stops_no_others_good_one(ledger: Ledger) -> None:
    for name, token in (("src_a", "pina_bad"), ("src_b", "pina_good")):
        pend(ledger, place(ledger, name, token=token), 2, prefix=name)
    s = Stage(ledger, FakePinterest())
    s.pinterest.replies = [
        lambda events: answer(401) if s.pinterest.sent_with[-1][1] == "pina_bad" else accepted(events)
    ]
    s.batch()
    s.run()
    assert stand(ledger) == {"delivered": 2, "in_flight": 2}


def test_a_refusal_for_speed_slows_the_account_and_costs_no_attempt(ledger: Ledger) -> None:
    s = stage(ledger, answer(429, Retry_After="30"), accepted)
    (batch_id,) = s.hinted
    assert s.deliver(batch_id) == "postponed"
    kept = row(ledger, batch_id)
    # The dice add half of the first step to what Pinterest asked for.
    assert (kept.attempts_spent, kept.not_before) == (0, NOW + 32)
    pend(ledger, place(ledger, "src_b"), 1, prefix="other")
    s.hinted.clear()
    s.batch()
    (other,) = s.hinted
    assert s.deliver(other) == "skipped"
    assert row(ledger, other).not_before == pytest.approx(NOW + 32, abs=0.1)
    s.now = NOW + 32.1
    assert [s.deliver(one) for one in (batch_id, other)] == ["settled", "settled"]


@pytest.mark.parametrize(
    "reply", [answer(500), answer(503), trouble(SendFailure.NOT_SENT), trouble(SendFailure.UNKNOWN)]
)
def test_trouble_is_tried_again_and_delivered_once_it_is_over(ledger: Ledger, reply: Answer) -> None:
    s = stage(ledger, reply, reply, accepted)
    (batch_id,) = s.hinted
    assert s.deliver(batch_id) == "postponed"
    assert s.deliver(batch_id) == "skipped"
    s.now += 10
    assert s.deliver(batch_id) == "postponed"
    s.now += 20
    assert s.deliver(batch_id) == "settled"
    kept = row(ledger, batch_id)
    assert (kept.attempt, kept.attempts_spent) == (3, 2)
    assert stand(ledger) == {"delivered": 4}


def test_long_trouble_is_left_to_the_ledger_and_fails_when_the_window_is_over(ledger: Ledger) -> None:
    s = stage(ledger, answer(503), event_time=int(NOW + 99 * HOUR))
    s.policy = RetryPolicy(max_attempts=3, base_seconds=4.0, window_seconds=3_000.0)
    (batch_id,) = s.hinted
    ends = []
    while not ends or ends[-1] != "settled":
        ends.append(s.deliver(batch_id))
        s.now = max(s.now, row(ledger, batch_id).not_before)
        assert len(ends) < 40
    assert ends[:3] == ["postponed", "postponed", "left to the ledger"]
    assert NOW + 3_000 <= s.now <= NOW + 3_010
    assert stand(ledger) == {"failed": 4}
    assert set(reasons(ledger).values()) == {"unavailable"}
    with ledger.read() as connection:
        assert connection.scalar(select(func.count()).select_from(attempt)) == len(ends)


def test_an_answer_that_makes_no_sense_is_tried_twice_and_then_failed(ledger: Ledger) -> None:
    s = stage(ledger, answer(200, {"events": []}))
    (batch_id,) = s.hinted
    assert s.deliver(batch_id) == "postponed"
    assert row(ledger, batch_id).unreadable_answers == 1
    s.now += 10
    assert s.deliver(batch_id) == "settled"
    assert stand(ledger) == {"failed": 4}
    assert set(reasons(ledger).values()) == {"unreadable"}


@pytest.mark.parametrize(
    "reply", [trouble(SendFailure.UNKNOWN), answer(500), answer(200, {"events": []}), answer(422)]
)
def test_offline_events_of_unknown_outcome_wait_for_a_hand(ledger: Ledger, reply: Answer) -> None:
    s = stage(ledger, reply, offline=True)
    assert s.run() == 1
    assert stand(ledger) == {"failed": 4}
    assert set(reasons(ledger).values()) == {"unknown_outcome"}


def test_offline_events_that_were_not_sent_for_sure_are_tried_again(ledger: Ledger) -> None:
    s = stage(ledger, trouble(SendFailure.NOT_SENT), accepted, offline=True)
    (batch_id,) = s.hinted
    assert s.deliver(batch_id) == "postponed"
    s.now += 10
    assert s.deliver(batch_id) == "settled"


def test_late_events_of_unknown_outcome_wait_for_a_hand_and_the_others_go_on(ledger: Ledger) -> None:
    shop = place(ledger)
    late = {"event_time": int(NOW) - HOUR - 5}
    write(ledger, [new(ledger, shop, "late", **late), new(ledger, shop, "fresh"), new(ledger, shop, "fine")])
    s = Stage(ledger, FakePinterest(trouble(SendFailure.UNKNOWN), accepted))
    s.batch()
    (batch_id,) = s.hinted
    assert s.deliver(batch_id) == "split"
    assert reasons(ledger) == {"late": "unknown_outcome"}
    with ledger.read() as connection:
        part = connection.execute(select(batch).where(batch.c.parent_id == batch_id)).one()
    # The attempt counts for the part, and its backoff holds.
    assert (part.events, part.attempts_spent, part.not_before) == (2, 1, NOW + 2)
    s.now += 10
    assert s.deliver(part.id) == "settled"
    assert sorted(s.pinterest.requests[-1]) == ["fine", "fresh"]
    assert stand(ledger) == {"delivered": 2, "failed": 1}


def test_an_event_that_turns_late_while_it_waits_is_not_sent_again(ledger: Ledger) -> None:
    """Its next try would come when a second copy is no longer deduplicated."""
    s = stage(ledger, answer(503, Retry_After="600"), event_time=int(NOW) - HOUR + 300)
    assert s.run() == 1
    assert set(reasons(ledger).values()) == {"unknown_outcome"}


def test_a_try_without_a_clear_answer_is_remembered_however_long_the_batch_waits(ledger: Ledger) -> None:
    """A later refusal to connect makes the first try's outcome no clearer."""
    s = stage(ledger, answer(503), trouble(SendFailure.NOT_SENT), accepted, event_time=int(NOW) - 60)
    (batch_id,) = s.hinted
    assert s.deliver(batch_id) == "postponed"
    s.now += HOUR - 120
    assert s.deliver(batch_id) != "settled"
    s.now += HOUR
    assert s.deliver(batch_id) == "settled"
    assert len(s.pinterest.requests) == 2
    assert set(reasons(ledger).values()) == {"unknown_outcome"}


def test_late_events_that_were_never_sent_go_out(ledger: Ledger) -> None:
    s = stage(ledger, trouble(SendFailure.NOT_SENT), accepted, event_time=int(NOW) - HOUR - 60)
    (batch_id,) = s.hinted
    assert s.deliver(batch_id) == "postponed"
    s.now += 10
    assert s.deliver(batch_id) == "settled"
    assert stand(ledger) == {"delivered": 4}


def test_what_cannot_be_opened_is_set_apart_and_the_others_go_on(ledger: Ledger) -> None:
    s = stage(ledger)
    with ledger.write() as connection:
        first = select(func.min(delivery.c.id)).scalar_subquery()
        connection.execute(update(delivery).where(delivery.c.id == first).values(payload=b"\0" * 40))
    s.run()
    assert s.pinterest.requests == [["e1", "e2", "e3"]]
    assert stand(ledger) == {"delivered": 3, "failed": 1}
    assert reasons(ledger) == {"e0": "unopened"}


def test_a_token_that_cannot_be_opened_pauses_the_account(ledger: Ledger) -> None:
    s = stage(ledger)
    with ledger.write() as connection:
        connection.execute(update(credential).values(token=b"\0" * 40))
    (batch_id,) = s.hinted
    assert s.deliver(batch_id) == "paused"
    assert (paused_class(ledger), s.pinterest.requests) == ("not_sendable", [])
    assert stand(ledger) == {"in_flight": 4}


def test_a_short_wait_for_the_rate_is_slept_and_a_longer_one_put_off(ledger: Ledger) -> None:
    shop = place(ledger, rate=AccountRateLimit(1.0, 1))
    pend(ledger, shop, 80, test=True)
    s = Stage(ledger, FakePinterest())
    s.batch()
    ends = [s.deliver(batch_id) for batch_id in s.hinted]
    assert ends == ["settled", "settled", "settled", "skipped"]
    assert s.slept == pytest.approx([1.0, 2.0], abs=0.01)
    left = s.hinted[-1]
    kept = row(ledger, left)
    assert (kept.status, kept.attempt, kept.not_before) == (
        BatchStatus.READY,
        0,
        pytest.approx(NOW + 3, abs=0.01),
    )
    s.now = kept.not_before
    assert s.deliver(left) == "settled"


def test_what_takes_time_is_done_before_the_turn_has_come(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rate is one of arrivals: a batch that is read after its turn would come close to the next one."""
    pend(ledger, place(ledger, rate=AccountRateLimit(1.0, 1)), 1)
    s = Stage(ledger, FakePinterest())
    (batch_id,) = s.batch()
    with ledger.write() as connection:
        ad_accounts.take_token(connection, 1, NOW)
    read = batches.batch_members

    def read_slowly(connection: Connection, batch_id: int) -> list[Member]:
        s.now += 0.4
        return read(connection, batch_id)

    monkeypatch.setattr(batches, "batch_members", read_slowly)
    assert s.deliver(batch_id) == "settled"
    assert s.slept == [pytest.approx(0.6, abs=0.01)]


def test_halves_pay_for_the_rate_as_well(ledger: Ledger) -> None:
    pend(ledger, place(ledger, rate=AccountRateLimit(1.0, 3)), 2)
    s = Stage(ledger, FakePinterest(refusing("e0")))
    s.batch()
    assert s.run() == 3
    with ledger.write() as connection:
        number = connection.scalar(select(credential.c.ad_account)) or 0
        assert ad_accounts.take_token(connection, number, NOW) == pytest.approx(1.0, abs=0.01)


def test_a_worker_that_was_overtaken_writes_nothing(ledger: Ledger) -> None:
    s = stage(ledger)
    (batch_id,) = s.hinted

    def while_the_lease_runs_out(events: list[dict[str, Any]]) -> Answer:
        s.now += 100
        with ledger.write() as connection:
            lost = batches.lock_expired_batch(connection, batch_id, s.now)
            assert lost is not None
            batches.requeue_batch(connection, lost, s.now, spent=True)
        return accepted(events)

    s.pinterest.replies = [while_the_lease_runs_out, accepted]
    assert s.deliver(batch_id) == "lease lost"
    assert stand(ledger) == {"in_flight": 4}
    assert s.deliver(batch_id) == "settled"
    assert stand(ledger) == {"delivered": 4}


@pytest.mark.parametrize("reply", [answer(500), answer(401), refused(), answer(429)])
def test_a_worker_that_was_overtaken_puts_nothing_off_either(ledger: Ledger, reply: Answer) -> None:
    s = stage(ledger)
    (batch_id,) = s.hinted

    def while_another_settles(events: list[dict[str, Any]]) -> Answer:
        with ledger.write() as connection:
            connection.execute(update(batch).values(status=BatchStatus.SETTLED, attempt=9, settled_at=NOW))
        return reply

    s.pinterest.replies = [while_another_settles]
    s.deliver(batch_id)
    assert (row(ledger, batch_id).status, s.hinted[1:]) == (BatchStatus.SETTLED, [])


def test_repeated_trouble_opens_the_breaker_and_one_probe_closes_it(ledger: Ledger) -> None:
    pend(ledger, place(ledger), 80, test=True)
    s = Stage(ledger, FakePinterest(answer(503), answer(503), accepted), breaker=BreakerPolicy(2, 10.0))
    s.batch()
    first, second, third, fourth = s.hinted
    assert [s.deliver(one) for one in (first, second)] == ["postponed", "postponed"]
    # Open: nothing is sent, and no attempt is spent.
    assert [s.deliver(one) for one in (third, fourth)] == ["skipped", "skipped"]
    assert (row(ledger, third).attempt, row(ledger, third).not_before) == (0, NOW + 10)
    beside: list[str] = []

    def while_another_tries(events: list[dict[str, Any]]) -> Answer:
        beside.append(s.deliver(fourth))
        return accepted(events)

    s.now = NOW + 10
    s.pinterest.replies = [while_another_tries, accepted]
    assert (s.deliver(third), beside) == ("settled", ["skipped"])
    s.now = NOW + 11
    assert [s.deliver(one) for one in (fourth, first, second)] == ["settled"] * 3


def test_the_log_says_how_a_batch_ended_and_when_the_breaker_changes(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    """Operators search for these."""

    def one_fails(events: list[dict[str, Any]]) -> Answer:
        return accepted(events, failed=[events[0]["event_id"]])

    caplog.set_level("INFO")
    pend(ledger, place(ledger), 40, test=True)
    s = Stage(ledger, FakePinterest(answer(503), one_fails), breaker=BreakerPolicy(1, 10.0))
    s.batch()
    first, second = s.hinted
    s.deliver(first)
    s.now += 10
    s.deliver(second)
    told = [one for one in logged(caplog) if one["event"] in ("breaker", "batch_settled")]
    assert [(one["event"], one.get("state"), one.get("seconds")) for one in told] == [
        ("breaker", "open", 10),
        ("breaker", "closed", 0),
        ("batch_settled", None, None),
    ]
    assert (told[-1]["delivered"], told[-1]["failed"]) == (19, 1)


def test_a_postponed_batch_travels_between_processes(ledger: Ledger) -> None:
    s = stage(ledger)
    with ledger.write() as connection:
        started = batches.start_batch(connection, s.hinted[0], 60, NOW)
    assert isinstance(started, batches.StartedBatch)
    error = PostponedError(started, Wait("celery", 3.0), spent=True)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - we pickled it ourselves
    assert (copy.started, copy.wait, copy.spent, copy.unreadable) == (started, error.wait, True, False)
    assert str(copy) == f"batch {started.id} is due again in 3.0 s"


def measured(ledger: Ledger) -> measures.Measured:
    with ledger.read() as connection:
        return measures.measure_totals(connection)


def test_failures_and_warnings_are_counted_with_the_batch_that_they_end_with(ledger: Ledger) -> None:
    def reply(events: list[dict[str, Any]]) -> Answer:
        made = [{"status": "processed"} for _ in events]
        warning = {"warning_message": "currency is unknown"}
        made[0] = {"status": "failed", "error_message": "missing email"} | warning
        made[1] = {"status": "processed"} | warning
        return answer(200, {"num_events_received": len(events), "events": made})

    stage(ledger, reply).run()

    found = measured(ledger)
    assert (found.n(measures.FAILED, "refused"), found.n(measures.WARNED)) == (1, 2)


def test_a_batch_that_is_put_back_counts_as_a_retry_of_its_class(ledger: Ledger) -> None:
    s = stage(ledger, answer(503), answer(429), accepted)
    (batch_id,) = s.hinted
    for _ in range(3):
        s.deliver(batch_id)
        s.now += 60

    found = measured(ledger)
    assert stand(ledger) == {"delivered": 4}
    assert {str(one): found.n(measures.RETRIED, one) for one in ("unavailable", "rate_limited")} == {
        "unavailable": 1,
        "rate_limited": 1,
    }


def test_every_request_is_measured_by_its_time_and_its_size(ledger: Ledger) -> None:
    pend(ledger, place(ledger), 4)
    s = Stage(ledger, FakePinterest(answer(503), trouble(SendFailure.UNKNOWN), accepted))
    s.batch()
    (batch_id,) = s.hinted
    context = s.context
    for _ in range(3):
        try:
            deliver(context, batch_id)
        except PostponedError as postponed:
            postpone_delivery(context, postponed)
        s.now += 60
    context.meter.write(ledger)

    found = measured(ledger)
    for status in ("5xx", "none", "2xx"):
        buckets = {bound: one.n for bound, one in found.buckets(measures.REQUEST_SECONDS, status) if one.n}
        assert (status, buckets) == (status, {0.1: 1})
    sizes = {bound: (one.n, one.total) for bound, one in found.buckets(measures.BATCH_EVENTS) if one.n}
    assert sizes == {10.0: (3, 12.0)}


def test_a_name_that_pinterest_repeats_is_neither_stored_nor_logged(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    """In the answer about one event, and in the one about a whole request."""
    shop = place(ledger)
    payload = {"event_id": "e0", "event_name": "checkout", "custom_data": {"search_string": "Jane Doerner"}}
    text = json.dumps(payload).encode()
    write(ledger, [new(ledger, shop, "e0", payload=ledger.vault.seal(text, PAYLOAD), size_bytes=len(text))])
    said = "search_string Jane Doerner is refused"
    of_event = answer(200, {"events": [{"status": "failed", "error_message": said}]})
    s = Stage(ledger, FakePinterest(answer(500, {"message": said}), of_event))
    (batch_id,) = s.batch()
    s.deliver(batch_id)
    s.now += 60
    s.deliver(batch_id)
    with ledger.read() as connection:
        reasons = [
            *connection.scalars(select(delivery.c.reason)),
            *connection.scalars(select(attempt.c.reason)),
        ]
    assert "search_string [sent] is refused" in reasons
    assert "HTTP 500: search_string [sent] is refused" in reasons
    assert [word for word in ("Jane", "Doerner") if word in f"{reasons} {caplog.text}"] == []


def test_only_an_event_without_a_clear_result_may_have_arrived(ledger: Ledger) -> None:
    def reply(events: list[dict[str, Any]]) -> Answer:
        made: list[dict[str, Any]] = [{"status": "processed"} for _ in events]
        made[0] = {"status": "failed", "error_message": "missing email"}
        made[1] = {"status": "perhaps"}
        return answer(200, {"num_events_received": len(events), "events": made})

    stage(ledger, reply).run()

    with ledger.read() as connection:
        rows = connection.execute(select(delivery.c.reason_class, delivery.c.may_have_arrived))
        assert sorted((name or "", arrived) for name, arrived in rows) == [
            ("", 0),
            ("", 0),
            ("refused", 0),
            ("unreadable", 1),
        ]


def test_a_wrong_statement_is_not_tried_again_but_an_outage_is(ledger: Ledger) -> None:
    slept: list[float] = []
    context = replace(stage(ledger, accepted).context, sleep=slept.append)
    tries = iter([LedgerBusyError("busy"), None])

    def work(_connection: Connection) -> str:
        error = next(tries)
        if error is not None:
            raise error
        return "done"

    assert (context.write(work), len(slept)) == ("done", 1)
    with pytest.raises(ZeroDivisionError):
        context.write(lambda _connection: 1 // 0)
    assert len(slept) == 1
