"""Mallory links their own identifiers to a stranger's device by public calls, then asks the shop for their data."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from tests.ledger.delivery.test_signed_precedence import (
    DELIVERED,
    FAILED,
    PENDING,
    READY,
    SENDING,
    STATES,
    TRIED,
    bring_to,
    settle,
)
from tests.ledger.shop import NOW, accept, close, place
from tests.operations.surfaces import API, PAGES, SHELL, World
from tests.operations.test_erasing import GRANTED, LEE, order
from tests.operations.test_person_requests import copy, legal, restore
from worker.event.received import Trust
from worker.ledger.database import Ledger
from worker.ledger.delivery import batches, failures
from worker.ledger.delivery.failures import FailureFilter
from worker.ledger.delivery.new_deliveries import PAYLOAD
from worker.ledger.schema import State, delivery, sale, visitor
from worker.ledger.setup import audit_log
from worker.ledger.setup.integrations import Integration
from worker.ledger.upkeep import person_rows
from worker.ledger.upkeep.person_rows import ReducedPayload
from worker.operations.person import erasing, person_requests
from worker.operations.person.erasing import ErasureReport
from worker.pinterest.user_data.hashing import hash_value
from worker.pipeline.ingest.ingest_bulk import ingest

P, S = Trust.PUBLIC, Trust.SIGNED
MALLORY, PHONE = "mallory@example.com", "+4915112345678"
EM, OTHER = hash_value("em", MALLORY), hash_value("em", LEE)
DEVICE = {"anonymousId": "stranger"}
KEPT = "deliveries_kept_without_data_of_public_calls"
ASKED = {"emails": [MALLORY]}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "_SETTLING_SECONDS", 0.0)


def take(ledger: Ledger, trust: Trust, *events: dict[str, Any], **how: Any) -> None:
    ingest(ledger, accept(ledger, events, received_at=time.time(), trust=trust, **how))


def link(**changes: Any) -> dict[str, Any]:
    """Return the public call that gives the stranger's device an e-mail address."""
    return {"type": "identify", "messageId": "link", "traits": {"email": MALLORY}} | DEVICE | changes


def attack(ledger: Ledger, state: str = PENDING, signed: dict[str, Any] | None = None) -> Integration:
    shop = place(ledger)
    take(ledger, P, link())
    take(ledger, S, signed or order("strangers", **DEVICE))
    bring_to(ledger, shop, state)
    return shop


def only_row(ledger: Ledger) -> Any:
    close(ledger)
    with ledger.read() as connection:
        return connection.execute(select(delivery)).one()


def payload(ledger: Ledger, row: Any = None) -> dict[str, Any]:
    text = ledger.vault.open((row or only_row(ledger)).payload, PAYLOAD)
    found: dict[str, Any] = json.loads(text)
    return found


def user_data(ledger: Ledger) -> dict[str, Any]:
    found: dict[str, Any] = payload(ledger)["user_data"]
    return found


def export(ledger: Ledger, **asked: list[str]) -> list[Any]:
    deliveries: list[Any] = person_requests.export_person(
        legal(ledger), person_requests.read_request(**asked)
    )["deliveries"]
    return deliveries


def erase(ledger: Ledger, asked: Mapping[str, list[str]], *, dry_run: bool = False) -> ErasureReport:
    request = person_requests.read_request(**asked)
    return person_requests.erase_person(legal(ledger), request, dry_run=dry_run, wait_seconds=0.0)


@pytest.mark.parametrize("state", STATES)
def test_an_export_shows_only_what_public_calls_gave_in_every_state(ledger: Ledger, state: str) -> None:
    attack(ledger, state)
    (shown,) = export(ledger, **ASKED)
    assert shown.pop("data") == {"user_data": {"em": [EM]}}
    assert shown.keys() == {"id", "state", "ad_account_id", "integration_id", "source_id"}


def test_an_export_is_recorded_with_its_rows(ledger: Ledger) -> None:
    attack(ledger)
    person_requests.export_person(legal(ledger), person_requests.read_request(**ASKED))
    (recorded,) = person_requests.list_requests(legal(ledger), 10)
    assert (recorded.counts["deliveries"], recorded.counts["visitors"]) == (1, 1)


