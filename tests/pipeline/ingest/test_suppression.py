"""A suppressed person stays out, until a signed event says that they consented again."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.ledger import shop as shops
from tests.ledger.shop import close, place
from worker.collector.intake import GroupCommit
from worker.collector.spooling import SpoolingIntake
from worker.event.received import Received, Trust
from worker.ledger.database import Ledger, LedgerBusyError
from worker.ledger.delivery import find_deliveries
from worker.ledger.delivery.new_deliveries import PAYLOAD
from worker.ledger.intake import debug_inputs, visitors
from worker.ledger.intake.inbox import Accepted
from worker.ledger.schema import debug_input, delivery, suppression
from worker.ledger.schema import visitor as visitor_table
from worker.ledger.upkeep import suppressed_persons
from worker.operations.caller import Caller
from worker.operations.person import erasing, person_requests
from worker.pinterest.user_data.hashing import hash_value
from worker.pipeline.ingest.accepting import prepare_event
from worker.pipeline.ingest.ingest_bulk import ingest
from worker.pipeline.ingest.suppression import Named, _is_suppressed
from worker.retention import SPOOLED_SECONDS

KIM, LEE = "kim@example.com", "lee@example.com"
YES = {"consent": {"advertising": True}}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "_SETTLING_SECONDS", 0.0)


def track(
    event_id: str, email: str | None = None, name: str = "Order Completed", **more: Any
) -> dict[str, Any]:
    traits = {"traits": {"email": email}} if email else {}
    context = YES | {"userAgent": "Mozilla/5.0", "ip": "203.0.113.7"} | traits
    properties = {"order_id": event_id, "total": 1.5, "currency": "EUR", "num_items": 1}
    return {"type": "track", "event": name, "messageId": event_id, "properties": properties} | {
        "context": context,
        **more,
    }


def run(ledger: Ledger, *events: dict[str, Any], trust: Trust = Trust.PUBLIC) -> set[str]:
    """Ingest events in one bulk; return the ids of the events that became deliveries until now."""
    ingest(ledger, shops.accept(ledger, events, received_at=time.time(), trust=trust))
    close(ledger)
    with ledger.read() as connection:
        return {row.event_id for row in find_deliveries.find_after(connection, 0, 100)}


def suppress(ledger: Ledger, **asked: list[str]) -> None:
    caller = Caller(ledger, "legal", time.time())
    person_requests.suppress_person(caller, person_requests.read_request(**asked), wait_seconds=0.0)


CHOICE = "Segment Consent Preference Updated"
# Each event, who sends it, and whether it ends the suppression of Kim.
RENEWALS = [
    (track("c", KIM, CHOICE), Trust.SIGNED, True),
    (track("c", None, CHOICE, userId="kim"), Trust.SIGNED, True),
    # Anyone can send it with the pipeline key.
    (track("c", KIM, CHOICE), Trust.PUBLIC, False),
    # Repeats a choice that may be older.
    (track("c", KIM), Trust.SIGNED, False),
    (track("c", KIM, CHOICE, context={"traits": {"email": KIM}}), Trust.SIGNED, False),
    (
        track("c", KIM, CHOICE, context={"traits": {"email": KIM}, "consent": {"advertising": False}}),
        Trust.SIGNED,
        False,
    ),
    (track("c", KIM, CHOICE, timestamp="2020-01-01T00:00:00Z"), Trust.SIGNED, False),
    (track("c", LEE, CHOICE), Trust.SIGNED, False),
]


@pytest.mark.parametrize(("event", "trust", "ends"), RENEWALS)
def test_only_a_new_signed_yes_to_advertising_ends_a_suppression(
    ledger: Ledger, event: dict[str, Any], trust: Trust, ends: bool
) -> None:
    place(ledger)
    suppress(ledger, emails=[KIM], external_ids=["kim"])
    assert run(ledger, track("before", KIM)) == set()
    run(ledger, event, trust=trust)
    assert ("after" in run(ledger, track("after", KIM))) is ends
    kinds = [one.kind for one in person_requests.list_requests(Caller(ledger, "legal", 0.0), 10)]
    assert kinds == (["consent"] if ends else []) + ["suppress"]
    with ledger.read() as connection:
        assert (connection.execute(select(suppression)).all() == []) is ends


def test_events_before_the_new_consent_in_the_same_bulk_stay_out(ledger: Ledger) -> None:
    place(ledger)
    suppress(ledger, emails=[KIM])
    events = track("before", KIM), track("c", KIM, CHOICE), track("after", KIM)
    assert run(ledger, *events, trust=Trust.SIGNED) >= {"after"}
    assert "before" not in run(ledger)


@pytest.mark.parametrize(
    "asked",
    [
        {"emails": [KIM]},
        {"email_hashes": [hash_value("em", KIM) or ""]},
        {"external_ids": ["kim"]},
        {"external_id_hashes": [hash_value("external_id", "kim") or ""]},
    ],
    ids=lambda asked: next(iter(asked)),
)
def test_a_suppressed_person_leaves_nothing_and_others_are_untouched(
    ledger: Ledger, asked: dict[str, list[str]]
) -> None:
    place(ledger)
    with ledger.write() as connection:
        debug_inputs.set_debugging(connection, "src_shop", time.time() + 60)
    # The ledger knows all that identifies Kim when the request comes.
    identify = {"type": "identify", "messageId": "i", "userId": "kim", "anonymousId": "kims"}
    identify |= {"traits": {"email": KIM}}
    run(ledger, identify, track("known", KIM, userId="kim", anonymousId="kims"))
    suppress(ledger, **asked)
    run(
        ledger,
        identify,
        track("kim1", userId="kim", anonymousId="kims"),
        track("kim2", anonymousId="kims"),
        track("lee1", LEE, anonymousId="lees"),
        # Another person on the same device.
        track("lee2", LEE, anonymousId="kims"),
    )
    found = {one for one in run(ledger) if not one.startswith("erased:")}
    assert found == {"lee1", "lee2"}
    assert close(ledger).events["erased"] == 3
    with ledger.read() as connection:
        assert {row.event_id for row in connection.execute(select(debug_input))} == {"lee1", "lee2"}
        assert connection.execute(select(visitor_table)).all() == []


@pytest.mark.parametrize("poison", [[KIM, LEE], KIM])
def test_a_public_call_that_links_another_person_suppresses_none_of_their_signed_orders(
    ledger: Ledger, poison: Any
) -> None:
    place(ledger)
    signed = {"type": "identify", "messageId": "s", "userId": "lee", "traits": {"email": LEE}}
    run(ledger, signed, trust=Trust.SIGNED)
    run(ledger, {"type": "identify", "messageId": "p", "userId": "lee", "traits": {"email": poison}})
    suppress(ledger, emails=[KIM])
    assert "order" in run(ledger, track("order", LEE, userId="lee"), trust=Trust.SIGNED)


def identify(user_id: str, email: str | None = None, **more: Any) -> dict[str, Any]:
    traits = {"email": email} if email else {}
    return {"type": "identify", "messageId": f"i{user_id}{email}", "userId": user_id, "traits": traits} | more


# What a signed call said before of the customer whom the shop knows by the userId lee.
SIGNED_FACTS = [None, identify("lee"), identify("lee", traits={"phone": "+4915112345678"})]


@pytest.mark.parametrize("signed", SIGNED_FACTS, ids=["nothing", "the id", "a phone number"])
@pytest.mark.parametrize("again", [False, True], ids=["once", "and again later"])
def test_a_forged_link_suppresses_no_signed_order_of_a_customer_known_by_an_id(
    ledger: Ledger, signed: dict[str, Any] | None, again: bool
) -> None:
    """Kim says with a public call that the customer lee is Kim, and asks to be suppressed."""
    place(ledger)
    if signed is not None:
        run(ledger, signed, trust=Trust.SIGNED)
    forged = identify("lee", KIM, anonymousId="kims")
    run(ledger, forged, track("order0", userId="lee"), trust=Trust.PUBLIC)
    suppress(ledger, emails=[KIM])
    if again:
        run(ledger, forged)
    kept = run(ledger, track("order1", userId="lee"), trust=Trust.SIGNED)
    assert "order1" in kept
    with ledger.read() as connection:
        (payload,) = connection.scalars(select(delivery.c.payload).where(delivery.c.event_id == "order1"))
    assert (hash_value("em", KIM) or "").encode() not in ledger.vault.open(payload, PAYLOAD)
    # What signed calls said of the customer is still known, and nothing of Kim.
    with ledger.read() as connection:
        key = ledger.vault.keyed_hash("user", "src_shop", "lee")
        bodies = connection.scalars(select(visitor_table.c.body).where(visitor_table.c.key == key)).all()
    records = [ledger.vault.open(body, visitors.BODY) for body in bodies]
    assert bool(records) is (signed is not None)
    assert all((hash_value("em", KIM) or "").encode() not in record for record in records)
    # Their public events stay out: who sent them is not known.
    assert "page" not in run(ledger, track("page", userId="lee"))


def test_a_forged_browser_id_suppresses_no_signed_order_of_a_device(ledger: Ledger) -> None:
    """With ``field_mapping`` pinterest, the browser id is sent as an external id, as a user id is."""
    place(ledger, field_mapping="pinterest")
    suppress(ledger, external_ids=["kim"])
    page = {"type": "page", "messageId": "p", "anonymousId": "lees"}
    ids = shops.accept(ledger, [page], received_at=time.time(), channel="browser", pin_unauth="kim")
    ingest(ledger, ids)
    assert "order" in run(ledger, track("order", anonymousId="lees"), trust=Trust.SIGNED)


def test_a_forged_link_ends_no_suppression(ledger: Ledger) -> None:
    """Lee says with a public call that Lee is Kim; then the shop reports a new consent of Lee's."""
    place(ledger)
    suppress(ledger, emails=[KIM])
    consent = track("c", None, CHOICE, userId="lee")
    run(ledger, identify("lee", KIM))
    run(ledger, consent, trust=Trust.SIGNED)
    assert "after" not in run(ledger, track("after", KIM), trust=Trust.SIGNED)
    # In one bulk, too.
    shops_ids = shops.accept(ledger, [identify("lee", KIM)], received_at=time.time())
    shops_ids += shops.accept(ledger, [consent], received_at=time.time(), trust=Trust.SIGNED)
    ingest(ledger, shops_ids)
    assert "later" not in run(ledger, track("later", KIM), trust=Trust.SIGNED)


