"""When every part of a batch is refused with the same message, the account is at fault."""

import time
from typing import Any

import pytest
from sqlalchemy import select

from tests.ledger.shop import pend, place, stand
from tests.pipeline.delivery.test_deliver_batch import fill_in, paused_class, reasons
from tests.pipeline.sandbox import FakePinterest, Stage, accepted, refused, refusing
from worker.ledger.database import Ledger
from worker.ledger.delivery.batch_history import RelatedBatch
from worker.ledger.schema import batch, credential
from worker.ledger.setup import ad_accounts
from worker.pinterest.client.client import Answer
from worker.pipeline.delivery.apply_decision import _ACCOUNT_REFUSED, _Culprit, _find_culprit

SAME = (("malformed", "HTTP 400, code 1: Invalid request 17"),)
SAME_BUT_FOR_A_NUMBER = (("malformed", "HTTP 400, code 1: Invalid request 99"),)
OTHER = (("malformed", "HTTP 400, code 1: data[3].currency is not one"),)


def family(events: int, *generations: list[Any]) -> list[RelatedBatch]:
    """Return a family: a first batch that was refused, and below it the tries of each part."""
    parts = [RelatedBatch(1, 0, events, is_live=False, has_delivered=False, tries=SAME)]
    for depth, tries in enumerate(generations, start=1):
        for part_tries in tries:
            delivered = part_tries == "delivered"
            parts.append(
                RelatedBatch(
                    len(parts) + 1,
                    depth,
                    max(1, events // len(tries)),
                    is_live=part_tries in ((), "live"),
                    has_delivered=delivered,
                    tries=() if delivered or part_tries == "live" else part_tries,
                )
            )
    return parts


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        # A single refusal proves nothing yet: the parts have no answers.
        (family(1_000, [(), ()]), _Culprit.UNDECIDED),
        (family(1_000, [SAME, ()]), _Culprit.UNDECIDED),
        # All eight parts of the third halving, with the same message: numbers do not count.
        (family(1_000, [SAME] * 2, [SAME] * 4, [SAME] * 7 + [SAME_BUT_FOR_A_NUMBER]), _Culprit.ACCOUNT),
        # One of the eight has no answer yet.
        (family(1_000, [SAME] * 2, [SAME] * 4, [SAME] * 7 + [()]), _Culprit.UNDECIDED),
        # Four parts are not enough to judge a thousand events by.
        (family(1_000, [SAME] * 2, [SAME] * 4, [()] * 8), _Culprit.UNDECIDED),
        # Of four to seven events all four parts are.
        (family(4, [SAME] * 2, [SAME] * 4), _Culprit.ACCOUNT),
        (family(7, [SAME] * 2, [SAME] * 4), _Culprit.ACCOUNT),
        (family(8, [SAME] * 2, [SAME] * 8), _Culprit.ACCOUNT),
        # Less than four events fail one by one.
        (family(3, [SAME] * 2, [SAME] * 3), _Culprit.EVENTS),
        (family(1), _Culprit.EVENTS),
        # Anything that was delivered shows that the account is well.
        (family(1_000, [SAME] * 2, [SAME] * 4, [SAME] * 7 + ["delivered"]), _Culprit.EVENTS),
        (family(4, [SAME, "delivered"], [SAME] * 2), _Culprit.EVENTS),
        # So does another message.
        (family(1_000, [SAME] * 2, [SAME] * 4, [SAME] * 7 + [OTHER]), _Culprit.EVENTS),
        (family(4, [SAME, OTHER], [(), ()]), _Culprit.EVENTS),
        # An operator resumed the account, so the account is right.
        (family(4, [SAME] * 2, [SAME] * 3 + [(*SAME, (_ACCOUNT_REFUSED, "…"))]), _Culprit.EVENTS),
        # All parts have answers, and there were never enough parts.
        (family(4, [SAME] * 2, [SAME] * 2), _Culprit.EVENTS),
        # A part without a refusal still needs an answer.
        (family(4, [SAME] * 2, [SAME] * 3 + ["live"]), _Culprit.UNDECIDED),
    ],
)
def test_a_family_is_judged_by_its_parts(parts: list[RelatedBatch], expected: _Culprit) -> None:
    assert _find_culprit(parts) is expected


