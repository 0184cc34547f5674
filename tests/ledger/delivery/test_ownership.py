"""Whatever becomes of an integration, what waits belongs to one that can send it."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.ledger.shop import ACCOUNT, NOW, RATE, TOKEN, pend, place, stand
from tests.pipeline.sandbox import FakePinterest, Stage, accepted, answer
from worker.ledger.database import Ledger
from worker.ledger.delivery import ownership
from worker.ledger.reports import books
from worker.ledger.schema import batch, delivery
from worker.ledger.schema import integration as integration_table
from worker.ledger.setup import ad_accounts, integrations
from worker.ledger.setup.integrations import Integration


def change(ledger: Ledger, one: Integration, token: str | None = None, **changes: Any) -> Integration:
    with ledger.write() as connection:
        return integrations.update_integration(
            connection, ledger.vault, replace(one, **changes), rate=RATE, new_token=token, now=NOW + 1
        )


def postponed(ledger: Ledger, *replies: Any) -> Stage:
    """Return a stage whose batches wait for their second attempt."""
    stage = Stage(ledger, FakePinterest(*(replies or (answer(503), accepted))))
    stage.batch()
    stage.run()
    return stage


def go_on(stage: Stage) -> None:
    """Let everything be sent that can be."""
    stage.now += 60
    stage.batch()
    with stage.ledger.read() as connection:
        stage.hinted.extend(connection.scalars(select(batch.c.id).where(batch.c.status == 0)))
    stage.run()


def test_the_switch_takes_back_what_waits_for_a_retry(ledger: Ledger) -> None:
    shop = place(ledger)
    pend(ledger, shop, 3)
    stage = postponed(ledger)
    assert stand(ledger) == {"in_flight": 3}

    off = change(ledger, shop, enabled=False)
    go_on(stage)
    assert (len(stage.pinterest.requests), stand(ledger)) == (1, {"pending": 3})

    change(ledger, off, enabled=True)
    go_on(stage)
    assert stand(ledger) == {"delivered": 3}


def test_of_a_batch_that_two_share_only_the_disabled_ones_leave(ledger: Ledger) -> None:
    shop, other = place(ledger), place(ledger, "src_other")
    pend(ledger, shop, 2, prefix="a")
    pend(ledger, other, 2, prefix="b")
    stage = postponed(ledger)
    change(ledger, other, enabled=False)
    go_on(stage)

    assert sorted(stage.pinterest.received) == ["a0", "a1"]
    assert stand(ledger) == {"delivered": 2, "pending": 2}


@pytest.mark.parametrize("reply", [answer(503), answer(429), answer(401), answer(400, {"message": "bad"})])
def test_what_is_being_sent_when_it_is_switched_off_is_not_sent_again(ledger: Ledger, reply: Any) -> None:
    shop = place(ledger)
    pend(ledger, shop, 4)

    def off_meanwhile(_events: object) -> Any:
        change(ledger, shop, enabled=False)
        return reply

    stage = postponed(ledger, off_meanwhile, accepted)
    go_on(stage)
    assert (stage.pinterest.received, stand(ledger)) == ([], {"pending": 4})


def test_a_claim_that_races_with_the_switch_sends_nothing(ledger: Ledger) -> None:
    """The batch was made from what was read before the switch."""
    shop = place(ledger)
    pend(ledger, shop, 2)
    stage = Stage(ledger, FakePinterest())
    stage.batch()
    with ledger.write() as connection:
        connection.execute(update(integration_table).values(enabled=False))
    with ledger.snapshot() as connection:
        assert not books.balance_books(connection).balance

    assert stage.deliver(stage.hinted.pop()) == "released"
    assert (stage.pinterest.requests, stand(ledger)) == ([], {"pending": 2})


@pytest.mark.parametrize("far", [False, True])
def test_what_lost_its_integration_is_never_sent(ledger: Ledger, far: bool) -> None:
    """Not even where the ledger was changed behind the service: the integration is gone, or has moved."""
    shop = place(ledger)
    pend(ledger, shop, 2)
    stage = Stage(ledger, FakePinterest())
    stage.batch()
    other = place(ledger, "src_far", "22", "pina_of_another")
    with ledger.write() as connection:
        if far:
            values = {"ad_account": other.ad_account, "credential_id": other.credential_id}
            connection.execute(
                update(integration_table).where(integration_table.c.id == shop.number).values(values)
            )
        else:
            integrations.remove_integration(connection, shop.number)
    with ledger.snapshot() as connection:
        lines = books.recount_books(connection).lines
    assert [line.what for line in lines if not line.balances] == [
        "waiting batches with an integration that can send them",
        "waiting deliveries with an integration",
    ]
    stage.run()
    assert (stage.pinterest.requests, stand(ledger)) == ([], {"discarded": 2})


def test_a_claim_takes_no_event_of_another_ad_account(ledger: Ledger) -> None:
    shop, far = place(ledger), place(ledger, "src_far", "22", "pina_of_another")
    pend(ledger, shop, 2, prefix="near")
    pend(ledger, far, 2, prefix="far")
    with ledger.write() as connection:
        connection.execute(
            update(delivery).where(delivery.c.event_id == "near0").values(ad_account=far.ad_account)
        )
    stage = Stage(ledger, FakePinterest())
    stage.batch()
    stage.run()
    assert sorted(stage.pinterest.received) == ["far0", "far1", "near1"]


def test_a_batch_is_never_sent_with_the_token_of_another_ad_account(ledger: Ledger) -> None:
    shop, far = place(ledger), place(ledger, "src_far", "22", "pina_of_another")
    pend(ledger, shop, 2)
    stage = Stage(ledger, FakePinterest())
    stage.batch()
    with ledger.write() as connection:
        connection.execute(update(batch).values(credential_id=far.credential_id))
    stage.run()
    assert stage.pinterest.requests == []


def test_an_integration_added_again_takes_over_what_hangs_on_the_refused_token(ledger: Ledger) -> None:
    shop = place(ledger)
    pend(ledger, shop, 3)
    stage = postponed(ledger, answer(401, {"message": "expired"}), accepted)
    pend(ledger, shop, 2, prefix="waits")
    with ledger.write() as connection:
        integrations.remove_integration(connection, shop.number)
        assert ad_accounts.find_credential(connection, shop.credential_id).paused_at is not None

    again = place(ledger, token="pina_the_new_token")
    assert stand(ledger) == {"pending": 5}
    go_on(stage)
    assert stand(ledger) == {"delivered": 5}
    assert stage.pinterest.sent_with[1:] == [(ACCOUNT, "pina_the_new_token", False)]
    with ledger.read() as connection:
        assert set(connection.scalars(select(delivery.c.integration_id))) == {again.number}


def test_a_new_token_of_one_integration_takes_its_events_along(ledger: Ledger) -> None:
    """Another one still sends with the old token, which Pinterest refuses."""
    shop, other = place(ledger), place(ledger, "src_other")
    pend(ledger, shop, 2, prefix="a")
    pend(ledger, other, 2, prefix="b")
    stage = postponed(ledger, answer(401, {"message": "expired"}), accepted)
    change(ledger, shop, "pina_the_new_token")
    go_on(stage)
    assert sorted(stage.pinterest.received) == ["a0", "a1"]
    assert [token for _, token, _ in stage.pinterest.sent_with] == [TOKEN, "pina_the_new_token"]
    assert stand(ledger) == {"delivered": 2, "in_flight": 2}


def test_a_disabled_integration_does_not_keep_batches_on_its_old_token(ledger: Ledger) -> None:
    shop, other = place(ledger), place(ledger, "src_other")
    change(ledger, other, enabled=False)
    pend(ledger, shop, 2)
    stage = postponed(ledger, answer(401, {"message": "expired"}), accepted)
    change(ledger, shop, "pina_the_new_token")
    go_on(stage)
    assert stand(ledger) == {"delivered": 2}


def test_what_waits_is_handed_over_with_its_count(ledger: Ledger) -> None:
    shop, heir = place(ledger), place(ledger, "src_heir", token="pina_of_the_heir")
    pend(ledger, shop, 5)
    stage = postponed(ledger)
    with ledger.write() as connection:
        assert ownership.count_unsent(connection, shop.number).in_batches == 5
        assert ownership.take_back(connection, shop.number, NOW) == 5
        steps = [ownership.hand_over_pending(connection, shop.number, heir.number, NOW, 3) for _ in range(3)]
        assert steps == [3, 2, 0]
        integrations.remove_integration(connection, shop.number)
    go_on(stage)
    assert stand(ledger) == {"delivered": 5}
    assert stage.pinterest.sent_with[-1] == (ACCOUNT, "pina_of_the_heir", False)