@pytest.mark.parametrize("state", [state for state in STATES if state != SENDING])
def test_an_erasure_keeps_the_order_in_its_state_without_the_data(ledger: Ledger, state: str) -> None:
    attack(ledger, state)
    before, with_data = only_row(ledger), payload(ledger)
    dry = erase(ledger, ASKED, dry_run=True)
    assert only_row(ledger) == before
    report = erase(ledger, ASKED)
    row = only_row(ledger)
    changed = {name for name, value in row._mapping.items() if value != before._mapping[name]}
    assert changed == {"payload", "size_bytes", "public_fields"}
    del with_data["user_data"]["em"]
    assert payload(ledger) == with_data
    assert row.size_bytes == len(ledger.vault.open(row.payload, PAYLOAD))
    assert row.public_fields is None
    for one in (dry, report):
        assert (one.reduced, one.deliveries, one.being_sent) == ({row.id}, 0, 0)
    assert export(ledger, **ASKED) == []
    assert erase(ledger, ASKED).reduced == set()


def test_the_record_says_what_was_done(ledger: Ledger) -> None:
    attack(ledger)
    erase(ledger, ASKED)
    (recorded,) = person_requests.list_requests(legal(ledger), 10)
    assert recorded.counts == {"events": 0, "visitors": 1, KEPT: 1, "being_sent": 0, "debugged": 0}
    with ledger.read() as connection:
        (entry,) = audit_log.newest_audit_entries(connection, 10)
    assert entry["changes"][KEPT] == [None, 1]


def test_what_is_being_sent_waits_for_the_next_round(ledger: Ledger) -> None:
    shop = place(ledger)
    take(ledger, P, link())
    take(ledger, S, order("strangers", **DEVICE))
    sent = bring_to(ledger, shop, SENDING)
    assert sent is not None
    assert erase(ledger, ASKED, dry_run=True).being_sent == 1
    report = erase(ledger, ASKED)
    assert (report.being_sent, report.reduced) == (1, set())
    assert user_data(ledger)["em"] == [EM]

    def nap(_seconds: float) -> None:
        if not naps:
            settle(ledger, sent)
        naps.append(_seconds)

    naps: list[float] = []
    person = person_requests._find_person(legal(ledger), person_requests.read_request(**ASKED))
    options = erasing.ErasureOptions("kim", ("emails",), wait_seconds=30.0, sleep=nap)
    report = erasing.erase_rows(ledger, person, options)
    assert (report.being_sent, report.reduced) == (0, {only_row(ledger).id})
    assert "em" not in user_data(ledger)


@pytest.mark.parametrize("state", [READY, TRIED])
def test_a_batch_is_sent_with_the_order_and_without_the_data(ledger: Ledger, state: str) -> None:
    shop = attack(ledger, state)
    erase(ledger, ASKED)
    with ledger.write() as connection:
        batch_id = only_row(ledger).batch_id
        assert isinstance(batches.start_batch(connection, batch_id, 60.0, NOW + 1e6), batches.StartedBatch)
    with ledger.read() as connection:
        (member,) = batches.batch_members(connection, batch_id)
    assert "em" not in json.loads(ledger.vault.open(member.payload, PAYLOAD))["user_data"]
    assert shop.number == member.integration_id


def test_a_failed_order_is_sent_again_without_the_data(ledger: Ledger) -> None:
    shop = attack(ledger, FAILED)
    erase(ledger, ASKED)
    with ledger.write() as connection:
        chosen = failures.failed_after(connection, FailureFilter(), 10)
        assert failures.retry_deliveries(connection, chosen, time.time(), "kim").retried == 1
    assert "em" not in user_data(ledger)
    bring_to(ledger, shop, DELIVERED)
    with ledger.read() as connection:
        assert len(connection.execute(select(sale)).all()) == 1


def test_an_order_that_waits_for_its_public_copy_is_sent_without_the_data_if_that_one_fails(
    ledger: Ledger,
) -> None:
    shop = place(ledger)
    take(ledger, P, order("strangers"))
    sent = bring_to(ledger, shop, SENDING)
    assert sent is not None
    take(ledger, P, link())
    take(ledger, S, order("strangers", **DEVICE))
    assert len(erase(ledger, ASKED).reduced) == 1
    settle(ledger, sent, "refused")
    close(ledger)
    with ledger.read() as connection:
        row = connection.execute(select(delivery).where(delivery.c.trust == S.value)).one()
    assert (row.state, row.public_fields) == (State.OPEN.value, None)
    assert payload(ledger, row)["user_data"].keys() == {"client_ip_address", "client_user_agent"}


def without_device(**more: Any) -> dict[str, Any]:
    return order("strangers", **DEVICE, context=GRANTED, **more)


@pytest.mark.parametrize("state", [PENDING, READY, FAILED])
def test_an_order_that_could_not_be_sent_any_more_is_erased_whole(ledger: Ledger, state: str) -> None:
    attack(ledger, state, without_device())
    stood = {READY: "in_flight"}.get(state, state)
    dry, report = erase(ledger, ASKED, dry_run=True), erase(ledger, ASKED)
    for one in (dry, report):
        assert (one.deliveries_by_state, one.reduced) == ({stood: 1}, set())
    row = only_row(ledger)
    assert (row.state, row.payload, row.public_fields) == (State.ERASED.value, None, None)