def test_a_signed_link_suppresses_the_account(ledger: Ledger) -> None:
    place(ledger)
    run(ledger, identify("kim", KIM), trust=Trust.SIGNED)
    suppress(ledger, emails=[KIM])
    assert "order" not in run(ledger, track("order", userId="kim"), trust=Trust.SIGNED)


def test_a_visitor_record_from_an_older_copy_brings_no_one_back(ledger: Ledger) -> None:
    place(ledger)
    run(ledger, {"type": "identify", "messageId": "i", "anonymousId": "kims", "traits": {"email": KIM}})
    with ledger.read() as connection:
        older = [dict(row) for row in connection.execute(select(visitor_table)).mappings()]
    suppress(ledger, emails=[KIM])
    with ledger.write() as connection:
        connection.execute(visitor_table.insert(), older)
        connection.execute(suppression.delete().where(suppression.c.key.in_([row["key"] for row in older])))
    assert run(ledger, track("order", anonymousId="kims")) == set()


def test_what_waited_in_a_spool_while_its_person_was_erased_is_not_kept(
    ledger: Ledger, tmp_path: Path
) -> None:
    """A host that is cut off from the database still takes events, and brings them in after the erasure."""
    hinted: list[int] = []

    def hint(ids: Sequence[int]) -> int:
        hinted.extend(ids)
        return len(ids)

    def spooled(event: dict[str, Any], source_id: str = "src_shop") -> Accepted:
        came = Received(channel="server", received_at=time.time())
        return prepare_event(event, lambda _: came, source_id, ledger.vault, Trust.SIGNED)

    place(ledger)
    intake = SpoolingIntake(ledger, GroupCommit(ledger).accept, tmp_path / "spool", 1024**2, hint)
    intake.note(LedgerBusyError("away"))
    identify = {"type": "identify", "messageId": "i", "anonymousId": "kims", "traits": {"email": KIM}}
    events = identify, track("kim", anonymousId="kims"), track("kim2", KIM), track("lee", LEE)
    intake.accept([spooled(event) for event in events], 1.0)
    caller = Caller(ledger, "legal", time.time())
    person_requests.erase_person(caller, person_requests.read_request(emails=[KIM]), wait_seconds=0.0)
    exported = person_requests.export_person(caller, person_requests.read_request(emails=[KIM]))
    intake.drain()
    ingest(ledger, hinted)

    assert (
        exported["suppressed"],
        person_requests.allow_person(caller, person_requests.read_request(emails=[KIM])),
    ) == (
        False,
        0,
    )
    assert run(ledger) == {"lee"}
    assert close(ledger).events["erased"] == 3
    with ledger.read() as connection:
        assert connection.execute(select(visitor_table)).all() == []
    # An erasure, unlike a suppression, keeps out nothing that comes afterwards.
    assert run(ledger, track("new", KIM, anonymousId="kims"), track("new2", anonymousId="kims")) >= {
        "new",
        "new2",
    }
    with ledger.write() as connection:
        for now, left in ((time.time() + 1, True), (time.time() + SPOOLED_SECONDS + 60, False)):
            suppressed_persons.drop_past_erasures(connection, now)
            assert bool(connection.execute(select(suppression)).all()) is left


