"""What a signed call said of an event or of a person is not changed by anybody who has the pipeline key."""

import json
import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tests.ledger.shop import accept, close, place
from tests.logged import logged
from tests.pipeline.ingest.test_ingest_bulk import HERE, identify, order
from worker.event.received import Trust
from worker.ledger.database import Ledger
from worker.ledger.delivery.new_deliveries import PAYLOAD
from worker.ledger.intake import visitors
from worker.ledger.migrate import migrate
from worker.ledger.schema import State, delivery, visitor
from worker.ledger.setup import sources
from worker.pinterest.user_data.hashing import hash_value
from worker.pinterest.user_data.person_matching import _mapped_email_hashes
from worker.pipeline.ingest.ingest_bulk import ingest

P, S = Trust.PUBLIC, Trust.SIGNED
JANE, MALLORY = (hash_value("em", f"{name}@example.com") for name in ("jane", "mallory"))
PHONE = {"email": "mallory@example.com", "phone": "+14155550199", "firstName": "Mallory", "city": "Nowhere"}


def take(ledger: Ledger, trust: Trust, *events: dict[str, Any], **how: Any) -> list[int]:
    """Accept events without working on them."""
    return accept(ledger, events, received_at=time.time(), trust=trust, **how)


def work(ledger: Ledger, trust: Trust, *events: dict[str, Any], **how: Any) -> Counter[str]:
    return ingest(ledger, take(ledger, trust, *events, **how))


def sent(ledger: Ledger, trust: Trust = S) -> list[dict[str, Any]]:
    """Return the payloads that will be sent of signed events, or of public ones."""
    with ledger.read() as connection:
        wanted = select(delivery).where(delivery.c.state == State.OPEN.value, delivery.c.trust == trust.value)
        rows = connection.execute(wanted.order_by(delivery.c.id)).all()
    return [json.loads(ledger.vault.open(row.payload, PAYLOAD)) for row in rows]


def person(payload: dict[str, Any]) -> dict[str, Any]:
    """Return what identifies a person, without the device's address and click ids."""
    device = ("client_ip_address", "client_user_agent", "click_id", "partner_id")
    return {name: value for name, value in payload["user_data"].items() if name not in device}


def signed_jane(ledger: Ledger, **fields: Any) -> None:
    work(ledger, S, identify("jane@example.com", userId="44", anonymousId="laptop") | fields)


# Events


def test_a_forged_order_in_the_same_bulk_or_before_cancels_nothing(ledger: Ledger) -> None:
    place(ledger)
    forged = order(
        "1",
        messageId="ORD-1",
        properties={"order_id": "1", "total": 0.01, "currency": "USD", "products": [{"id": "x"}]},
    )
    real = order("1", messageId="ORD-1")
    first = take(ledger, P, forged)
    ingest(ledger, first + take(ledger, S, real))
    assert [one["custom_data"]["value"] for one in sent(ledger)] == ["129.99"]
    assert sent(ledger, P) == []
    close(ledger)


def test_what_two_sources_of_one_account_send_of_one_order_is_the_same(ledger: Ledger) -> None:
    """The shop's pages send through one source, and its server through another."""
    place(ledger, "src_pages")
    place(ledger, "src_server")
    work(ledger, P, order("1"), source_id="src_pages")
    with ledger.write() as connection:
        connection.execute(delivery.update().values(batch_id=None))
    work(ledger, S, order("1"), source_id="src_server")
    with ledger.read() as connection:
        keys = set(connection.scalars(select(delivery.c.content_key)))
        order_keys = set(connection.scalars(select(delivery.c.order_key)))
    assert (len(keys), len(order_keys)) == (1, 2)


