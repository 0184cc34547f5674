"""A person is erased wherever something of them is kept, and no other person is."""

import json
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy import insert, select

from tests.ledger import shop as shops
from tests.ledger.shop import NOW, close, new, pend, place, stand, write
from tests.pipeline.sandbox import FakePinterest, Stage, accepted
from worker.ledger.database import Ledger
from worker.ledger.delivery import batches, failures
from worker.ledger.delivery.failures import FailureFilter
from worker.ledger.delivery.new_deliveries import PAYLOAD
from worker.ledger.intake import inbox, visitors
from worker.ledger.schema import State, debug_input, delivery
from worker.ledger.schema import visitor as visitor_table
from worker.ledger.setup import audit_log
from worker.ledger.upkeep import person_rows
from worker.operations.caller import Caller
from worker.operations.errors import InvalidError
from worker.operations.person import erasing as stage
from worker.operations.person.erasing import ErasureOptions, ErasureReport
from worker.operations.person.person_requests import _find_person, read_request
from worker.pinterest.user_data.hashing import hash_value
from worker.pipeline.ingest.ingest_bulk import ingest
from worker.pipeline.upkeep.purging import purge_expired

KIM, LEE = "kim@example.com", "lee@example.com"
GRANTED = {"consent": {"advertising": True}}


def order(event_id: str, email: str | None = None, **more: Any) -> dict[str, Any]:
    traits = {"traits": {"email": email}} if email else {}
    return {
        "type": "track",
        "event": "Order Completed",
        "messageId": event_id,
        "properties": {"order_id": f"o-{event_id}", "total": 1.5, "currency": "EUR", "num_items": 1},
        "context": GRANTED | {"userAgent": "Mozilla/5.0", "ip": "192.0.2.7"} | traits,
    } | more


def identify(anonymous_id: str, email: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "identify",
        "anonymousId": anonymous_id,
        "traits": {"email": email},
        "messageId": "i",
    } | more


def erase(
    ledger: Ledger, asked: Mapping[str, Sequence[str]], *, actor: str = "kim", **options: Any
) -> ErasureReport:
    request = read_request(**asked)
    person = _find_person(Caller(ledger, actor, NOW), request)
    given = {"wait_seconds": 0.0, "sleep": lambda _: None} | options
    return stage.erase_rows(ledger, person, ErasureOptions(actor, request.kinds, **given))


def run(
    ledger: Ledger, *, dry_run: bool = False, wait_seconds: float = 0.0, **asked: Sequence[str]
) -> ErasureReport:
    report = erase(ledger, asked, actor="kim of legal", dry_run=dry_run, wait_seconds=wait_seconds)
    close(ledger)
    return report


def accept(ledger: Ledger, events: Sequence[dict[str, Any]], source_id: str = "src_shop") -> list[int]:
    # What happened longer ago would fail as too old.
    return shops.accept(ledger, events, source_id=source_id, received_at=time.time())


def bodies(ledger: Ledger) -> list[bytes]:
    """Return everything that is kept of visitors, opened."""
    opened = ledger.vault.open
    with ledger.read() as connection:
        return [
            opened(row.body, purpose)
            for purpose, page, start in (
                (inbox.BODY, person_rows.inbox_rows_after, 0),
                (visitors.BODY, person_rows.visitor_rows_after, b""),
                (PAYLOAD, person_rows.delivery_rows_after, 0),
            )
            for row in page(connection, start, 1000)  # type: ignore[operator]
            if row.body is not None
        ]


def names(ledger: Ledger, email: str) -> bool:
    digest = hash_value("em", email) or ""
    return any(email.encode() in text.lower() or digest.encode() in text for text in bodies(ledger))


def states(ledger: Ledger) -> dict[str, State]:
    with ledger.read() as connection:
        return {row.event_id: State(row.state) for row in connection.execute(select(delivery)).all()}


def test_an_event_that_still_waits_in_the_inbox_goes_and_is_accounted_for(ledger: Ledger) -> None:
    place(ledger)
    accept(ledger, [order("a", KIM), order("b", LEE)])
    report = run(ledger, emails=[KIM])
    assert (report.events, report.deliveries) == (1, 0)
    assert close(ledger).events["erased"] == 1
    assert not names(ledger, KIM)
    assert names(ledger, LEE)