def test_an_order_that_was_delivered_is_kept_even_if_it_could_not_be_sent_again(ledger: Ledger) -> None:
    attack(ledger, DELIVERED, without_device())
    dry, report = erase(ledger, ASKED, dry_run=True), erase(ledger, ASKED)
    assert len(dry.reduced) == len(report.reduced) == 1
    assert user_data(ledger) == {}
    assert only_row(ledger).state == State.OPEN.value


def test_a_suppression_does_the_same_and_keeps_later_orders_without_the_data(ledger: Ledger) -> None:
    attack(ledger, DELIVERED)
    report = person_requests.suppress_person(
        legal(ledger), person_requests.read_request(**ASKED), wait_seconds=0.0
    )
    assert (len(report.reduced), report.deliveries) == (1, 0)
    (recorded,) = person_requests.list_requests(legal(ledger), 10)
    assert recorded.counts[KEPT] == 1
    take(ledger, P, link())
    take(ledger, S, order("later", **DEVICE))
    with ledger.read() as connection:
        found = connection.execute(select(delivery).order_by(delivery.c.id)).all()
    assert [row.event_id for row in found] == ["strangers", "later"]
    assert all("em" not in payload(ledger, row)["user_data"] for row in found)


@pytest.mark.parametrize("kind", ["erase", "suppress"])
def test_a_repeated_request_keeps_the_order_of_a_restored_copy(ledger: Ledger, kind: str) -> None:
    attack(ledger, DELIVERED)
    copied = copy(ledger)
    getattr(person_requests, f"{kind}_person")(
        legal(ledger), person_requests.read_request(**ASKED), wait_seconds=0.0
    )
    recorded = [asdict(one) for one in person_requests.list_requests(legal(ledger), 10)]
    restore(ledger, copied)
    assert user_data(ledger)["em"] == [EM]
    assert person_requests.repeat_requests(legal(ledger), recorded) == {kind: 1}
    assert "em" not in user_data(ledger)
    assert only_row(ledger).state == State.OPEN.value


def named_by_event(ledger: Ledger) -> None:
    take(ledger, S, order("own", MALLORY, **DEVICE))


def named_by_signed_call(ledger: Ledger) -> None:
    take(ledger, S, link())
    take(ledger, S, order("own", **DEVICE))


@pytest.mark.parametrize("name", [named_by_event, named_by_signed_call])
@pytest.mark.parametrize("linked", [False, True], ids=["alone", "after a public call"])
def test_whom_the_event_or_a_signed_call_names_gets_and_erases_the_whole(
    ledger: Ledger, name: Callable[[Ledger], None], linked: bool
) -> None:
    place(ledger)
    if linked:
        take(ledger, P, link(traits={"email": MALLORY, "phone": PHONE}))
    name(ledger)
    (shown,) = export(ledger, **ASKED)
    assert (shown["event_id"], shown["data"]["custom_data"]["order_id"]) == ("own", "o-own")
    assert erase(ledger, ASKED).deliveries_by_state == {"pending": 1}
    assert only_row(ledger).state == State.ERASED.value


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_link_that_a_later_row_proves_erases_the_whole(ledger: Ledger, dry_run: bool) -> None:
    """A signed event of the named account, which is read after the order, has the same device."""
    attack(ledger)
    take(ledger, S, order("proof", userId="m", **DEVICE))
    asked = ASKED | {"external_ids": ["m"]}
    assert {one.get("event_id") for one in export(ledger, **asked)} == {"strangers", "proof"}
    report = erase(ledger, asked, dry_run=dry_run)
    assert (report.deliveries_by_state.total(), report.reduced) == (2, set())


def test_a_visitor_that_a_later_row_proves_is_erased_whole(ledger: Ledger) -> None:
    place(ledger)
    take(ledger, S, link(traits={"phone": PHONE}))
    take(ledger, P, link())
    take(ledger, S, order("proof", userId="m", **DEVICE))
    asked = ASKED | {"external_ids": ["m"]}
    exported = person_requests.export_person(legal(ledger), person_requests.read_request(**asked))
    assert any("signed" in one["data"] for one in exported["visitors"])
    erase(ledger, asked)
    with ledger.read() as connection:
        assert connection.execute(select(visitor)).all() == []