@pytest.mark.parametrize(
    ("total", "same"), [(129.99, True), ("129.990", True), (129.98, False), (None, False)]
)
def test_amounts_are_compared_and_not_their_spelling(ledger: Ledger, total: Any, same: bool) -> None:
    place(ledger)
    other = order("1", messageId="other")
    other["properties"] = other["properties"] | {"total": total}
    if total is None:
        del other["properties"]["total"]
        other["properties"]["products"] = [{"id": "p1", "price": 1, "quantity": 1}]
    work(ledger, S, order("1"), other)
    with ledger.read() as connection:
        keys = set(connection.scalars(select(delivery.c.content_key)))
    assert (len(keys) == 1) is same


def test_an_id_that_was_used_before_is_logged(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    from tests.ledger.delivery.test_signed_precedence import DELIVERED, bring_to

    shop = place(ledger)
    work(ledger, P, order("2", messageId="ORD-1"))
    bring_to(ledger, shop, DELIVERED)
    with caplog.at_level(logging.WARNING):
        work(ledger, S, order("1", messageId="ORD-1"))
    assert logged(caplog) == [{"event": "event_ids_used_before", "events": 1}]


# Persons


def test_a_public_identify_does_not_change_what_signed_orders_carry(ledger: Ledger) -> None:
    place(ledger)
    signed_jane(ledger)
    work(ledger, P, identify(None, userId="44", anonymousId="evil", traits=PHONE))
    work(ledger, S, order("1", userId="44", anonymousId="laptop"), order("2", userId="44", anonymousId=None))
    assert [person(one) for one in sent(ledger)] == [{"em": [JANE]}] * 2


@pytest.mark.parametrize("worked_on", [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])
def test_it_makes_no_difference_which_is_worked_on_first(ledger: Ledger, worked_on: list[int]) -> None:
    place(ledger)
    ids = take(ledger, P, identify(None, userId="44", anonymousId="evil", traits=PHONE))
    ids += take(ledger, S, identify("jane@example.com", userId="44", anonymousId="laptop"))
    ids += take(ledger, S, order("1", userId="44", anonymousId="laptop"))
    for index in worked_on:
        ingest(ledger, [ids[index]])
    assert [person(one) for one in sent(ledger)] == [{"em": [JANE]}]


@pytest.mark.parametrize("worked_on", [[0, 1, 2], [2, 0, 1], [1, 2, 0], [2, 1, 0]])
def test_a_public_call_does_not_make_a_newer_signed_one_old(ledger: Ledger, worked_on: list[int]) -> None:
    place(ledger)
    ids = take(ledger, S, identify("old@example.com", userId="44"))
    ids += take(ledger, S, identify("jane@example.com", userId="44"))
    ids += take(ledger, P, identify(None, userId="44", traits=PHONE))
    for index in worked_on:
        ingest(ledger, [ids[index]])
    work(ledger, S, order("1", userId="44"))
    assert [person(one) for one in sent(ledger)] == [{"em": [JANE]}]


def test_linking_a_device_to_a_user_moves_no_click_id_onto_signed_orders(ledger: Ledger) -> None:
    """An affiliate would be paid for the orders of every customer whose id can be guessed."""
    place(ledger, field_mapping="pinterest")
    signed_jane(ledger)
    click = {"epik": "dj0yTheAffiliatesOwnClick", "pin_unauth": "5d8f2a8e-5a3c-4c7e-9d1f-1c2d3e4f5a6b"}
    work(ledger, P, identify(None, userId="44", anonymousId="evil"), channel="browser", **click)
    work(ledger, P, order("9", userId="44", anonymousId="evil"), channel="browser", **click, **HERE)
    work(ledger, S, order("1", userId="44", anonymousId="laptop"), order("2", userId="44", anonymousId=None))
    for one in sent(ledger):
        assert "click_id" not in one["user_data"]
        assert person(one)["em"] == [JANE]
        assert person(one)["external_id"] == [hash_value("external_id", "44")]


def test_the_click_ids_of_the_buyers_own_browser_reach_signed_orders(ledger: Ledger) -> None:
    place(ledger)
    signed_jane(ledger)
    page = {"type": "page", "messageId": "p", "anonymousId": "laptop"}
    work(ledger, P, page, channel="browser", epik="dj0yTheBuyersOwnClick", **HERE)
    work(ledger, S, order("1", userId="44", anonymousId="laptop"))
    assert sent(ledger)[0]["user_data"]["partner_id"] == "dj0yTheBuyersOwnClick"


def test_what_only_the_browser_knows_still_reaches_the_servers_order(ledger: Ledger) -> None:
    """No signed call named the person: what the page said is all there is."""
    place(ledger)
    work(ledger, P, identify("jane@example.com", userId="44", anonymousId="laptop"))
    work(ledger, S, order("1", userId="44", anonymousId="laptop"))
    assert [person(one) for one in sent(ledger)] == [{"em": [JANE]}]


def test_an_order_that_names_its_buyer_takes_nothing_from_public_calls(ledger: Ledger) -> None:
    place(ledger)
    work(ledger, P, identify(None, userId="44", anonymousId="laptop", traits=PHONE))
    context = order("1")["context"] | {"traits": {"email": "jane@example.com"}}
    work(ledger, S, order("1", userId="44", anonymousId="laptop", context=context))
    assert [person(one) for one in sent(ledger)] == [{"em": [JANE]}]


def test_public_events_see_what_a_signed_call_said_before_what_a_public_one_did(ledger: Ledger) -> None:
    place(ledger)
    work(ledger, S, identify("jane@example.com", userId="44"))
    work(ledger, P, identify(None, userId="44", traits=PHONE))
    work(ledger, P, order("1", userId="44"))
    user_data = person(sent(ledger, P)[0])
    assert (user_data["em"], len(user_data["ph"])) == ([JANE], 1)


def test_another_person_on_the_device_is_not_taken_for_the_one_a_signed_call_named(ledger: Ledger) -> None:
    place(ledger)
    signed_jane(ledger)
    work(ledger, P, identify("mallory@example.com", userId="55", anonymousId="laptop"))
    work(ledger, P, order("1", userId="55", anonymousId="laptop"), order("2", anonymousId="laptop"))
    assert [person(one) for one in sent(ledger, P)] == [{"em": [MALLORY]}] * 2


def test_a_visitor_of_the_version_before_is_read_as_said_by_public_calls(ledger: Ledger) -> None:
    place(ledger)
    key = ledger.vault.keyed_hash("user", "src_shop", "44")
    body = {"traits": {"em": [MALLORY]}, "user_id": hash_value("external_id", "44"), "told_up_to": 0}
    known = visitors.StoredVisitor(ledger.vault.seal(json.dumps(body).encode(), visitors.BODY), 0)
    with ledger.write() as connection:
        visitors.save_visitors(connection, {key: known}, 1.0)
    work(ledger, S, order("1", userId="44"))
    work(ledger, S, identify("jane@example.com", userId="44"), order("2", userId="44"))
    assert [person(one) for one in sent(ledger)] == [{"em": [MALLORY]}, {"em": [JANE]}]


def test_an_erasure_finds_both_of_what_was_said(ledger: Ledger) -> None:
    work(ledger, S, identify("jane@example.com", userId="44"))
    work(ledger, P, identify("mallory@example.com", userId="44"))
    key = ledger.vault.keyed_hash("user", "src_shop", "44")
    with ledger.read() as connection:
        body = connection.execute(select(visitor.c.body).where(visitor.c.key == key)).scalar_one()
    assert set(_mapped_email_hashes(ledger.vault.open(body, visitors.BODY))) == {JANE, MALLORY}


# Whatever public events come


USERS, DEVICES, IDS = ("44", "45"), ("laptop", "phone"), ("ORD-1", "ORD-2", "ORD-3")
someone = st.fixed_dictionaries(
    {}, optional={"userId": st.sampled_from(USERS), "anonymousId": st.sampled_from([*DEVICES, "evil"])}
)
traits = st.fixed_dictionaries(
    {},
    optional={
        "email": st.sampled_from(["mallory@example.com", "user44@example.com"]),
        "phone": st.sampled_from(["+14155550199", "+14155550123"]),
        "firstName": st.just("Mallory"),
        "gender": st.just("f"),
    },
)
forged_identify = st.builds(
    lambda who, said: {"type": "identify", "messageId": "i", "traits": said} | who, someone, traits
)
forged_group = st.builds(
    lambda who, said: {"type": "group", "groupId": "g", "traits": said} | who, someone, traits
)
forged_order = st.builds(
    lambda who, event_id, total, said: (
        order("9", messageId=event_id)
        | {"properties": order("1")["properties"] | {"total": total, "order_id": event_id, "userData": said}}
        | who
    ),
    someone,
    st.sampled_from(IDS),
    st.sampled_from([0.01, 129.99]),
    traits,
)
forged = st.lists(st.one_of(forged_identify, forged_group, forged_order), max_size=4)


def shop_events() -> list[dict[str, Any]]:
    """Return what the shop's server sends: it names each person once, then sends their orders."""
    told = [
        identify(f"user{user}@example.com", userId=user, anonymousId=device)
        for user, device in zip(USERS, DEVICES, strict=True)
    ]
    orders = [
        order("1", messageId="ORD-1", userId="44", anonymousId="laptop"),
        order("2", messageId="ORD-2", userId="45", anonymousId=None),
        order("3", messageId="ORD-3", userId=None, anonymousId="laptop"),
    ]
    return [*told, *orders]


def delivered(groups: Sequence[list[dict[str, Any]]], at_once: bool, folder: Path) -> Counter[str]:
    """Return what is sent of the shop's events, with forged ones before, between and after them."""
    ledger = Ledger(f"sqlite:///{folder / 'signal.db'}", ("ab" * 32,))
    migrate(ledger)
    ledger.vault.prepare()
    place(ledger)
    ids: list[int] = []
    for number, event in enumerate([*shop_events(), None]):
        if number < len(groups) and groups[number]:
            ids += take(ledger, P, *groups[number])
        if event is not None:
            ids += take(ledger, S, event)
        if not at_once:
            ingest(ledger, ids)
            ids = []
    ingest(ledger, ids)
    close(ledger)
    found = Counter(
        json.dumps([one["event_id"], one["custom_data"], person(one)], sort_keys=True) for one in sent(ledger)
    )
    ledger.dispose()
    return found


@given(st.lists(forged, min_size=6, max_size=6), st.booleans())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_public_events_come_the_signed_ones_are_sent_as_without_them(
    groups: list[list[dict[str, Any]]], at_once: bool
) -> None:
    with TemporaryDirectory() as first, TemporaryDirectory() as second:
        alone = delivered([], at_once, Path(first))
        beside = delivered(groups, at_once, Path(second))
    assert alone.total() == 3
    assert beside == alone


# Events that count only when they are signed


def test_a_public_event_of_a_listed_name_is_dropped_with_its_reason_and_a_signed_one_sent(
    ledger: Ledger,
) -> None:
    place(ledger)
    only_signed(ledger, "Order Completed")
    done = work(ledger, P, order("1"), order("2", event="purchase"), order("3", event="Product Added"))
    assert (done["dropped"], done["created"]) == (2, 3)
    work(ledger, S, order("1"))
    assert [one["event_name"] for one in sent(ledger, P)] == ["add_to_cart"]
    assert [one["custom_data"]["order_id"] for one in sent(ledger)] == ["1"]
    with ledger.read() as connection:
        dropped = connection.execute(select(delivery).where(delivery.c.state == State.DROPPED.value)).all()
    reason = "Events of this name count only when they are signed; this event came with the pipeline key"
    assert {(one.reason_class, one.reason, one.payload) for one in dropped} == {("unsigned", reason, None)}
    assert close(ledger).deliveries["dropped"] == 2


def only_signed(ledger: Ledger, *names: str) -> None:
    with ledger.write() as connection:
        source = sources.load_source(connection, "src_shop")
        assert source is not None
        sources.update_source(connection, replace(source, options={"signed_only_events": list(names)}), 0.0)
