"""Each change of an alert is reported once, in the log and to the webhook, by the first process that checks."""

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from tests.alerts.receiver import receiving
from tests.ledger.delivery.test_signed_precedence import DELIVERED, P, S, bring_to, copy
from tests.ledger.shop import ACCOUNT, NOW, accept, new, pend, place, write
from tests.logged import logged
from worker.alerts import lifecycle, source_rules
from worker.alerts.channels import WebhookChannel
from worker.alerts.lifecycle import _RESOLVE_AFTER_SECONDS
from worker.alerts.rule_figures import gather_figures
from worker.ledger.database import Ledger
from worker.ledger.intake import inbox
from worker.ledger.reports import measures
from worker.ledger.schema import State, alert_notice, credential, delivery, source, tally
from worker.ledger.setup import ad_accounts
from worker.ledger.setup.integrations import Integration
from worker.ledger.upkeep import alerts
from worker.ledger.upkeep.alerts import Change

HERE = ("127.0.0.1",)
SECRET = "a-secret-of-the-tests"
ROOM = 10 * 1024**3


def alive(ledger: Ledger, now: float = NOW) -> None:
    """Let beat and the upkeep worker be there."""
    with ledger.write() as connection:
        measures.record_heartbeat(connection, measures.BATCHER, now)
        measures.record_heartbeat(connection, measures.SWEEPER, now)


def watch(ledger: Ledger, now: float = NOW, *, to_webhook: bool = False) -> list[Change]:
    alive(ledger, now)
    return lifecycle.check_figures(ledger, lambda: ROOM, now, to_webhook=to_webhook)


def firing(ledger: Ledger) -> list[str]:
    with ledger.read() as connection:
        return [f"{one.rule} {one.subject}" for one in alerts.firing_alerts(connection)]


def refuse_token(ledger: Ledger) -> Integration:
    shop = place(ledger)
    with ledger.write() as connection:
        ad_accounts.pause_credential(
            connection, shop.credential_id, "unauthorized", "Token gone.", "delivery", NOW
        )
    return shop


def tell(ledger: Ledger, url: str, now: float = NOW) -> int:
    return lifecycle.send_notices(ledger, WebhookChannel(url, SECRET, HERE), lambda: now)


def notices(ledger: Ledger) -> list[Any]:
    with ledger.read() as connection:
        return list(connection.execute(select(alert_notice).order_by(alert_notice.c.id)))


def test_a_ledger_in_good_order_tells_nothing(ledger: Ledger) -> None:
    pend(ledger, place(ledger), 3)

    assert watch(ledger) == []
    assert firing(ledger) == []


def test_a_forged_event_that_was_sent_before_the_signed_one_raises_an_alert(ledger: Ledger) -> None:
    """The alert ends by itself some hours after the last such event."""
    shop = place(ledger)
    write(ledger, [copy(ledger, shop, P, 1)])
    bring_to(ledger, shop, DELIVERED)
    write(ledger, [copy(ledger, shop, S, 1, event_id="ORD-2")])
    assert watch(ledger) == []
    write(ledger, [copy(ledger, shop, S, 499)])
    settle_all(ledger)
    assert watch(ledger) == [Change.FIRED]
    assert firing(ledger) == [f"event_ids_used_before {ACCOUNT}"]
    assert watch(ledger, NOW + 3 * 3600) == [Change.RESOLVED]


def settle_all(ledger: Ledger) -> None:
    """Let everything that waits be delivered."""
    with ledger.write() as connection:
        connection.execute(update(delivery).values(state=State.DISCARDED.value, batch_id=None))


