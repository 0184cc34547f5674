"""What was accepted becomes deliveries, each event once and each with its own fate."""

import json
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from freezegun import freeze_time
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import select, update
from sqlalchemy.exc import DataError

from tests.ledger.shop import accept, close, place
from worker.event.received import Trust
from worker.ledger.database import Ledger, LedgerBusyError
from worker.ledger.delivery import find_deliveries, new_deliveries
from worker.ledger.delivery.find_deliveries import FoundDelivery, find_after
from worker.ledger.delivery.new_deliveries import PAYLOAD
from worker.ledger.intake import inbox, visitors
from worker.ledger.intake.visitors import VersionConflictError
from worker.ledger.schema import delivery, visitor
from worker.ledger.schema import inbox as inbox_table
from worker.ledger.setup import integrations, sources
from worker.ledger.setup.ad_accounts import AccountRateLimit
from worker.ledger.vault import SealError, Vault
from worker.pinterest.user_data.hashing import hash_value
from worker.pipeline.ingest import ingest_bulk as stage
from worker.pipeline.ingest.ingest_bulk import ingest

JANE, JOHN = (hash_value("em", f"{name}@example.com") for name in ("jane", "john"))
HERE = {"ip": "203.0.113.50", "user_agent": "Mozilla/5.0 (X11)"}


def order(order_id: str, **fields: Any) -> dict[str, Any]:
    """Return an order as a shop's server sends it."""
    products = [{"product_id": "p1", "price": 129.99, "quantity": 1}]
    properties = {"order_id": order_id, "total": 129.99, "currency": "USD", "products": products}
    known = {
        "type": "track",
        "event": "Order Completed",
        "messageId": f"m{order_id}",
        "properties": properties,
    }
    return (
        known
        | {"anonymousId": "device", "context": {"ip": HERE["ip"], "userAgent": HERE["user_agent"]}}
        | fields
    )


def identify(email: str | None, **fields: Any) -> dict[str, Any]:
    traits = {} if email is None else {"email": email}
    return {"type": "identify", "messageId": f"i{email}", "anonymousId": "device", "traits": traits} | fields


def take_in(ledger: Ledger, *events: dict[str, Any], **how: Any) -> list[int]:
    return accept(ledger, events, received_at=time.time(), **how)


def outcomes(ledger: Ledger) -> dict[str, str]:
    """Return the state of each event: pending, or its reason class."""
    with ledger.read() as connection:
        kept = connection.execute(select(delivery).order_by(delivery.c.id)).all()
    return {row.event_id: row.reason_class or "pending" for row in kept}


def payloads(ledger: Ledger) -> dict[str, dict[str, Any]]:
    with ledger.read() as connection:
        kept = connection.execute(select(delivery.c.event_id, delivery.c.payload)).all()
    return {
        row.event_id: json.loads(ledger.vault.open(row.payload, PAYLOAD))
        for row in kept
        if row.payload is not None
    }


def emails(ledger: Ledger) -> dict[str, Any]:
    return {event_id: one["user_data"].get("em") for event_id, one in payloads(ledger).items()}


def test_an_event_becomes_a_delivery_for_each_integration(ledger: Ledger) -> None:
    place(ledger)
    place(ledger, ad_account_id="222")
    ids = take_in(ledger, order("1"))
    assert ingest(ledger, ids) == Counter(created=2, mapped=1)
    assert payloads(ledger)["m1"]["custom_data"]["order_id"] == "1"
    assert {state: n for state, n in close(ledger).events.items() if n} == {"mapped": 1}


def test_working_twice_changes_nothing(ledger: Ledger) -> None:
    place(ledger)
    ids = take_in(ledger, order("1"))
    ingest(ledger, ids)
    assert ingest(ledger, ids) == Counter()
    assert ingest(ledger, [*ids, 999_999]) == Counter()
    assert outcomes(ledger) == {"m1": "pending"}