def test_a_parked_event_goes_as_well(ledger: Ledger) -> None:
    place(ledger)
    (parked,) = accept(ledger, [order("a", KIM)])
    with ledger.write() as connection:
        inbox.park_event(connection, parked, "why not")
    assert run(ledger, emails=[KIM]).events == 1


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"emails": [" KIM@example.com "]}, True),
        ({"email_hashes": [hash_value("em", KIM)]}, True),
        ({"external_ids": ["user-kim"]}, True),
        ({"external_id_hashes": [hash_value("external_id", "user-kim")]}, True),
        ({"anonymous_ids": ["device-kim"]}, True),
        ({"emails": [LEE]}, False),
        ({"external_ids": ["device-kim"]}, False),
        ({"anonymous_ids": ["user-kim"]}, False),
    ],
)
def test_each_kind_of_identifier_finds_events_in_the_inbox_and_what_became_of_them(
    ledger: Ledger, asked: dict[str, list[str]], found: bool
) -> None:
    place(ledger, send_user_id=True)
    event = order("a", KIM, anonymousId="device-kim", userId="user-kim")
    accept(ledger, [event])
    assert run(ledger, dry_run=True, **asked).events == int(found)
    with ledger.read() as connection:
        ids = [row.id for row in person_rows.inbox_rows_after(connection, 0, 10)]
    ingest(ledger, ids)
    report = run(ledger, **asked)
    assert report.deliveries_by_state == ({"pending": 1} if found else {})


def test_every_state_but_being_sent_is_erased_and_the_books_balance(ledger: Ledger) -> None:
    shop = place(ledger)
    seal = ledger.vault.seal
    of_kim = {"user_key": ledger.vault.keyed_hash("user", "src_shop", "kim")}
    text = seal(json.dumps({"user_data": {"em": [hash_value("em", KIM)]}, "event_id": "x"}).encode(), PAYLOAD)
    pend(ledger, shop, 2, prefix="delivered", payload=text)
    pinterest = FakePinterest()
    worker = Stage(ledger, pinterest)
    worker.batch()
    worker.run()
    pend(ledger, shop, 2, prefix="ready", payload=text)
    worker.batch()
    pend(ledger, shop, 2, prefix="waits", payload=text)
    ends = (State.FAILED, State.FILTERED, State.DROPPED)
    write(ledger, [new(ledger, shop, f"e{end}", state=end, payload=None, **of_kim) for end in ends])
    write(ledger, [new(ledger, shop, "waits0", **of_kim)])

    dry = run(ledger, dry_run=True, emails=[KIM], external_ids=["kim"])
    expected = {
        "delivered": 2,
        "in_flight": 2,
        "pending": 2,
        "failed": 1,
        "filtered": 1,
        "dropped": 1,
        "duplicate": 1,
    }
    assert dry.deliveries_by_state == expected
    assert stand(ledger) == expected
    assert run(ledger, emails=[KIM], external_ids=["kim"]).deliveries_by_state == expected
    assert stand(ledger) == {"erased": 10}
    assert run(ledger, emails=[KIM], external_ids=["kim"]).deliveries == 0

    # The batch that waited has nobody left, and asks nobody.
    before = len(pinterest.requests)
    worker.run()
    assert (len(pinterest.requests), close(ledger).deliveries) == (before, {"erased": 10})
    purge_expired(ledger, 30, NOW + 1000 * 86_400)
    assert stand(ledger) == {}


def test_a_batch_that_waits_goes_without_the_person(ledger: Ledger) -> None:
    shop = place(ledger)
    text = ledger.vault.seal(
        json.dumps({"user_data": {"em": [hash_value("em", KIM)]}, "event_id": "kims"}).encode(), PAYLOAD
    )
    pend(ledger, shop, 2, prefix="others")
    pend(ledger, shop, 1, prefix="kims", payload=text)
    pinterest = FakePinterest()
    worker = Stage(ledger, pinterest)
    worker.batch()
    assert run(ledger, emails=[KIM]).deliveries_by_state == {"in_flight": 1}
    worker.run()
    assert pinterest.received == ["others0", "others1"]
    assert stand(ledger) == {"delivered": 2, "erased": 1}


def test_what_is_being_sent_is_named_and_erased_once_it_has_arrived(ledger: Ledger) -> None:
    shop = place(ledger)
    text = ledger.vault.seal(
        json.dumps({"user_data": {"em": [hash_value("em", KIM)]}, "event_id": "a"}).encode(), PAYLOAD
    )
    pend(ledger, shop, 1, payload=text)
    on_the_way, go_on = threading.Event(), threading.Event()

    def slowly(events: list[dict[str, Any]]) -> Any:
        on_the_way.set()
        assert go_on.wait(20)
        return accepted(events)

    worker = Stage(ledger, FakePinterest(slowly))
    worker.batch()
    thread = threading.Thread(target=worker.run)
    thread.start()
    assert on_the_way.wait(20)
    for dry_run in (True, False):
        report = run(ledger, dry_run=dry_run, emails=[KIM])
        assert (report.being_sent, report.deliveries) == (1, 0)

    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        go_on.set()
        thread.join(20)

    report = erase(ledger, {"emails": [KIM]}, wait_seconds=30.0, sleep=nap)
    assert (report.being_sent, report.deliveries_by_state) == (0, {"delivered": 1})
    assert naps
    assert stand(ledger) == {"erased": 1}


