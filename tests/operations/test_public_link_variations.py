"""No other identifier, call or order of events brings a stranger's order to the person who links themselves to it."""

import time
from typing import Any

import pytest
from sqlalchemy import select

from tests.ledger.shop import accept, place
from tests.operations.test_erasing import LEE, order
from tests.operations.test_public_links import (
    ASKED,
    DEVICE,
    EM,
    MALLORY,
    OTHER,
    PHONE,
    P,
    S,
    at_once,  # noqa: F401 - a fixture of this module too
    erase,
    export,
    legal,
    link,
    only_row,
    payload,
    take,
    user_data,
)
from worker.ledger.database import Ledger
from worker.ledger.intake import inbox
from worker.ledger.schema import delivery
from worker.operations.person import person_requests
from worker.pinterest.user_data.hashing import hash_value

# Other ways to the same aim: the public call, what Mallory names in the request, and the order's user data then.
VARIATIONS: dict[str, tuple[dict[str, Any], dict[str, list[str]], list[str]]] = {
    "several e-mails": (link(traits={"email": [MALLORY, LEE]}), ASKED, ["em"]),
    "a phone number and a name too": (
        link(traits={"email": MALLORY, "phone": PHONE, "firstName": "M"}),
        ASKED,
        ["em", "fn", "ph"],
    ),
    "an external id among the traits": (
        link(traits={"externalId": "m"}),
        {"external_id_hashes": [hash_value("external_id", "m") or ""]},
        ["external_id"],
    ),
    "a user id": (link(userId="m", traits={}), {"external_ids": ["m"]}, ["external_id"]),
    "the hash of a user id": (
        link(userId="m", traits={}),
        {"external_id_hashes": [hash_value("external_id", "m") or ""]},
        ["external_id"],
    ),
    "an account instead of a device": (link(userId="lee"), ASKED, ["em"]),
}


@pytest.mark.parametrize("way", VARIATIONS)
def test_no_other_identifier_brings_the_order(ledger: Ledger, way: str) -> None:
    call, asked, fields = VARIATIONS[way]
    place(ledger, send_user_id=True)
    take(ledger, P, call)
    of_account = {"userId": "lee"} if call.get("userId") == "lee" else DEVICE
    take(ledger, S, order("strangers", **of_account))
    (shown,) = export(ledger, **asked)
    assert sorted(shown["data"]["user_data"]) == fields
    assert "event_id" not in shown
    before = user_data(ledger)
    report = erase(ledger, asked)
    assert (len(report.reduced), report.deliveries) == (1, 0)
    kept = {name for name in before if name not in fields}
    assert user_data(ledger).keys() >= {"client_ip_address", "client_user_agent"}
    assert user_data(ledger).keys() - {"external_id"} == kept - {"external_id"}
    # The account that the order itself names stays.
    own_id = [hash_value("external_id", "lee")] if of_account != DEVICE else None
    assert user_data(ledger).get("external_id") == own_id


CLICKS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, list[str]]]] = {
    "the hash of an e-mail as a browser id": ({}, {"pin_unauth": EM}, ASKED),
    "the hash of an e-mail as a click id": ({}, {"epik": EM}, ASKED),
    "a browser id as an external id": (
        {"field_mapping": "pinterest"},
        {"pin_unauth": "mallory-7"},
        {"external_ids": ["mallory-7"]},
    ),
}


@pytest.mark.parametrize("signed_first", [False, True])
@pytest.mark.parametrize("way", CLICKS)
def test_no_click_id_brings_the_order(ledger: Ledger, way: str, signed_first: bool) -> None:
    config, click, asked = CLICKS[way]
    place(ledger, **config)
    if signed_first:
        take(ledger, S, link(traits={"email": LEE}))
    take(ledger, P, {"type": "page", "messageId": "p", **DEVICE}, channel="browser", **click)
    with ledger.write() as connection:
        connection.execute(delivery.delete())
    take(ledger, S, order("strangers", **DEVICE))
    with ledger.read() as connection:
        row = connection.execute(select(delivery)).one()
    before = payload(ledger, row)["user_data"]
    (value,) = click.values()
    assert value in before.values() or [hash_value("external_id", value)] == before["external_id"]
    (shown,) = export(ledger, **asked)
    assert "event_id" not in shown
    assert len(shown["data"]["user_data"]) == 1
    report = erase(ledger, asked)
    assert (len(report.reduced), report.deliveries) == (1, 0)
    with ledger.read() as connection:
        row = connection.execute(select(delivery)).one()
    left = payload(ledger, row)["user_data"]
    assert left == {name: one for name, one in before.items() if name not in shown["data"]["user_data"]}