def test_every_fate_is_counted(sqlite_ledger: Ledger) -> None:
    ledger = sqlite_ledger
    place(ledger, advertiser_events=["checkout"])
    ids = take_in(
        ledger,
        identify("jane@example.com"),
        {"type": "group", "groupId": "g", "anonymousId": "device"},
        order("1"),
        order("1"),
        order("9", messageId="nobody", anonymousId="stranger", context={}),
    )
    elsewhere = take_in(ledger, order("7"), source_id="src_gone")
    assert ingest(ledger, ids + elsewhere) == Counter(
        consumed=2, without_destination=1, mapped=3, created=3, duplicate=1, failed=1
    )
    assert outcomes(ledger) == {"m1": "duplicate", "nobody": "no_identity"}
    assert close(ledger).events["inbox"] == 0


def test_what_consent_stops_is_filtered_and_no_payload_is_kept(sqlite_ledger: Ledger) -> None:
    ledger = sqlite_ledger
    shop = place(ledger)
    with ledger.write() as connection:
        asking = replace(shop, consent_categories=("advertising",))
        integrations.update_integration(
            connection, ledger.vault, asking, rate=AccountRateLimit(1, 1), new_token=None, now=1.0
        )
    refused = order("1", context={"consent": {"advertising": False}} | HERE)
    assert ingest(ledger, take_in(ledger, refused, order("2")))["filtered"] == 1
    assert list(payloads(ledger)) == ["m2"]


def test_consent_is_read_with_the_groups_of_the_source(sqlite_ledger: Ledger) -> None:
    ledger = sqlite_ledger
    shop = place(ledger)
    with ledger.write() as connection:
        asking = replace(shop, consent_categories=("advertising",))
        integrations.update_integration(
            connection, ledger.vault, asking, rate=AccountRateLimit(1, 1), new_token=None, now=1.0
        )
        source = sources.load_source(connection, shop.source_id)
        assert source is not None
        options = {"consent_groups": {"advertising": ["C0007"]}}
        sources.update_source(connection, replace(source, options=options), 1.0)
    given = order("1", context={"consent": ",C0001,C0007,"} | HERE)
    refused = order("2", context={"consent": "C0001:1,C0007:0"} | HERE)
    assert ingest(ledger, take_in(ledger, given, refused))["filtered"] == 1
    assert list(payloads(ledger)) == ["m1"]
    assert decisions_about_consent(ledger) == {
        "m1": "consent to advertising was granted, by OneTrust",
        "m2": "consent to advertising was denied, by OneTrust",
    }


def test_no_decision_about_consent_is_kept_where_none_is_required(sqlite_ledger: Ledger) -> None:
    ledger = sqlite_ledger
    place(ledger)
    ingest(ledger, take_in(ledger, order("1", context={"consent": {"advertising": True}} | HERE)))
    assert decisions_about_consent(ledger) == {"m1": None}


@pytest.mark.parametrize(
    ("changes", "state", "decision"),
    [
        ({}, "pending", "no consent information, and the source allows such events"),
        (
            {"context": {"consent": {"advertising": True}} | HERE},
            "pending",
            "consent to advertising was granted",
        ),
        (
            {"context": {"consent": {"marketing": "ja"}} | HERE},
            "pending",
            "consent to advertising was granted",
        ),
        ({"context": {"consent": "G111"} | HERE}, "pending", "was granted, by Google consent mode"),
        ({"context": {"consent": "maybe"} | HERE}, "consent", "consent to advertising is not understood"),
        (
            {"context": {"consent": {"analytics": True}} | HERE},
            "consent",
            "consent to advertising is not stated",
        ),
        ({"context": {"gpc": True} | HERE}, "consent", "was denied, by Global Privacy Control"),
        (
            {"context": {"consent": {"advertising": True}}},
            "no_identity",
            "consent to advertising was granted",
        ),
        ({"event": "Refunded"}, "override", "no consent information, and the source allows such events"),
        (
            {"timestamp": "2001-01-01T00:00:00Z"},
            "stale",
            "no consent information, and the source allows such",
        ),
    ],
)
def test_each_delivery_keeps_the_decision_about_consent(
    sqlite_ledger: Ledger, changes: dict[str, Any], state: str, decision: str
) -> None:
    ledger = sqlite_ledger
    shop = place(ledger, event_overrides={"Refunded": "drop"})
    with ledger.write() as connection:
        asking = replace(shop, consent_categories=("advertising",))
        integrations.update_integration(
            connection, ledger.vault, asking, rate=AccountRateLimit(1, 1), new_token=None, now=1.0
        )
    ingest(ledger, take_in(ledger, order("1", **changes)))
    kept = decisions_about_consent(ledger)["m1"]
    assert outcomes(ledger) == {"m1": state}
    assert kept is not None
    assert decision in kept