def test_what_the_persons_device_did_before_it_said_who_it_is_goes_too(ledger: Ledger) -> None:
    place(ledger)
    page = order("early", anonymousId="device")
    ingest(ledger, accept(ledger, [page]))
    ingest(ledger, accept(ledger, [identify("device", KIM)]))
    ingest(ledger, accept(ledger, [order("late", anonymousId="device")]))
    assert names(ledger, KIM)
    report = run(ledger, emails=[KIM])
    assert (report.visitors, report.deliveries_by_state) == (1, {"pending": 2})
    assert bodies(ledger) == []


def test_whoever_else_says_who_they_are_on_the_same_device_keeps_what_is_theirs(ledger: Ledger) -> None:
    place(ledger)
    till = {"anonymousId": "till"}
    accept(
        ledger, [order("kims", KIM, **till), order("lees", LEE, **till), order("user", userId="lee", **till)]
    )
    assert run(ledger, emails=[KIM]).events == 1
    with ledger.read() as connection:
        ids = [row.id for row in person_rows.inbox_rows_after(connection, 0, 10)]
    ingest(ledger, ids)
    assert run(ledger, emails=[KIM]).deliveries == 0
    assert {event_id.partition(":")[0] for event_id in states(ledger)} == {"lees", "user"}


def test_a_device_that_is_asked_for_does_not_bring_its_users_other_devices_along(ledger: Ledger) -> None:
    place(ledger)
    accept(
        ledger, [order("a", anonymousId="phone", userId="kim"), order("b", anonymousId="desk", userId="kim")]
    )
    assert run(ledger, anonymous_ids=["phone"]).events == 1


