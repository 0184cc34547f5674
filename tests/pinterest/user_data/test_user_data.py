"""User data: identifiers, click ids, IP address and user agent."""

from typing import Any

import pytest

from tests.pinterest.conftest import EM, PIN_UNAUTH, browser, payload, run, server, sha, track
from worker.event.problems import Problem
from worker.event.received import Received
from worker.pinterest.mapping.call import Options
from worker.pinterest.mapping.payload_checks import Failed, Mapped
from worker.pinterest.user_data.user_data import _client_address
from worker.pinterest.user_data.visitor import Visitor, apply_identify, visitor_for_signed_event

PINTEREST = Options(field_mapping="pinterest")
IP_UA = {"client_ip_address": "203.0.113.50", "client_user_agent": "Mozilla/5.0 ..."}


def user_data(event: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = payload(event or track("Lead"), **changes)["user_data"]
    return found


def test_the_field_mapping_decides_the_fields_of_click_ids() -> None:
    received = browser(pin_unauth=PIN_UNAUTH, epik="e-1")
    assert user_data(received=received) == {**IP_UA, "click_id": PIN_UNAUTH, "partner_id": "e-1"}
    assert user_data(received=received, options=PINTEREST) == {
        **IP_UA,
        "external_id": [sha(PIN_UNAUTH)],
        "click_id": "e-1",
    }


@pytest.mark.parametrize(
    ("url", "cookie", "kept", "epik"),
    [
        ("https://example.com/?epik=fresh", "cookie", "kept", "fresh"),
        ("https://example.com/", "cookie", "kept", "cookie"),
        ("https://example.com/", None, "kept", "kept"),
        ("https://example.com/", None, None, None),
    ],
)
def test_the_click_id_comes_from_the_page_else_the_cookie_else_the_visitor(
    url: str, cookie: str | None, kept: str | None, epik: str | None
) -> None:
    visitor = Visitor(epik=kept, epik_at=1706530000.0)
    event = track("Lead", context={"page": {"url": url}})
    assert user_data(event, received=browser(epik=cookie), visitor=visitor).get("partner_id") == epik


def test_a_stored_click_id_expires_with_its_cookie() -> None:
    old = Visitor(epik="e", epik_at=1706540000.0 - 366 * 86_400)
    assert "partner_id" not in user_data(visitor=old)


def test_a_browsers_address_and_user_agent_come_from_the_request() -> None:
    event = track("Lead", context={"ip": "198.51.100.1", "userAgent": "claimed"})
    assert user_data(event) == IP_UA


def test_a_servers_address_and_user_agent_come_from_the_context() -> None:
    event = track("Lead", context={"ip": "198.51.100.1", "userAgent": "Visitor/1"})
    received = server(ip="192.0.2.1", user_agent="python-requests")
    assert user_data(event, received=received) == {
        "client_ip_address": "198.51.100.1",
        "client_user_agent": "Visitor/1",
    }


@pytest.mark.parametrize(
    ("text", "whole", "truncated"),
    [
        ("203.0.113.50", "203.0.113.50", "203.0.113.0"),
        (" 203.0.113.50 ", "203.0.113.50", "203.0.113.0"),
        ("2001:DB8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        ("::ffff:203.0.113.50", "203.0.113.50", "203.0.113.0"),
        # Lists: the first public address counts.
        ("203.0.113.9, 10.0.0.1", "203.0.113.9", "203.0.113.0"),
        ("10.0.0.1, 192.168.1.4,8.8.4.4", "8.8.4.4", "8.8.4.0"),
        ("unknown, 8.8.8.8", "8.8.8.8", "8.8.8.0"),
        # Ports, brackets and zones.
        ("198.51.100.7:51820", "198.51.100.7", "198.51.100.0"),
        ("[2a00:1450:4001:80b::200e]:443", "2a00:1450:4001:80b::200e", "2a00:1450:4001::"),
        ("2a00:1450:4001:80b::200e%eth0", "2a00:1450:4001:80b::200e", "2a00:1450:4001::"),
        ('for="[2a00:1450:4001:80b::200e]:443"', "2a00:1450:4001:80b::200e", "2a00:1450:4001::"),
    ],
)
def test_an_address_is_sent_complete_or_truncated(text: str, whole: str, truncated: str) -> None:
    assert _client_address(text, False) == (whole, None)
    assert _client_address(text, True) == (truncated, None)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "10.0.0.7",
            "127.0.0.1",
            "192.168.0.12:8080",
            "172.16.5.4",
            "100.64.0.1",
            "169.254.1.1",
            "0.0.0.0",
            "::1",
        ),
        *("[::1]:80", "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.1", "10.0.0.1,192.168.0.1", "224.0.0.1"),
    ],
)
def test_an_address_that_is_not_public_is_not_sent(text: str) -> None:
    assert _client_address(text, False) == (None, Problem.ADDRESS_NOT_PUBLIC)