def decisions_about_consent(ledger: Ledger) -> dict[str, str | None]:
    with ledger.read() as connection:
        return {one.event_id: one.consent for one in find_after(connection, 0, 10)}


def test_an_order_that_is_not_sent_is_found_by_its_id(sqlite_ledger: Ledger) -> None:
    ledger = sqlite_ledger
    shop = place(ledger, event_overrides={"Refunded": "drop"})
    with ledger.write() as connection:
        asking = replace(shop, consent_categories=("advertising",))
        integrations.update_integration(
            connection, ledger.vault, asking, rate=AccountRateLimit(1, 1), new_token=None, now=1.0
        )
    consent = {"consent": {"advertising": True}}
    ingest(
        ledger,
        take_in(
            ledger,
            order("filtered", context={"consent": {"advertising": False}} | HERE),
            order("dropped", event="Refunded", context=consent | HERE),
            order("untimely", timestamp="tomorrow", context=consent | HERE),
            order("nobody", anonymousId="stranger", context=consent),
        ),
    )
    for wanted, state in {"filtered": "filtered", "dropped": "dropped"}.items():
        assert [one.state for one in _of_order(ledger, wanted)] == [state]
    assert [one.reason_class for one in _of_order(ledger, "untimely")] == ["bad_timestamp"]
    assert [one.reason_class for one in _of_order(ledger, "nobody")] == ["no_identity"]
    assert _of_order(ledger, "never") == []


def _of_order(ledger: Ledger, order_id: str) -> list[FoundDelivery]:
    key = ledger.vault.keyed_hash("order", "src_shop", order_id)
    with ledger.read() as connection:
        return find_deliveries.find_of_order(connection, order_id, [key], 9)


def test_nothing_goes_to_a_disabled_integration(sqlite_ledger: Ledger) -> None:
    ledger = sqlite_ledger
    shop = place(ledger)
    with ledger.write() as connection:
        off = replace(shop, enabled=False)
        integrations.update_integration(
            connection, ledger.vault, off, rate=AccountRateLimit(1, 1), new_token=None, now=1.0
        )
    assert ingest(ledger, take_in(ledger, order("1"))) == Counter(without_destination=1)


def test_a_row_that_cannot_be_opened_is_parked_and_the_others_go_on(ledger: Ledger) -> None:
    place(ledger)
    ids = take_in(ledger, order("1"), order("2"), order("3"))
    with ledger.write() as connection:
        connection.execute(update(inbox_table).where(inbox_table.c.id == ids[1]).values(body=b"\0" * 50))
    ingest(ledger, ids)
    assert outcomes(ledger) == {"m1": "pending", "m3": "pending"}
    assert parked(ledger) == {ids[1]: "The event cannot be opened (SealError)."}
    assert ingest(ledger, ids) == Counter()


def parked(ledger: Ledger) -> dict[int, str | None]:
    with ledger.read() as connection:
        return {row.id: row.parked_reason for row in connection.execute(select(inbox_table))}


def test_a_missing_key_parks_nothing(ledger: Ledger, ledger_url: str) -> None:
    place(ledger)
    ids = take_in(ledger, order("1"))
    stranger = Ledger(ledger_url, ("cd" * 32,))
    with pytest.raises(SealError, match="ENCRYPTION_KEY lacks"):
        ingest(stranger, ids)
    stranger.dispose()
    # Its body was found unreadable before that, and yet it waits for the right key.
    assert parked(ledger) == {ids[0]: None}


