"""A batch takes the oldest pending events, and each event is in one batch only."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.ledger.shop import NOW, new, pend, place, write
from worker.ledger.database import Ledger
from worker.ledger.delivery import failures, new_batches
from worker.ledger.delivery.new_batches import BatchGroup
from worker.ledger.schema import BatchStatus, batch, credential, delivery
from worker.ledger.setup import ad_accounts, integrations
from worker.ledger.setup.integrations import Integration


def group_of(shop: Integration, *, test: bool = False, offline: bool = False) -> BatchGroup:
    return BatchGroup(shop.credential_id, shop.ad_account, test, offline)


def claim(ledger: Ledger, group: BatchGroup, window: int = 24) -> int | None:
    with ledger.write() as connection:
        return new_batches.claim_batch(connection, group, window, NOW)


def groups(ledger: Ledger, now: float = NOW) -> dict[BatchGroup, float]:
    with ledger.read() as connection:
        return dict(new_batches.pending_groups(connection, now))


def members(ledger: Ledger, batch_id: int | None) -> list[str]:
    with ledger.read() as connection:
        wanted = select(delivery.c.event_id).where(delivery.c.batch_id == batch_id)
        return list(connection.scalars(wanted.order_by(delivery.c.id)))


@pytest.mark.parametrize(("test", "expected"), [(False, [1_000, 5]), (True, [20, 20])])
def test_a_batch_holds_a_thousand_events_or_twenty_in_test_mode(
    ledger: Ledger, test: bool, expected: list[int]
) -> None:
    shop = place(ledger)
    pend(ledger, shop, 1_005, test=test, payload=b"x")
    group = group_of(shop, test=test)
    assert expected == [len(members(ledger, claim(ledger, group))) for _ in range(2)]


def test_a_batch_holds_two_megabytes(ledger: Ledger) -> None:
    shop = place(ledger)
    pend(ledger, shop, 5, size_bytes=700_000)
    assert [len(members(ledger, claim(ledger, group_of(shop)))) for _ in range(3)] == [2, 2, 1]
    assert claim(ledger, group_of(shop)) is None


def test_an_event_that_is_larger_by_itself_goes_alone(ledger: Ledger) -> None:
    shop = place(ledger)
    pend(ledger, shop, 2, size_bytes=new_batches._BATCH_MAX_BYTES + 1)
    assert members(ledger, claim(ledger, group_of(shop))) == ["e0"]


def test_test_and_offline_events_have_batches_of_their_own(ledger: Ledger) -> None:
    shop = place(ledger)
    kinds = [(test, offline) for test in (False, True) for offline in (False, True)]
    for test, offline in kinds:
        pend(ledger, shop, 2, prefix=f"{test}{offline}", test=test, offline=offline, accepted_at=NOW - 5)
    assert dict.fromkeys((group_of(shop, test=t, offline=o) for t, o in kinds), NOW - 5) == groups(ledger)
    claimed = [members(ledger, claim(ledger, group_of(shop, test=t, offline=o))) for t, o in kinds]
    assert [[f"{t}{o}0", f"{t}{o}1"] for t, o in kinds] == claimed


def test_several_integrations_of_one_credential_are_merged_oldest_first(ledger: Ledger) -> None:
    first, second = place(ledger, "src_a"), place(ledger, "src_b")
    assert first.credential_id == second.credential_id
    for number, shop in enumerate([second, first, first, second]):
        write(ledger, [new(ledger, shop, f"e{number}", accepted_at=NOW + number)])
    assert {group_of(first): NOW} == groups(ledger)
    assert members(ledger, claim(ledger, group_of(first))) == ["e0", "e1", "e2", "e3"]


def queue_up(ledger: Ledger, shop: Integration, names: list[str], accepted_at: float) -> None:
    """Add pending test events whose ids follow the order of their names."""
    wanted = [
        new(ledger, shop, name, test=True, payload=b"x", accepted_at=accepted_at) for name in sorted(names)
    ]
    write(ledger, wanted)


def test_with_a_backlog_every_second_batch_takes_the_newest(ledger: Ledger) -> None:
    """After an outage new events share batches with the backlog; neither waits for the other."""
    shop = place(ledger)
    old, fresh = [f"old{n:02}" for n in range(60)], [f"fresh{n:02}" for n in range(15)]
    queue_up(ledger, shop, old, NOW - 3_600)
    queue_up(ledger, shop, fresh, NOW - 1)
    group = group_of(shop, test=True)
    batches = [members(ledger, claim(ledger, group)) for _ in range(4)]
    assert batches[0] == old[:10] + fresh[5:]
    assert batches[1][:10] == old[10:20]
    assert set(fresh[:5]) < set(batches[1])
    assert sorted(name for some in batches for name in some) == sorted(old + fresh)


def test_without_a_backlog_the_oldest_go_first(ledger: Ledger) -> None:
    shop = place(ledger)
    names = [f"e{n:02}" for n in range(30)]
    queue_up(ledger, shop, names, NOW - new_batches._BACKLOG_SECONDS + 1)
    assert members(ledger, claim(ledger, group_of(shop, test=True))) == names[:20]


def test_two_tokens_of_one_ad_account_share_no_request(ledger: Ledger) -> None:
    first, second = place(ledger, "src_a", token="pina_one"), place(ledger, "src_b", token="pina_two")
    assert (first.ad_account, first.credential_id != second.credential_id) == (second.ad_account, True)
    pend(ledger, first, 1, prefix="a")
    pend(ledger, second, 1, prefix="b")
    assert [members(ledger, claim(ledger, group_of(shop))) for shop in (first, second)] == [["a0"], ["b0"]]


def test_a_group_is_full_with_a_whole_batch_of_all_its_integrations(ledger: Ledger) -> None:
    first, second = place(ledger, "src_a"), place(ledger, "src_b")
    pend(ledger, first, 10, prefix="a", test=True)
    pend(ledger, second, 9, prefix="b", test=True)
    group = group_of(first, test=True)
    with ledger.read() as connection:
        assert not new_batches._has_full_batch(connection, group)
    pend(ledger, second, 1, prefix="c", test=True)
    with ledger.read() as connection:
        assert new_batches._has_full_batch(connection, group)


def test_the_window_is_kept_until_a_batch_settles(ledger: Ledger) -> None:
    shop = place(ledger)
    pend(ledger, shop, 50, test=True)
    group = group_of(shop, test=True)
    first = claim(ledger, group, window=2)
    assert claim(ledger, group, window=2) is not None
    assert claim(ledger, group, window=2) is None
    with ledger.write() as connection:
        connection.execute(update(batch).where(batch.c.id == first).values(status=BatchStatus.SETTLED))
    assert claim(ledger, group, window=2) is not None


@pytest.mark.parametrize(
    ("values", "takes_a_place"),
    [
        # Tried without success and postponed for a quarter of an hour: new events do not wait for these.
        ({"first_tried_at": NOW, "not_before": NOW + 900}, False),
        ({"first_tried_at": NOW, "not_before": NOW}, True),
        # Never tried: these wait for the ad account's rate, and others would only wait behind them.
        ({"first_tried_at": None, "not_before": NOW + 900}, True),
        ({"first_tried_at": NOW, "not_before": NOW + 900, "status": BatchStatus.SENDING}, True),
    ],
)
def test_retries_that_wait_hold_up_nothing_fresh(
    ledger: Ledger, values: dict[str, Any], takes_a_place: bool
) -> None:
    shop = place(ledger)
    pend(ledger, shop, 60, test=True, payload=b"x")
    group = group_of(shop, test=True)
    for _ in range(2):
        made = claim(ledger, group, window=2)
        with ledger.write() as connection:
            connection.execute(update(batch).where(batch.c.id == made).values(values))
    assert (claim(ledger, group, window=2) is None) == takes_a_place


def test_there_is_a_bound_on_retries_that_wait(ledger: Ledger) -> None:
    shop = place(ledger)
    pend(ledger, shop, 250, test=True, payload=b"x")
    group = group_of(shop, test=True)
    for _ in range(10):
        assert claim(ledger, group, window=1) is not None
        with ledger.write() as connection:
            connection.execute(update(batch).values(first_tried_at=NOW, not_before=NOW + 900))
    assert claim(ledger, group, window=1) is None


def test_a_disabled_integration_waits(ledger: Ledger) -> None:
    shop = place(ledger)
    pend(ledger, shop, 1)
    change(ledger, shop, enabled=False)
    assert groups(ledger) == {}
    assert claim(ledger, group_of(shop)) is None
    change(ledger, shop, enabled=True)
    assert members(ledger, claim(ledger, group_of(shop))) == ["e0"]


def change(ledger: Ledger, shop: Integration, **changes: Any) -> None:
    ledger.vault.prepare()
    with ledger.write() as connection:
        rate = ad_accounts.AccountRateLimit(100.0, 200)
        integrations.update_integration(
            connection, ledger.vault, replace(shop, **changes), rate=rate, new_token=None, now=NOW
        )


def test_a_paused_credential_waits(ledger: Ledger) -> None:
    shop = place(ledger)
    pend(ledger, shop, 1)
    with ledger.write() as connection:
        ad_accounts.pause_credential(connection, shop.credential_id, "forbidden", "HTTP 403", "delivery", NOW)
    assert groups(ledger) == {}
    assert claim(ledger, group_of(shop)) is None
    with ledger.write() as connection:
        ad_accounts.resume_credential(connection, shop.credential_id, now=NOW)
    assert [group_of(shop)] == list(groups(ledger))


def test_events_wait_for_an_open_breaker_until_a_probe_is_due(ledger: Ledger) -> None:
    shop = place(ledger)
    pend(ledger, shop, 1)
    with ledger.write() as connection:
        ad_accounts.set_breaker(connection, shop.credential_id, 5, NOW + 10)
    assert groups(ledger, NOW + 9) == {}
    assert [group_of(shop)] == list(groups(ledger, NOW + 10))


def test_batchers_at_once_never_claim_one_event_twice(ledger: Ledger) -> None:
    shop = place(ledger)
    pend(ledger, shop, 200, test=True, payload=b"x")
    group = group_of(shop, test=True)
    together = Barrier(4)

    def run(_: int) -> list[int]:
        together.wait()
        claimed = [claim(ledger, group, window=99) for _ in range(12)]
        return [one for one in claimed if one is not None]

    with ThreadPoolExecutor(4) as pool:
        made = [one for mine in pool.map(run, range(4)) for one in mine]
    while (more := claim(ledger, group, window=99)) is not None:
        made.append(more)
    found = [member for one in made for member in members(ledger, one)]
    assert sorted(f"e{number}" for number in range(200)) == sorted(found)


def test_an_event_discarded_during_a_claim_is_in_no_batch(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL an operator may discard events between reading and claiming."""
    shop = place(ledger)
    pend(ledger, shop, 3)
    read = new_batches._next_ids

    def read_then_discard(connection: Any, *where: Any) -> list[int]:
        ids = read(connection, *where)
        failures.end_discarded(connection, update(delivery).where(delivery.c.id == ids[0]), "Manually.", NOW)
        return ids

    monkeypatch.setattr(new_batches, "_next_ids", read_then_discard)
    made = claim(ledger, group_of(shop))
    assert members(ledger, made) == ["e1", "e2"]
    with ledger.read() as connection:
        assert connection.scalar(select(batch.c.events).where(batch.c.id == made)) == 2


def test_a_batcher_at_the_same_credential_is_not_waited_for(ledger: Ledger) -> None:
    if ledger.is_sqlite:
        # SQLite has a single writer.
        return
    shop = place(ledger)
    pend(ledger, shop, 1)
    with ledger.write() as connection:
        connection.execute(select(credential.c.id).with_for_update())
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(claim, ledger, group_of(shop)).result(5) is None


def test_a_batch_from_before_or_after_the_interval_does_not_make_events_wait(ledger: Ledger) -> None:
    shop = place(ledger)
    pend(ledger, shop, 1)
    claim(ledger, group_of(shop))
    with ledger.read() as connection:
        found = [
            new_batches._was_claimed_between(connection, group_of(shop), NOW + after, NOW + until)
            for after, until in ((-1, 0), (-1, 1), (0, 1), (-2, -1))
        ]
    assert found == [True, True, False, False]