def test_a_click_id_leaves_the_fields_of_another_person_named(ledger: Ledger) -> None:
    """Two strangers linked themselves to one device: each gets and erases their own part."""
    place(ledger)
    take(ledger, P, link(traits={"email": LEE}))
    take(ledger, P, {"type": "page", "messageId": "p", **DEVICE}, channel="browser", epik=EM)
    with ledger.write() as connection:
        connection.execute(delivery.delete())
    take(ledger, S, order("strangers", **DEVICE))
    (shown,) = export(ledger, **ASKED)
    assert shown["data"] == {"user_data": {"partner_id": EM}}
    person_requests.erase_person(legal(ledger), person_requests.read_request(**ASKED), wait_seconds=0.0)
    (shown,) = export(ledger, emails=[LEE])
    assert shown["data"] == {"user_data": {"em": [OTHER]}}


def test_a_public_call_with_the_requested_account_leads_to_no_signed_order_of_the_device(
    ledger: Ledger,
) -> None:
    """Mallory names their own account, and sends a page view of it with the stranger's device."""
    place(ledger)
    take(ledger, S, order("strangers", **DEVICE))
    take(ledger, P, order("own", userId="m", **DEVICE))
    assert [one["event_id"] for one in export(ledger, external_ids=["m"])] == ["own"]
    assert erase(ledger, {"external_ids": ["m"]}).deliveries_by_state == {"pending": 1}
    with ledger.read() as connection:
        assert "strangers" in set(connection.scalars(select(delivery.c.event_id)))


def test_a_public_call_after_the_order_changes_nothing(ledger: Ledger) -> None:
    place(ledger)
    take(ledger, S, order("strangers", **DEVICE))
    take(ledger, P, link())
    before = only_row(ledger)
    assert export(ledger, **ASKED) == []
    assert (erase(ledger, ASKED).reduced, only_row(ledger)) == (set(), before)


def test_an_order_that_still_waits_is_not_shown(ledger: Ledger) -> None:
    place(ledger)
    take(ledger, P, link())
    (waits,) = accept(ledger, [order("strangers", **DEVICE)], received_at=time.time(), trust=S)
    with ledger.write() as connection:
        inbox.park_event(connection, waits, "why not")
    exported = person_requests.export_person(legal(ledger), person_requests.read_request(**ASKED))
    assert (exported["events"], exported["deliveries"]) == ([], [])
    assert erase(ledger, ASKED).events == 0


def test_a_public_call_hides_no_signed_order_from_its_buyer(ledger: Ledger) -> None:
    """The account is the buyer's by a signed call; Mallory's address is in the order by a public one."""
    place(ledger)
    take(ledger, S, {"type": "identify", "messageId": "s", "userId": "lee", **DEVICE})
    take(ledger, P, link(userId="lee"))
    take(ledger, S, order("strangers", **DEVICE))
    take(ledger, P, link(userId="lee", traits={"email": "another@example.com"}))
    assert [one.get("event_id") for one in export(ledger, external_ids=["lee"])] == ["strangers"]


def test_the_link_brings_no_public_event_that_names_whom_a_signed_call_named(ledger: Ledger) -> None:
    place(ledger)
    take(ledger, S, link(traits={"email": LEE}, userId="lee"))
    take(ledger, P, link(userId="lee"))
    take(ledger, P, order("lees", LEE, **DEVICE))
    assert export(ledger, **ASKED) == []