def test_a_ledger_that_comes_back_in_time_is_waited_for(
    sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = sqlite_ledger
    place(ledger)
    monkeypatch.setattr(stage, "_LEDGER_RETRY_PAUSES_SECONDS", (0.0, 0.0))
    errors = [LedgerBusyError("busy"), LedgerBusyError("busy")]
    write = new_deliveries.insert_deliveries

    def busy_twice(*given: Any) -> Any:
        if errors:
            raise errors.pop()
        return write(*given)

    monkeypatch.setattr(new_deliveries, "insert_deliveries", busy_twice)
    assert ingest(ledger, take_in(ledger, order("1")))["created"] == 1


def test_what_the_database_refuses_is_found_and_parked_and_the_others_go_on(ledger: Ledger) -> None:
    """One bad event never costs a good one, also where every check let it pass."""
    place(ledger)
    ids = take_in(ledger, *(order(str(number)) for number in range(7)))

    def refuse(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "INSERT INTO delivery" in statement and "'m4'" in repr(parameters):
            raise DataError(statement, {}, Exception("out of range"))

    sqlalchemy_event.listen(ledger.write_engine, "before_cursor_execute", refuse)
    ingest(ledger, ids)
    assert sorted(outcomes(ledger)) == ["m0", "m1", "m2", "m3", "m5", "m6"]
    assert parked(ledger) == {ids[4]: "The ledger refused the event (DataError)."}
    close(ledger)


def test_a_visitor_that_cannot_be_opened_costs_no_event(ledger: Ledger) -> None:
    place(ledger)
    ingest(ledger, take_in(ledger, identify("jane@example.com")))
    with ledger.write() as connection:
        connection.execute(update(visitor).values(body=b"\0" * 50))
    ingest(ledger, take_in(ledger, order("1")))
    assert emails(ledger) == {"m1": None}


def test_a_visitor_is_sealed_under_keys_that_tell_nothing(ledger: Ledger) -> None:
    ingest(ledger, take_in(ledger, identify("jane@example.com", userId="jane-77")))
    with ledger.read() as connection:
        rows = connection.execute(select(visitor.c.key, visitor.c.body)).all()
    assert len(rows) == 2
    assert not any(word in repr(rows) for word in ("jane", "device", "traits"))


# Order within a visitor


def test_an_earlier_identify_is_known_to_later_events_of_the_same_bulk(ledger: Ledger) -> None:
    place(ledger)
    ids = take_in(ledger, order("0"), identify("jane@example.com"), order("1"))
    ingest(ledger, ids)
    assert emails(ledger) == {"m0": None, "m1": [JANE]}


def test_an_earlier_identify_that_still_waits_is_known(ledger: Ledger) -> None:
    place(ledger)
    ids = take_in(ledger, identify("jane@example.com"), order("1"))
    ingest(ledger, ids[1:])
    assert emails(ledger) == {"m1": [JANE]}
    assert ingest(ledger, ids[:1]) == Counter(consumed=1)


def test_a_person_is_known_on_another_device_by_the_user_id(ledger: Ledger) -> None:
    place(ledger)
    ids = take_in(
        ledger,
        identify("jane@example.com", userId="u1"),
        order("1", anonymousId="other device", userId="u1"),
        order("2", anonymousId="other device"),
    )
    ingest(ledger, ids)
    assert emails(ledger) == {"m1": [JANE], "m2": None}


def test_identifies_that_link_devices_through_a_user_are_known_while_all_of_them_wait(ledger: Ledger) -> None:
    place(ledger)
    ids = take_in(
        ledger,
        identify("jane@example.com", userId="u1", anonymousId="phone"),
        identify(None, messageId="i2", userId="u1", anonymousId="laptop"),
        order("1", anonymousId="laptop"),
    )
    ingest(ledger, ids[2:])
    assert emails(ledger) == {"m1": [JANE]}


def visit(epik: str, **fields: Any) -> dict[str, Any]:
    page = {"page": {"url": f"https://s.example/?epik={epik}"}} | HERE
    return {"type": "page", "messageId": f"v{epik}", "context": page, "anonymousId": "device"} | fields


def test_a_users_order_from_the_server_has_the_click_id_of_the_users_visit(sqlite_ledger: Ledger) -> None:
    ledger = sqlite_ledger
    place(ledger)
    ingest(ledger, take_in(ledger, visit("first"), visit("second", userId="u1"), trust=Trust.PUBLIC))
    sent = order("1", userId="u1", context={"traits": {"email": "jane@example.com"}})
    del sent["anonymousId"]
    ingest(ledger, take_in(ledger, sent, trust=Trust.SIGNED))
    assert payloads(ledger)["m1"]["user_data"]["partner_id"] == "second"


def test_a_visit_brings_no_traits_of_the_device_to_its_user(sqlite_ledger: Ledger) -> None:
    ledger = sqlite_ledger
    place(ledger)
    ingest(ledger, take_in(ledger, identify("jane@example.com"), visit("e", userId="u2")))
    ingest(ledger, take_in(ledger, order("1", userId="u2", anonymousId="other")))
    assert emails(ledger) == {"ve": [JANE], "m1": None}


# Several people on one device


@pytest.mark.parametrize("worked_on", [[0, 1, 2], [1, 0, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]])
def test_a_person_who_signed_out_is_unknown_whatever_is_worked_on_first(
    sqlite_ledger: Ledger, worked_on: list[int]
) -> None:
    ledger = sqlite_ledger
    place(ledger)
    leave = {"type": "identify", "messageId": "out", "anonymousId": "device", "userId": None}
    ids = take_in(ledger, identify("jane@example.com", userId="u1"), leave, order("1"))
    for number in worked_on:
        ingest(ledger, [ids[number]])
    ingest(ledger, take_in(ledger, order("2"), order("3", userId="u1")))
    assert emails(ledger) == {"m1": None, "m2": None, "m3": [JANE]}


def test_a_sign_out_on_the_device_also_ends_what_signed_calls_said_about_it(sqlite_ledger: Ledger) -> None:
    ledger = sqlite_ledger
    place(ledger)
    ingest(ledger, take_in(ledger, identify("jane@example.com", userId="u1"), trust=Trust.SIGNED))
    leave = {"type": "identify", "messageId": "out", "anonymousId": "device", "userId": None}
    ingest(ledger, take_in(ledger, leave))
    ingest(ledger, take_in(ledger, order("1")))
    ingest(ledger, take_in(ledger, order("2"), trust=Trust.SIGNED))
    assert emails(ledger) == {"m1": None, "m2": None}


def test_the_next_person_on_a_tablet_gets_nothing_of_the_one_before(ledger: Ledger) -> None:
    place(ledger)
    jane = identify("jane@example.com", traits={"email": "jane@example.com", "phone": "+4915112345678"})
    ids = take_in(ledger, jane, order("1"), identify("john@example.com"), order("2"))
    ingest(ledger, ids)
    data = {event_id: one["user_data"] for event_id, one in payloads(ledger).items()}
    assert data["m1"].keys() - data["m2"].keys() == {"ph"}
    assert emails(ledger) == {"m1": [JANE], "m2": [JOHN]}


@pytest.mark.parametrize("worked_on", [[0, 1, 2], [1, 0, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]])
def test_the_newer_identify_counts_whatever_is_worked_on_first(ledger: Ledger, worked_on: list[int]) -> None:
    place(ledger)
    ids = take_in(
        ledger,
        identify("john@example.com"),
        identify("jane@example.com"),
        order("1"),
        order("9", anonymousId="x"),
    )
    for index in worked_on:
        ingest(ledger, [ids[index]])
    ingest(ledger, take_in(ledger, order("2")))
    assert emails(ledger) == {"m1": [JANE], "m2": [JANE]}


@pytest.mark.parametrize("worked_on", [[0, 1], [1, 0]])
def test_two_people_on_one_device_are_kept_apart_whoever_is_worked_on_first(
    ledger: Ledger, worked_on: list[int]
) -> None:
    place(ledger)
    ids = take_in(
        ledger, identify("john@example.com", userId="john"), identify("jane@example.com", userId="jane")
    )
    for index in worked_on:
        ingest(ledger, [ids[index]])
    ingest(ledger, take_in(ledger, order("1"), order("2", userId="john"), order("3", userId="jane")))
    assert emails(ledger) == {"m1": [JANE], "m2": [JOHN], "m3": [JANE]}


@pytest.mark.parametrize("worked_on", [[0, 1], [1, 0]])
def test_the_fresher_click_id_counts_whatever_is_worked_on_first(
    ledger: Ledger, worked_on: list[int]
) -> None:
    place(ledger)
    ids = []
    for number, epik in enumerate(["dj0yLongEnoughToBeOne", "dj0yAFresherOneThanThat"]):
        ids += accept(
            ledger,
            [order(f"old{number}")],
            received_at=time.time() - 10 + number,
            channel="browser",
            epik=epik,
            **HERE,
        )
    for index in worked_on:
        ingest(ledger, [ids[index]])
    ingest(ledger, take_in(ledger, order("1")))
    assert payloads(ledger)["m1"]["user_data"]["partner_id"] == "dj0yAFresherOneThanThat"


# C0007 is the shop's own group for advertising.
OWN_GROUP = "C0001:1,C0004:1,C0007:0"


@pytest.mark.parametrize("withdrawal", [{"advertising": False}, {"ad_storage": "denied"}, "nein", OWN_GROUP])
def test_withdrawn_consent_forgets_the_click_ids_on_the_device_and_of_the_person(
    ledger: Ledger, withdrawal: Any
) -> None:
    place(ledger)
    if withdrawal is OWN_GROUP:
        with ledger.write() as connection:
            source = sources.load_source(connection, "src_shop")
            assert source is not None
            options = {"consent_groups": {"advertising": ["C0007"]}}
            sources.update_source(connection, replace(source, options=options), 1.0)
    landing = identify("jane@example.com", userId="jane")
    ingest(ledger, take_in(ledger, landing, channel="browser", epik="dj0yLong", pin_unauth="pin", **HERE))
    refusal = order("0", userId="jane", context={"consent": withdrawal})
    ingest(ledger, take_in(ledger, refusal, channel="browser", **HERE))
    orders = order("1"), order("2", userId="jane"), order("3", userId="jane", anonymousId="other")
    ingest(ledger, take_in(ledger, *orders))
    sent = payloads(ledger)
    assert [{"click_id", "partner_id"} & sent[f"m{number}"]["user_data"].keys() for number in "123"] == [
        set()
    ] * 3
    assert emails(ledger)["m2"] == [JANE]


def test_traits_of_several_identifies_add_up_in_any_order(ledger: Ledger) -> None:
    place(ledger)
    ids = take_in(
        ledger,
        identify("john@example.com"),
        identify(None, traits={"phone": "+14155550100", "email": "jane@example.com"}),
        identify(None, traits={"firstName": "Jane"}),
    )
    for index in (2, 0, 1):
        ingest(ledger, [ids[index]])
    ingest(ledger, take_in(ledger, order("1")))
    user_data = payloads(ledger)["m1"]["user_data"]
    assert (user_data["em"], len(user_data["ph"]), len(user_data["fn"])) == ([JANE], 1, 1)


@pytest.mark.parametrize("seed", [1, 2])
def test_workers_that_take_single_events_in_any_order_keep_the_visitors_order(
    ledger: Ledger, seed: int
) -> None:
    """Four workers, shuffled messages, several visitors: every event after its identify has the e-mail."""
    place(ledger)
    people = [f"d{number}" for number in range(4)]
    events: list[dict[str, Any]] = []
    for who in people:
        events += [order(f"{who}-before", anonymousId=who), identify(f"{who}@example.com", anonymousId=who)]
        events += [order(f"{who}-{number}", anonymousId=who) for number in range(5)]
    ids = take_in(ledger, *events)
    random.Random(seed).shuffle(ids)
    with ThreadPoolExecutor(4) as pool:
        done = sum(pool.map(lambda one: ingest(ledger, [one]), ids), Counter())
    assert done == Counter(consumed=4, mapped=24, created=24)
    found = emails(ledger)
    for who in people:
        expected = [hash_value("em", f"{who}@example.com")]
        assert [found[f"m{who}-{number}"] for number in range(5)] == [expected] * 5
    close(ledger)


def test_workers_that_share_a_bulk_settle_each_event_once(ledger: Ledger) -> None:
    place(ledger)
    ids = take_in(ledger, *(order(str(number), anonymousId=f"d{number % 3}") for number in range(60)))
    with ThreadPoolExecutor(4) as pool:
        done = sum(pool.map(lambda _: ingest(ledger, ids), range(4)), Counter())
    assert done == Counter(mapped=60, created=60)
    assert len(outcomes(ledger)) == 60


def test_races_that_never_end_are_given_up_for_the_sweeper(
    sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = sqlite_ledger

    def always_late(*_: Any) -> None:
        raise VersionConflictError

    monkeypatch.setattr(visitors, "save_visitors", always_late)
    monkeypatch.setattr(stage, "_MAX_RACES", 2)
    ids = take_in(ledger, identify("jane@example.com"))
    with pytest.raises(VersionConflictError):
        ingest(ledger, ids)
    assert parked(ledger) == {ids[0]: None}


# Midnight


def test_ingest_at_midnight_waits_for_nothing(sqlite_ledger: Ledger) -> None:
    """A new day's key is a write of its own; inside another write it would wait for that one for ever."""
    ledger = sqlite_ledger
    with freeze_time("2026-01-01 23:59:59", tick=True):
        place(ledger)
        ids = take_in(ledger, order("1"), identify("jane@example.com"))
    with freeze_time("2026-01-02 00:00:01", tick=True):
        began = time.monotonic()
        assert ingest(ledger, ids)["created"] == 1
        ids = take_in(ledger, order("2"))
        place(ledger, "src_new", token="pina_new")
        assert ingest(ledger, ids)["created"] == 1
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("zone", "day"),
    [(None, "2026-01-31"), ("Europe/Berlin", "2026-02-01"), ("Pacific/Nowhere", "2026-01-31")],
)
def test_a_sale_belongs_to_the_day_on_which_it_happened_where_its_source_is(
    ledger: Ledger, zone: str | None, day: str
) -> None:
    place(ledger)
    with ledger.write() as connection:
        source = sources.load_source(connection, "src_shop")
        assert source is not None
        sources.update_source(connection, replace(source, options={"time_zone": zone} if zone else {}), 0.0)
    with freeze_time("2026-01-31T23:30:00Z"):
        ingest(ledger, take_in(ledger, order("1")))
    with ledger.read() as connection:
        row = connection.execute(select(delivery)).one()

    assert date(1970, 1, 1) + timedelta(days=row.day) == date.fromisoformat(day)
    assert (row.currency, row.value_thousandths) == ("USD", 129_990)


@pytest.mark.parametrize("moves", [False, True], ids=["deleted", "moved"])
def test_an_integration_that_a_hand_changes_meanwhile_gets_nothing_it_should_not(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, moves: bool
) -> None:
    """Between mapping and writing; the event would wait for ever, or go to another ad account under its name."""
    shop = place(ledger)
    ids = take_in(ledger, order("1"))
    write, hands = stage._write, iter([True])

    def after_a_hand(*given: Any) -> Counter[str]:
        if next(hands, False):
            with ledger.write() as connection:
                if moves:
                    moved = replace(shop, ad_account_id="222", config={"ad_account_id": "222"})
                    integrations.update_integration(
                        connection,
                        ledger.vault,
                        moved,
                        rate=AccountRateLimit(1.0, 1),
                        new_token=None,
                        now=1.0,
                    )
                else:
                    integrations.remove_integration(connection, shop.number)
        return write(*given)

    monkeypatch.setattr(stage, "_write", after_a_hand)
    came_to = ingest(ledger, ids)
    with ledger.read() as connection:
        accounts = [one.ad_account_id for one in find_deliveries.find_after(connection, 0, 10)]
    assert accounts == (["222"] if moves else [])
    assert came_to["mapped" if moves else "without_destination"] == 1
    close(ledger)


def test_each_row_is_opened_once(sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    place(sqlite_ledger)
    ids = [*take_in(sqlite_ledger, order("1"), trust=Trust.SIGNED), *take_in(sqlite_ledger, order("2"))]
    opened: list[bytes] = []
    open_sealed = Vault.open

    def count(vault: Vault, sealed: bytes, purpose: bytes) -> bytes:
        opened.append(purpose)
        return open_sealed(vault, sealed, purpose)

    monkeypatch.setattr(Vault, "open", count)
    ingest(sqlite_ledger, ids)
    assert opened.count(inbox.BODY) == 2