@pytest.mark.parametrize(
    "text", ["localhost", "203.0.113", "unknown", "?", "1.2.3.4.5", "256.1.1.1", "x" * 600]
)
def test_an_invalid_address_is_not_sent(text: str) -> None:
    assert _client_address(text, True) == (None, Problem.ADDRESS_INVALID)


@pytest.mark.parametrize(
    ("ip", "problem"),
    [
        ("10.0.0.7", Problem.ADDRESS_NOT_PUBLIC),
        (["127.0.0.1"], Problem.ADDRESS_NOT_PUBLIC),
        (7, Problem.ADDRESS_INVALID),
    ],
)
def test_an_address_that_is_left_out_does_not_identify_anyone(ip: object, problem: Problem) -> None:
    (outcome,) = run(track("Lead", context={"ip": ip, "userAgent": "Visitor/1"}), received=server())
    assert isinstance(outcome, Failed)
    assert outcome.reason_class == "no_identity"
    assert problem in outcome.problems


def test_the_integration_may_truncate_addresses() -> None:
    assert user_data(options=Options(truncate_ip=True))["client_ip_address"] == "203.0.113.0"


@pytest.mark.parametrize(
    "event",
    [
        track("Lead", {"email": "john.doe@example.com"}),
        track("Lead", {"userData": {"em": EM.upper()}}),
        track("Lead", context={"traits": {"email": "John.Doe@example.com"}}),
        track("Lead", traits={"email": "John.Doe@example.com"}),
    ],
)
def test_an_event_may_have_identifiers_of_its_visitor(event: dict[str, Any]) -> None:
    assert user_data(event) == {**IP_UA, "em": [EM]}


def test_the_events_identifiers_replace_earlier_ones_field_by_field(john: Visitor) -> None:
    known = apply_identify(john, {"traits": {"firstName": "John", "city": "Bonn"}}, browser(), None)
    event = track("Lead", traits={"email": "john.doe@example.com", "city": "Rom"})
    assert user_data(event, visitor=known) == {
        **IP_UA,
        "em": [EM],
        "fn": [sha("john")],
        "ct": [sha("rom")],
    }


JOHN = {"email": "john.doe@example.com", "phone": "+4915112345678", "firstName": "John", "zip": "53111"}


@pytest.mark.parametrize(
    "event",
    [
        track("Lead", {"email": "jane@example.com"}),
        track("Lead", {"userData": {"em": sha("jane@example.com")}}),
        track("Lead", {"userData": {"email": ["jane@example.com"]}}),
        track("Lead", context={"traits": {"email": "Jane@example.com "}}),
        track("Lead", traits={"email": "jane@example.com"}),
        track("Lead", traits={"email": "jane@example.com"}, userId="john"),
        track("Lead", {"email": "jane@example.com", "userData": {"hashedEmail": sha("jane@example.com")}}),
        track("Lead", {"email": "john.doe@example.com"}, traits={"email": "jane@example.com"}),
        track("Lead", context={"traits": JOHN}, traits={"email": "jane@example.com"}),
        track("Lead", {"userData": JOHN}, traits={"customerEmail": "jane@example.com"}),
    ],
)
@pytest.mark.parametrize("user_id", [None, "john"])
def test_an_event_with_its_own_email_takes_no_trait_of_another_person(
    event: dict[str, Any], user_id: str | None
) -> None:
    known = apply_identify(Visitor.EMPTY, {"traits": JOHN, "userId": user_id}, browser(), "DE")
    data = user_data(event, visitor=known, options=Options(send_user_id=False))
    assert data == {**IP_UA, "em": [sha("jane@example.com")]}


def test_one_common_email_makes_two_people_one(john: Visitor) -> None:
    known = apply_identify(john, {"traits": {"firstName": "John"}}, browser(), None)
    event = track("Lead", traits={"emails": ["new@example.com", "john.doe@example.com"]})
    assert user_data(event, visitor=known)["fn"] == [sha("john")]


def test_a_city_among_the_properties_is_not_the_visitors() -> None:
    assert user_data(track("Location Found", {"city": "Berlin", "name": "Store", "id": 7})) == IP_UA


def identified(user_id: str) -> Visitor:
    event = {"type": "identify", "userId": user_id, "traits": {"email": "john.doe@example.com"}}
    return apply_identify(Visitor.EMPTY, event, browser(), None)


def test_the_user_id_is_sent_hashed_if_the_integration_sends_it() -> None:
    visitor = identified("john-7")
    assert user_data(visitor=visitor) == {**IP_UA, "em": [EM]}
    sent = {**IP_UA, "em": [EM], "external_id": [sha("john-7")]}
    assert user_data(visitor=visitor, options=Options(send_user_id=True)) == sent
    assert user_data(visitor=visitor, options=PINTEREST) == sent