def test_an_erasure_does_not_weaken_a_suppression(ledger: Ledger) -> None:
    place(ledger)
    suppress(ledger, emails=[KIM])
    caller = Caller(ledger, "legal", time.time())
    person_requests.erase_person(caller, person_requests.read_request(emails=[KIM]), wait_seconds=0.0)
    assert run(ledger, track("later", KIM)) == set()


def test_a_suppression_costs_one_query_for_a_bulk_and_none_without_one(
    sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = person_requests.store.find_suppressions
    monkeypatch.setattr(
        person_requests.store, "find_suppressions", lambda at, keys: asked.append(len(keys)) or real(at, keys)
    )
    place(sqlite_ledger)
    run(sqlite_ledger, *(track(f"a{n}", LEE) for n in range(20)))
    assert asked == []
    suppress(sqlite_ledger, emails=[KIM])
    run(sqlite_ledger, *(track(f"b{n}", LEE) for n in range(20)))
    assert asked == [1]


K, L, USER, DEVICE = b"k", b"l", b"user", b"device"


@pytest.mark.parametrize(
    ("emails", "user", "device", "active", "expected"),
    [
        ((), None, None, {K}, False),
        (("kim",), None, None, {K}, True),
        (("lee",), None, None, {K}, False),
        (("lee", "kim"), None, None, {K}, True),
        ((), USER, None, {USER}, True),
        # Anyone can link an account to a person's e-mail address.
        (("lee",), USER, None, {USER}, False),
        ((), None, DEVICE, {DEVICE}, True),
        (("lee",), None, DEVICE, {DEVICE}, False),
        ((), USER, DEVICE, {DEVICE}, False),
    ],
)
def test_who_is_suppressed(
    emails: tuple[str, ...], user: bytes | None, device: bytes | None, active: set[bytes], expected: bool
) -> None:
    named = Named(frozenset(emails), frozenset(), user, device)
    assert _is_suppressed(named, {"kim": K, "lee": L}, active) is expected