def test_what_a_worker_writes_after_the_first_round_is_found_in_the_next(ledger: Ledger) -> None:
    attack(ledger)
    text = json.dumps(payload(ledger)).encode()
    with ledger.write() as connection:
        connection.execute(visitor.delete())

    def nap(_seconds: float) -> None:
        if not naps:
            with ledger.write() as connection:
                row = dict(connection.execute(select(delivery)).mappings().one())
                changes = {"event_id": "late", "payload": ledger.vault.seal(text, PAYLOAD)}
                del row["id"]
                connection.execute(
                    insert(delivery), row | changes | {"public_fields": "em", "business_key": None}
                )
        naps.append(_seconds)

    naps: list[float] = []
    person = person_requests._find_person(legal(ledger), person_requests.read_request(**ASKED))
    options = erasing.ErasureOptions("kim", ("emails",), wait_seconds=0.0, sleep=nap)
    assert len(erasing.erase_rows(ledger, person, options).reduced) == 2


def test_a_payload_that_another_process_changed_is_left_to_the_next_round(ledger: Ledger) -> None:
    attack(ledger)
    row = only_row(ledger)
    stale = ReducedPayload(b"stale", b"new", 3, None, can_be_sent=True)
    with ledger.write() as connection:
        done = person_rows.erase_deliveries(connection, ledger.vault, [row.id], NOW, {row.id: stale})
    assert (done.reduced, done.by_state, only_row(ledger)) == (frozenset(), {}, row)


def test_a_device_that_is_named_brings_the_whole(ledger: Ledger) -> None:
    attack(ledger)
    (shown,) = export(ledger, anonymous_ids=["stranger"])
    assert shown["event_id"] == "strangers"
    assert erase(ledger, {"anonymous_ids": ["stranger"]}).deliveries_by_state == {"pending": 1}


def test_a_delivery_from_before_the_column_is_found_as_before(ledger: Ledger) -> None:
    attack(ledger)
    with ledger.write() as connection:
        connection.execute(update(delivery).values(public_fields=None))
    assert [one["event_id"] for one in export(ledger, **ASKED)] == ["strangers"]
    assert erase(ledger, ASKED).deliveries_by_state == {"pending": 1}


def test_what_public_calls_gave_a_public_event_is_the_persons_as_before(ledger: Ledger) -> None:
    place(ledger, field_mapping="pinterest")
    take(ledger, P, link(userId="m"), channel="browser", pin_unauth="earlier")
    take(ledger, P, order("public", **DEVICE))
    assert len(user_data(ledger)["external_id"]) == 2
    assert only_row(ledger).public_fields is None
    assert [one["event_id"] for one in export(ledger, **ASKED)] == ["public"]


@pytest.mark.parametrize("ends", ["discarded", "duplicate"])
def test_a_delivery_without_a_payload_names_no_fields(ledger: Ledger, ends: str) -> None:
    shop = attack(ledger)
    if ends == "discarded":
        with ledger.write() as connection:
            assert failures.discard_pending_deliveries(connection, shop.number, "kim", NOW, 10) == 1
    else:
        take(ledger, S, order("strangers", **DEVICE))
    with ledger.read() as connection:
        wanted = select(delivery.c.public_fields).where(delivery.c.state == State[ends.upper()].value)
        assert connection.scalars(wanted).all() == [None]


# How each surface says what would be reduced, and what was.
SURFACES: dict[str, Callable[[World], tuple[str, str]]] = {
    API: lambda world: (
        str(world.call("POST", "erasures", ASKED | {"dry_run": True}).json["deliveries_kept"]),
        str(world.call("POST", "erasures", ASKED).json["deliveries_kept"]),
    ),
    PAGES: lambda world: (
        world.send("/people", emails=MALLORY, action="count"),
        world.send("/people", emails=MALLORY, action="erase", confirmed="yes"),
    ),
    SHELL: lambda world: (
        world.shell("person", "erase", "--email", MALLORY, "--dry-run"),
        world.shell("person", "erase", "--email", MALLORY, "--yes"),
    ),
}
SAID = {
    API: ("1", "1"),
    PAGES: (
        "Also data that only public calls gave, in 1 signed delivery.",
        "Kept 1 signed delivery without data that only public calls gave.",
    ),
    SHELL: (
        "1 signed delivery would be kept without data that only public calls gave.",
        "1 signed delivery was kept without data that only public calls gave.",
    ),
}


@pytest.mark.parametrize("surface", SURFACES)
def test_each_surface_says_how_many_orders_were_kept(make_world: Callable[[], World], surface: str) -> None:
    world = make_world()
    take(world.ledger, P, link())
    take(world.ledger, S, order("strangers", **DEVICE))
    shown = SURFACES[surface](world)
    assert all(said in text for said, text in zip(SAID[surface], shown, strict=True))
    if surface == PAGES:
        assert "1 deliveries kept without data of public calls" in shown[1]
    assert "em" not in user_data(world.ledger)