@pytest.fixture
def ledger(sqlite_ledger: Ledger) -> Ledger:
    """Return one on SQLite: the ledger's own tests run the statements on both databases."""
    return sqlite_ledger


def stage(ledger: Ledger, events: int, reply: Any) -> Stage:
    pend(ledger, place(ledger), events, payload=None)
    fill_in(ledger)
    made = Stage(ledger, FakePinterest(reply))
    made.batch()
    return made


def batches_left(ledger: Ledger) -> list[int]:
    with ledger.read() as connection:
        return list(connection.scalars(select(batch.c.events).where(batch.c.status == 0)))


@pytest.mark.parametrize(("events", "requests"), [(1_000, 15), (8, 15), (7, 7), (4, 7)])
def test_an_account_that_refuses_everything_is_paused_and_keeps_its_events(
    ledger: Ledger, events: int, requests: int
) -> None:
    s = stage(ledger, events, refused("The ad account is not allowed to do this"))
    assert s.run() == requests
    assert paused_class(ledger) == _ACCOUNT_REFUSED
    assert stand(ledger) == {"in_flight": events}
    assert sum(batches_left(ledger)) == events
    with ledger.read() as connection:
        assert set(connection.scalars(select(batch.c.attempts_spent))) == {0}


def resume(ledger: Ledger) -> None:
    with ledger.write() as connection:
        number = connection.scalar(select(credential.c.id))
        assert number is not None
        assert ad_accounts.resume_credential(connection, number, now=time.time())


def send_the_rest(s: Stage, ledger: Ledger) -> None:
    for _ in range(40):
        with ledger.read() as connection:
            s.hinted = list(connection.scalars(select(batch.c.id).where(batch.c.status == 0)))
        if not s.hinted:
            return
        s.now += 1_000
        s.run()


@pytest.mark.parametrize("events", [4, 100])
def test_after_an_operator_resumes_a_working_account_all_is_delivered(ledger: Ledger, events: int) -> None:
    s = stage(ledger, events, refused("The ad account is not allowed to do this"))
    s.run()
    resume(ledger)
    s.pinterest.replies = [accepted]
    send_the_rest(s, ledger)
    assert stand(ledger) == {"delivered": events}


def test_after_an_operator_resumes_only_the_bad_events_fail(ledger: Ledger) -> None:
    """One bad event in every eighth looks like an account's fault; it must not pause the account for ever."""
    bad = {f"e{number}" for number in range(0, 96, 6)}
    s = stage(ledger, 96, refusing(*bad))
    s.run()
    assert paused_class(ledger) == _ACCOUNT_REFUSED
    assert stand(ledger).get("failed", 0) == 0
    resume(ledger)
    send_the_rest(s, ledger)
    assert paused_class(ledger) is None
    assert stand(ledger) == {"delivered": 80, "failed": 16}
    assert reasons(ledger) == dict.fromkeys(bad, "malformed")


@pytest.mark.parametrize("events", [1, 2, 3])
def test_few_events_fail_one_by_one(ledger: Ledger, events: int) -> None:
    s = stage(ledger, events, refused())
    s.run()
    assert paused_class(ledger) is None
    assert stand(ledger) == {"failed": events}


def test_different_messages_mean_bad_events(ledger: Ledger) -> None:
    def reply(events: list[dict[str, Any]]) -> Answer:
        words = ["currency", "email", "price", "name", "time", "place", "url", "id"]
        return refused(f"{words[int(events[0]['event_id'][1:]) % 8]} is wrong")

    s = stage(ledger, 16, reply)
    send_the_rest(s, ledger)
    assert paused_class(ledger) is None
    assert stand(ledger) == {"failed": 16}


def test_a_batch_of_one_fails_only_once_another_part_is_delivered(ledger: Ledger) -> None:
    """The bad event is sent first. It fails once another part shows that the account works."""
    s = stage(ledger, 4, refusing("e0"))
    (first,) = s.hinted
    s.deliver(first)
    left, right = s.hinted[1:]
    s.deliver(left)
    bad, good = s.hinted[3:]
    assert s.deliver(bad) == "postponed"
    assert [s.deliver(one) for one in (good, right)] == ["settled", "settled"]
    s.now += 10
    assert s.deliver(bad) == "settled"
    assert stand(ledger) == {"delivered": 3, "failed": 1}