def test_several_external_ids_are_sent_together() -> None:
    visitor = Visitor(traits={"external_id": [sha("loyalty")]}, user_id=sha("john-7"), pin_unauth="pin")
    assert user_data(visitor=visitor, options=PINTEREST)["external_id"] == [
        sha("loyalty"),
        sha("john-7"),
        sha("pin"),
    ]
    assert visitor.traits == {"external_id": [sha("loyalty")]}


def test_another_user_does_not_get_the_visitors_identity() -> None:
    event = track("Lead", userId="jane-8")
    assert user_data(event, visitor=identified("john-7")) == IP_UA


def test_a_device_id_is_hashed_and_an_empty_id_is_ignored() -> None:
    device = {"advertisingId": "CDDA802E-FB9C-47AD-9866-0794D394C912"}
    assert user_data(
        track("Lead", context={"device": device}), received=Received("server", 1706540000.0)
    ) == {"hashed_maids": [sha("cdda802e-fb9c-47ad-9866-0794d394c912")]}


M, OTHER = sha("mallory@example.com"), sha("other")
PUBLIC = Visitor(traits={"em": [M], "fn": [M], "external_id": [M]}, user_id=sha("m"))
SENDING = Options(send_user_id=True)
ID = {"externalId": "own"}
# What signed calls said, what all calls said, the traits of the signed order, its user id, the integration's options,
# and the fields that only public calls gave.
ORIGINS: dict[str, tuple[Visitor, Visitor, dict[str, str], str | None, Options, str | None]] = {
    "only public calls": (Visitor(), PUBLIC, {}, None, Options(), "em,fn,external_id:0"),
    "and the user id": (Visitor(), PUBLIC, {}, None, SENDING, "em,fn,external_id:0,external_id:1"),
    "the event has an e-mail": (Visitor(), PUBLIC, {"email": "mallory@example.com"}, None, Options(), None),
    "the event has a phone number": (Visitor(), PUBLIC, {"phone": "+4915112345678"}, None, Options(), None),
    "the event has a name": (Visitor(), PUBLIC, {"firstName": "Lee"}, None, Options(), "em,external_id:0"),
    "the event has an external id": (Visitor(), PUBLIC, ID, None, SENDING, "em,fn,external_id:1"),
    "the event has the user id": (Visitor(), PUBLIC, {}, "m", SENDING, "em,fn,external_id:0"),
    "the event has another user id": (Visitor(), PUBLIC, {}, "lee", SENDING, None),
    "the event has the external id of the traits": (
        Visitor(),
        Visitor(traits={"external_id": [sha("lee")]}),
        {},
        "lee",
        SENDING,
        None,
    ),
    "a signed call gave an e-mail": (Visitor(traits={"em": [OTHER]}), PUBLIC, {}, None, SENDING, None),
    "a signed call gave the same e-mail": (Visitor(traits={"em": [M]}), PUBLIC, {}, None, SENDING, None),
    "a signed call gave a name": (
        Visitor(traits={"fn": [OTHER]}),
        PUBLIC,
        {},
        None,
        Options(),
        "em,external_id:0",
    ),
    "a signed call gave the user id": (
        Visitor(user_id=sha("m")),
        PUBLIC,
        {},
        None,
        SENDING,
        "em,fn,external_id:0",
    ),
    "a signed call gave another user id": (Visitor(user_id=OTHER), PUBLIC, {}, None, SENDING, None),
    "nothing public": (Visitor(traits={"fn": [OTHER]}, user_id=OTHER), Visitor(), {}, None, SENDING, None),
    "a browser id from before": (Visitor(), Visitor(pin_unauth="pin"), {}, None, PINTEREST, "external_id:0"),
    "a browser id that is no external id": (Visitor(), Visitor(pin_unauth="pin"), {}, None, Options(), None),
}


@pytest.mark.parametrize("origin", ORIGINS)
def test_the_fields_that_only_public_calls_gave_a_signed_event_are_named(origin: str) -> None:
    signed, public, traits, user_id, options, named = ORIGINS[origin]
    event = track("Lead", context={"traits": traits}) | ({"userId": user_id} if user_id else {})
    (mapped,) = run(event, visitor=visitor_for_signed_event(signed, public), options=options)
    assert isinstance(mapped, Mapped)
    assert mapped.public_fields == named


def test_the_events_own_browser_id_is_not_from_an_earlier_public_call() -> None:
    (mapped,) = run(track("Lead"), received=browser(pin_unauth=PIN_UNAUTH), options=PINTEREST)
    assert isinstance(mapped, Mapped)
    assert mapped.public_fields is None


def test_a_failed_event_names_the_fields_too() -> None:
    (failed,) = run(track("Order Completed"), visitor=visitor_for_signed_event(Visitor(), PUBLIC))
    assert isinstance(failed, Failed)
    assert failed.public_fields == "em,fn,external_id:0"
    assert dict(PUBLIC.traits) == {"em": [M], "fn": [M], "external_id": [M]}