def test_a_worker_that_holds_an_event_meanwhile_writes_nothing_of_it(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(ledger)
    ids = accept(ledger, [order("a", KIM), order("b", LEE), identify("device", KIM)])
    real = inbox.take_events

    def remove(connection: Any, wanted: Any) -> set[int]:
        # The erasure came first: its rows are gone by the time that this worker takes its own out.
        person_rows.erase_events(connection, [ids[0], ids[2]], NOW)
        return real(connection, wanted)

    monkeypatch.setattr(inbox, "take_events", remove)
    ingest(ledger, ids)
    assert stand(ledger) == {"pending": 1}
    assert not names(ledger, KIM)
    close(ledger)


def test_what_a_worker_writes_down_after_the_first_round_is_found_in_the_next(ledger: Ledger) -> None:
    place(ledger)
    ids: list[int] = []
    accept(ledger, [order("first", KIM)])

    def meanwhile(_seconds: float) -> None:
        if not ids:
            ids.extend(accept(ledger, [order("late", KIM)]))
            ingest(ledger, ids)

    report = erase(ledger, {"emails": [KIM]}, sleep=meanwhile)
    assert (report.events, report.deliveries_by_state) == (1, {"pending": 1})
    assert not names(ledger, KIM)


def test_nothing_of_an_erased_delivery_leads_back_to_the_person(ledger: Ledger) -> None:
    place(ledger)
    ingest(ledger, accept(ledger, [order("order-of-kim", KIM, anonymousId="device", userId="kim")]))
    run(ledger, emails=[KIM])
    with ledger.read() as connection:
        row = connection.execute(select(delivery)).one()
    assert (row.payload, row.order_key, row.anonymous_key, row.user_key, row.warning) == (None,) * 5
    assert row.event_id == f"erased:{row.id}"
    assert row.reason == person_rows._REASON
    with ledger.read() as connection:
        assert failures.count_failures(connection, FailureFilter()) == 0


def test_the_audit_log_tells_how_much_of_what_and_not_who(ledger: Ledger) -> None:
    place(ledger)
    accept(ledger, [order("a", KIM)])
    run(ledger, emails=[KIM], external_ids=["user-kim"])
    with ledger.read() as connection:
        (entry,) = audit_log.newest_audit_entries(connection, 10)
    assert (entry["actor"], entry["action"], entry["object"]) == (
        "kim of legal",
        "person.erase",
        "emails, external_ids",
    )
    assert entry["changes"] == {
        "events": [None, 1],
        "visitors": [None, 0],
        "being_sent": [None, 0],
        "debugged": [None, 0],
    }
    for secret in (KIM, hash_value("em", KIM) or "", "user-kim", hash_value("external_id", "user-kim") or ""):
        assert secret not in str(entry)


def test_a_dry_run_changes_nothing_and_writes_no_audit(ledger: Ledger) -> None:
    place(ledger)
    ingest(ledger, accept(ledger, [identify("device", KIM), order("a", anonymousId="device")]))
    accept(ledger, [order("b", KIM)])
    before = bodies(ledger)
    report = run(ledger, dry_run=True, emails=[KIM])
    assert (report.events, report.visitors, report.deliveries) == (1, 1, 1)
    assert len(before) == len(bodies(ledger)) == 3
    with ledger.read() as connection:
        assert audit_log.newest_audit_entries(connection, 10) == []


def test_rows_that_cannot_be_opened_are_counted_and_left(ledger: Ledger) -> None:
    shop = place(ledger)
    pend(ledger, shop, 2, payload=b"broken")
    report = run(ledger, emails=[KIM])
    assert (report.unreadable, stand(ledger)) == (2, {"pending": 2})


def test_more_than_one_step_of_rows_is_gone_through(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    place(ledger)
    monkeypatch.setattr(stage, "_ROWS_A_STEP", 2)
    accept(ledger, [order(f"o{number}", KIM if number % 2 else LEE) for number in range(9)])
    seen: list[int] = []
    assert erase(ledger, {"emails": [KIM]}, progress=seen.append).events == 4
    assert sum(seen) == 9


def test_a_source_that_is_gone_still_has_its_visitors_found(ledger: Ledger) -> None:
    accept(ledger, [order("a", anonymousId="device")], source_id="src_gone")
    assert run(ledger, anonymous_ids=["device"]).events == 1


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({}, "emails must be given, or another identifier."),
        ({"emails": [KIM] * 21}, "emails must be at most 20 identifiers."),
        ({"emails": ["kim"]}, "emails must be an e-mail address like kim@example.com."),
        ({"emails": ["a" * 64]}, "emails must be an e-mail address; a hash belongs with the hashes."),
        (
            {"email_hashes": ["abc"]},
            "email_hashes must be a SHA-256 of 64 hex digits, and not that of nothing.",
        ),
        ({"external_ids": [" "]}, "external_ids must be an id of 1 to 1,024 characters."),
        ({"anonymous_ids": ["undefined"]}, "anonymous_ids must be an id of 1 to 1,024 characters."),
    ],
)
def test_what_can_be_nobodys_identifier_is_refused_without_repeating_it(
    asked: dict[str, list[str]], sentence: str
) -> None:
    with pytest.raises(InvalidError) as caught:
        read_request(**asked)
    ((field, why),) = caught.value.errors.items()
    assert f"{field} {why}" == sentence


def test_a_batch_that_was_taken_by_a_worker_meanwhile_is_left_to_the_next_round(ledger: Ledger) -> None:
    shop = place(ledger)
    pend(ledger, shop, 1)
    worker = Stage(ledger, FakePinterest())
    (batch_id,) = worker.batch()
    with ledger.write() as connection:
        batches.start_batch(connection, batch_id, 60, NOW)
    with ledger.write() as connection:
        (row,) = person_rows.delivery_rows_after(connection, 0, 10)
        assert person_rows.erase_deliveries(connection, ledger.vault, [row.id], NOW).being_sent == {row.id}
    assert stand(ledger) == {"in_flight": 1}


def test_visitors_are_forgotten_by_their_own_key(ledger: Ledger) -> None:
    place(ledger)
    ingest(ledger, accept(ledger, [identify("kims", KIM), identify("lees", LEE)]))
    assert run(ledger, anonymous_ids=["kims"]).visitors == 1
    with ledger.read() as connection:
        assert len(connection.execute(select(visitor_table)).all()) == 1
    assert names(ledger, LEE)


def test_the_live_debugger_forgets_all_that_it_holds(ledger: Ledger) -> None:
    kept = {
        "source_id": "s",
        "event_id": "e",
        "name": "n",
        "outcome": "o",
        "received_at": NOW,
        "forget_at": NOW,
    }
    with ledger.write() as connection:
        connection.execute(insert(debug_input).values(**kept, body=b"sealed"))
    assert run(ledger, dry_run=True, emails=[KIM]).debugged == 1
    assert run(ledger, emails=[KIM]).debugged == 1
    assert run(ledger, emails=[KIM]).debugged == 0