def test_it_is_told_once_and_when_it_is_over(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    shop = refuse_token(ledger)
    with caplog.at_level(logging.WARNING):
        told = [watch(ledger, NOW + 30 * n) for n in range(4)]
    assert told == [[Change.FIRED], [], [], []]
    assert firing(ledger) == [f"token_refused {ACCOUNT}"]
    assert logged(caplog) == [
        {
            "event": "alert",
            "rule": "token_refused",
            "subject": ACCOUNT,
            "change": "fired",
            "severity": "critical",
            "summary": f"Pinterest refuses ad account {ACCOUNT} (unauthorized): Token gone.",
        }
    ]

    with ledger.write() as connection:
        ad_accounts.resume_credential(connection, shop.credential_id, now=NOW)
    assert [watch(ledger, NOW + 90 + seconds) for seconds in (30, _RESOLVE_AFTER_SECONDS)] == [
        [],
        [Change.RESOLVED],
    ]
    assert firing(ledger) == []


def test_two_upkeep_workers_tell_it_once(ledger: Ledger) -> None:
    refuse_token(ledger)
    alive(ledger)
    with ThreadPoolExecutor(4) as pool:
        looks = [
            pool.submit(lifecycle.check_figures, ledger, lambda: ROOM, NOW + n, to_webhook=False)
            for n in range(12)
        ]
        told = [change for look in looks for change in look.result()]
    assert told == [Change.FIRED]
    assert len(notices(ledger)) == 1


def test_a_restart_tells_nothing_twice(ledger: Ledger) -> None:
    refuse_token(ledger)
    assert watch(ledger) == [Change.FIRED]
    url = ledger.url.render_as_string(hide_password=False)
    again = Ledger(url, ("ab" * 32,))
    assert watch(again, NOW + 30) == []
    again.dispose()


def test_each_figure_is_found_in_the_ledger(ledger: Ledger) -> None:
    shop = place(ledger, token_expires_at="2025-06-20T00:00:00Z")
    pend(ledger, shop, 2, event_time=int(NOW - 5_000), accepted_at=NOW - 4_000)
    write(
        ledger,
        [
            new(ledger, shop, "gone", state=State.FAILED, reason_class="no_answer", reason="No answer."),
            new(ledger, shop, "bad", state=State.FAILED, reason_class="missing_value", reason="No value."),
        ],
    )
    with ledger.write() as connection:
        ad_accounts.set_breaker(connection, shop.credential_id, 9, NOW + 60)
    (event_id,) = accept(ledger, [{"type": "track", "event": "x"}], received_at=NOW - 20)
    with ledger.write() as connection:
        inbox.park_event(connection, event_id, "broken")
    accept(ledger, [{"type": "track", "event": "x"}], received_at=NOW - 10)
    alive(ledger, NOW - 1)

    with ledger.snapshot() as connection:
        found = gather_figures(connection, ROOM, NOW)

    (account,) = found.accounts
    assert (account.ad_account_id, account.waiting, account.waiting_since) == (ACCOUNT, 2, NOW - 4_000)
    assert (account.oldest_event_at, account.exhausted) == (NOW - 5_000, 1)
    assert (account.breaker_open_until, account.paused_class) == (NOW + 60, None)
    assert [token.expires_at for token in found.tokens] == [1_750_377_600.0]
    assert (found.inbox_since, found.parked, found.free_bytes) == (NOW - 10, 1, ROOM)
    assert found.pulses == {"batcher": NOW - 1, "sweeper": NOW - 1}
    assert found.full_sources == ()


def test_the_pace_of_an_account_is_what_was_delivered_an_hour(ledger: Ledger) -> None:
    shop = place(ledger)
    hour = int(NOW // 3_600)
    with ledger.write() as connection:
        for back, n in ((0, 30), (1, 60), (2, 1_000)):
            row = {"source_id": "", "integration_id": shop.number, "event_name": "", "outcome": "delivered"}
            connection.execute(insert(tally).values(hour=hour - back, n=n, **row))
    with ledger.snapshot() as connection:
        (account,) = gather_figures(connection, ROOM, (hour + 0.5) * 3_600).accounts
    assert account.delivered_an_hour == 60


def test_a_source_near_its_bound_is_counted_and_told(ledger: Ledger) -> None:
    place(ledger)
    accept(ledger, [{"type": "track", "event": "x"} for _ in range(8)])
    assert watch(ledger) == []
    with ledger.write() as connection:
        connection.execute(update(source).values(options={"backlog_limit": 10}))
    assert watch(ledger, NOW + 30) == [Change.FIRED]
    assert firing(ledger) == ["inbox_near_bound src_shop"]


def test_events_that_stopped_coming_are_told(ledger: Ledger) -> None:
    shop = place(ledger)
    hour = int(NOW // 3_600)
    row = {
        "source_id": "src_shop",
        "integration_id": shop.number,
        "event_name": "checkout",
        "outcome": "created",
    }
    with ledger.write() as connection:
        rows = [{"hour": hour - back, "n": 25, **row} for back in range(2, 200)]
        connection.execute(insert(tally), rows)
    assert source_rules.check_volume(ledger, NOW, to_webhook=False) == [Change.FIRED]
    assert firing(ledger) == [f"volume_dropped {shop.id}:checkout"]
    # The other rules know nothing of it, and do not end it.
    assert watch(ledger, NOW + 600) == []
    with ledger.write() as connection:
        connection.execute(insert(tally).values(hour=hour, n=1, **row))
    assert source_rules.check_volume(ledger, NOW + 600, to_webhook=False) == [Change.RESOLVED]


def test_a_queue_that_no_worker_reads_is_reported_until_it_is_read(ledger: Ledger) -> None:
    def check(seconds: float, queues: dict[str, int] | None) -> list[Change]:
        alive(ledger, NOW + seconds)
        return lifecycle.check_figures(ledger, lambda: ROOM, NOW + seconds, to_webhook=False, queues=queues)

    full, read = {"events": 5, "events-2": 1_002}, {"events": 5, "events-2": 0}
    assert [check(0, full), check(290, full), check(301, full)] == [[], [], [Change.FIRED]]
    assert firing(ledger) == ["queue_unread events-2"]
    # The broker is away, so nothing is known.
    assert check(400, None) == check(400 + _RESOLVE_AFTER_SECONDS, None) == []
    assert check(401 + _RESOLVE_AFTER_SECONDS, read) == [Change.RESOLVED]


def test_waiting_events_are_counted_as_far_as_the_longest_queue(ledger: Ledger) -> None:
    accept(ledger, [{"type": "track", "event": "x"} for _ in range(8)])
    with ledger.read() as connection:
        counted = [
            gather_figures(connection, ROOM, NOW, queues).waiting
            for queues in (None, {"events": 5}, {"events": 9, "events-2": 1})
        ]
    assert counted == [0, 5, 8]


def test_silence_is_told_by_whoever_looks(ledger: Ledger) -> None:
    told = [
        lifecycle.check_figures(ledger, lambda: ROOM, NOW + seconds, to_webhook=False)
        for seconds in (0, 30, 60)
    ]
    assert told == [[], [], [Change.FIRED, Change.FIRED]]
    assert firing(ledger) == ["batcher_silent batcher", "sweeper_silent sweeper"]


def test_the_webhook_gets_every_change_once_and_in_order(ledger: Ledger) -> None:
    shop = refuse_token(ledger)
    with receiving() as receiver:
        watch(ledger, to_webhook=True)
        assert tell(ledger, receiver.url) == 1
        assert tell(ledger, receiver.url, NOW + 100) == 0
        with ledger.write() as connection:
            ad_accounts.resume_credential(connection, shop.credential_id, now=NOW)
        watch(ledger, NOW + 150, to_webhook=True)
        assert tell(ledger, receiver.url, NOW + 151) == 1

    first, second = map(json.loads, receiver.bodies)
    assert (first["change"], second["change"]) == ("fired", "resolved")
    assert first["rule"] == "token_refused"
    assert "access token" in first["what_to_do"]
    assert first["text"].startswith("Critical: Pinterest refuses ad account")
    assert [row.told_at for row in notices(ledger)] == [NOW, NOW + 151]


def test_a_webhook_that_fails_is_told_again_and_later_ones_wait_their_turn(ledger: Ledger) -> None:
    shop = refuse_token(ledger)
    with receiving() as receiver:
        receiver.statuses = [500, 503]
        watch(ledger, to_webhook=True)
        assert tell(ledger, receiver.url) == 0
        with ledger.write() as connection:
            ad_accounts.resume_credential(connection, shop.credential_id, now=NOW)
        watch(ledger, NOW + 150, to_webhook=True)
        assert tell(ledger, receiver.url, NOW + 14) == 0
        assert len(receiver.bodies) == 1
        assert tell(ledger, receiver.url, NOW + 15) == 0
        assert len(receiver.bodies) == 2
        assert tell(ledger, receiver.url, NOW + 160) == 2
    assert [json.loads(body)["change"] for body in receiver.bodies] == ["fired"] * 3 + ["resolved"]
    assert len({headers["x-alert-id"] for headers in receiver.headers[:3]}) == 1


def test_a_notice_that_nobody_takes_for_a_day_is_given_up(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    refuse_token(ledger)
    with receiving() as receiver:
        watch(ledger, to_webhook=True)
        now, tries = NOW, 0
        while notices(ledger)[0].given_up_at is None:
            receiver.statuses = [500]
            tell(ledger, receiver.url, now)
            tries += 1
            now = notices(ledger)[0].not_before or now
        assert tell(ledger, receiver.url, now + 10_000) == 0
    assert tries < 110
    assert now - NOW > lifecycle._GIVE_UP_SECONDS
    assert logged(caplog)[-1]["state"] == "given_up"


def test_two_processes_tell_a_notice_once(ledger: Ledger) -> None:
    refuse_token(ledger)
    watch(ledger, to_webhook=True)
    with receiving() as receiver, ThreadPoolExecutor(4) as pool:
        told = sum(pool.map(lambda _: tell(ledger, receiver.url), range(8)))
    assert (told, len(receiver.bodies)) == (1, 1)


def test_without_a_webhook_nothing_is_kept_for_one(ledger: Ledger) -> None:
    refuse_token(ledger)
    watch(ledger)
    with receiving() as receiver:
        assert tell(ledger, receiver.url) == 0
    assert receiver.bodies == []


def test_a_credential_that_nobody_uses_alarms_nobody(ledger: Ledger) -> None:
    refuse_token(ledger)
    with ledger.write() as connection:
        connection.execute(update(credential).values(paused_class="by_hand"))
    assert watch(ledger) == []


def test_a_host_whose_clock_is_wrong_is_named_until_it_is_right(ledger: Ledger) -> None:
    with ledger.write() as connection:
        measures.record_skew(connection, "web2", 2.5, NOW)
    watch(ledger)
    watch(ledger, NOW + 61)
    assert firing(ledger) == ["clock_differs web2"]
    for later in (301, 301 + _RESOLVE_AFTER_SECONDS + 1):
        watch(ledger, NOW + later)
    assert firing(ledger) == []


def test_an_account_that_sends_nothing_although_it_may_is_named(ledger: Ledger) -> None:
    pend(ledger, place(ledger), 3)
    for later in (0, 121, 182):
        watch(ledger, NOW + later)
    assert firing(ledger) == [f"account_stands_still {ACCOUNT}"]
