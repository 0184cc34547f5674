import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.collector.conftest import CONSENT, Collector
from worker.collector.request_context import _CookieRules, _Cookies, _next_cookies

DFID = "0b0f2a8e-5a3c-4c7e-9d1f-1c2d3e4f5a6b"
PIN = "a1b2c3d4-e5f6-4890-abcd-ef1234567890"
UUID4 = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
LANDING = {"context": {"page": {"url": "https://example.com/p?epik=dj0yJnU9"}}}
CLAIMED = {"anonymousId": DFID}
ALL, NONE = _CookieRules(), _CookieRules(dfid=False, pin_unauth=False, epik=False)
KNOWN = _Cookies("d", "p", "e")


def numbered() -> Iterator[str]:
    yield from (f"id{number}" for number in range(1, 9))


@pytest.mark.parametrize(
    ("known", "event", "rules", "may_advertise", "expected"),
    [
        # A new browser gets its own id at once, the others with consent only.
        (_Cookies(), {}, ALL, False, _Cookies("id1")),
        (_Cookies(), {}, ALL, True, _Cookies("id1", "id2")),
        (_Cookies(), LANDING, ALL, False, _Cookies("id1")),
        (_Cookies(), LANDING, ALL, True, _Cookies("id1", "id2", "dj0yJnU9")),
        # What a browser has stays, but a landing page's click id is fresher.
        (KNOWN, {}, ALL, True, KNOWN),
        (KNOWN, LANDING, ALL, True, _Cookies("d", "p", "dj0yJnU9")),
        (KNOWN, LANDING, ALL, False, KNOWN),
        # A browser that names itself properly keeps its name.
        (_Cookies(), CLAIMED, ALL, False, _Cookies(DFID)),
        (_Cookies(), {"anonymousId": "anon-1"}, ALL, False, _Cookies("id1")),
        (KNOWN, CLAIMED, ALL, False, KNOWN),
        # Each of them can be switched off.
        (_Cookies(), LANDING, NONE, True, _Cookies()),
        (KNOWN, LANDING, NONE, True, KNOWN),
    ],
)
def test_what_a_browser_keeps_follows_from_the_event_and_the_consent(
    known: _Cookies, event: dict[str, Any], rules: _CookieRules, may_advertise: bool, expected: _Cookies
) -> None:
    ids = numbered()
    kept = _next_cookies(known, event, rules, may_advertise=may_advertise, make_id=lambda: next(ids))
    assert kept == expected


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"_dfid": DFID, "_pin_unauth": PIN, "_epik": "dj0"}, _Cookies(DFID, PIN, "dj0")),
        # Pinterest's own tag writes no UUID.
        ({"_pin_unauth": "dWlkPU5XUXlaVEE"}, _Cookies(None, "dWlkPU5XUXlaVEE")),
        ({"_dfid": "x", "_pin_unauth": "undefined", "_epik": "a" * 513}, _Cookies()),
        ({"_dfid": DFID.upper()}, _Cookies()),
        ({}, _Cookies()),
    ],
)
def test_a_value_that_cannot_be_right_counts_as_none(sent: dict[str, str], expected: _Cookies) -> None:
    assert _Cookies.of(sent) == expected


def set_by(collector: Collector, event: dict[str, Any], **options: Any) -> list[str]:
    lines = collector.send("/v1/p", event, **options).headers.getlist("Set-Cookie")
    return [re.sub(r"Expires=[^;]+; ", "", line) for line in lines]


def test_a_first_consented_landing_sets_all_three(collector: Collector) -> None:
    event = {"context": LANDING["context"] | CONSENT}
    dfid, pin, epik = [_masked(line) for line in set_by(collector, event)]
    assert dfid == "_dfid=UUID; Max-Age=34560000; Secure; HttpOnly; Path=/; SameSite=Lax"
    assert pin == "_pin_unauth=UUID; Max-Age=31536000; Secure; Path=/; SameSite=Lax"
    assert epik == "_epik=dj0yJnU9; Max-Age=31536000; Secure; Path=/; SameSite=Lax"


def test_what_was_just_set_is_kept_with_the_event(collector: Collector) -> None:
    lines = set_by(collector, {"context": LANDING["context"] | CONSENT})
    values = [line.partition("=")[2].partition(";")[0] for line in lines]
    received = collector.kept()[0].received
    assert [received["df"], received["pu"], received["ep"]] == values


def test_without_consent_only_the_first_party_id_is_set(collector: Collector) -> None:
    assert [line.split("=")[0] for line in set_by(collector, LANDING)] == ["_dfid"]
    received = collector.kept()[0].received
    assert "pu" not in received
    assert "ep" not in received


def test_a_source_that_allows_by_default_needs_no_word_of_consent(collector: Collector) -> None:
    collector.change_source(default_consent={"browser": "allow"})
    assert [line.split("=")[0] for line in set_by(collector, {})] == ["_dfid", "_pin_unauth"]


def test_a_denial_weighs_more_than_the_default(collector: Collector) -> None:
    collector.change_source(default_consent={"browser": "allow"})
    event = {"context": {"consent": {"advertising": False}}}
    assert [line.split("=")[0] for line in set_by(collector, event)] == ["_dfid"]


def test_cookies_that_the_browser_has_are_left_alone_but_for_a_longer_life(collector: Collector) -> None:
    lines = set_by(
        collector, {"context": CONSENT}, cookies={"_dfid": DFID, "_pin_unauth": PIN, "_epik": "dj0"}
    )
    assert lines == [f"_dfid={DFID}; Max-Age=34560000; Secure; HttpOnly; Path=/; SameSite=Lax"]
    received = collector.kept()[0].received
    assert (received["df"], received["pu"], received["ep"]) == (DFID, PIN, "dj0")


NO = {"consent": {"advertising": False}}


@pytest.mark.parametrize(
    ("context", "headers", "expired"),
    [
        (NO, {}, ["_pin_unauth", "_epik"]),
        ({"consent": {"ad_storage": "denied"}}, {}, ["_pin_unauth", "_epik"]),
        (CONSENT, {"Sec-GPC": "1"}, ["_pin_unauth", "_epik"]),
        ({"gpc": True}, {}, ["_pin_unauth", "_epik"]),
        (CONSENT, {"Sec-GPC": "0"}, []),
        # Neither says no.
        ({}, {}, []),
        ({"consent": {"analytics": True}}, {}, []),
    ],
)
def test_withdrawn_consent_expires_the_advertising_cookies(
    collector: Collector, context: dict[str, Any], headers: dict[str, str], expired: list[str]
) -> None:
    cookies = {"_dfid": DFID, "_pin_unauth": PIN, "_epik": "dj0"}
    lines = set_by(collector, {"context": context}, cookies=cookies, headers=headers)
    assert [line.split("=")[0] for line in lines if "Max-Age=0" in line] == expired
    received = collector.kept()[0].received
    assert ("pu" in received) is ("ep" in received) is not expired
    assert received.get("gp", False) is (headers.get("Sec-GPC") == "1")


def test_the_source_chooses_domain_and_security(collector: Collector) -> None:
    collector.change_source(cookies={"domain": "example.com", "pin_unauth": False}, secure_cookies=False)
    lines = set_by(collector, {"context": CONSENT}, cookies={"_dfid": DFID})
    assert lines == [f"_dfid={DFID}; Domain=example.com; Max-Age=34560000; HttpOnly; Path=/; SameSite=Lax"]


def test_the_source_can_do_without_any(collector: Collector) -> None:
    collector.change_source(cookies={"dfid": False, "pin_unauth": False, "epik": False})
    assert set_by(collector, {"context": LANDING["context"] | CONSENT}) == []


def test_a_batch_makes_one_visitor_and_goes_by_each_event(collector: Collector) -> None:
    events = [
        {"type": "page", "context": {"consent": {"advertising": False}}},
        {"type": "page", "context": LANDING["context"] | CONSENT},
        {"type": "track", "event": "Signed Up", "context": CONSENT},
    ]
    response = collector.send("/v1/batch", {"batch": events})
    names = [line.split("=")[0] for line in response.headers.getlist("Set-Cookie")]
    assert names == ["_dfid", "_pin_unauth", "_epik"]
    first, second, third = [kept.received for kept in collector.kept()]
    assert first["df"] == second["df"] == third["df"]
    assert "pu" not in first
    assert second["pu"] == third["pu"]
    assert second["ep"] == third["ep"] == "dj0yJnU9"


def test_a_server_gets_no_cookies(collector: Collector) -> None:
    response = collector.send_signed("/v1/events", {"type": "page", "context": CONSENT})
    assert response.headers.getlist("Set-Cookie") == []


def test_a_visitor_without_a_cookie_is_known_by_the_name_it_gives(collector: Collector) -> None:
    for _ in range(2):
        collector.send("/v1/i", {"anonymousId": "anon-1", "traits": {"email": "a@example.com"}})
    keys = [kept.anonymous_key for kept in collector.kept()]
    assert keys == [collector.ledger.vault.keyed_hash("anonymous", "src_abc123", "anon-1")] * 2


def test_a_cookie_weighs_more_than_the_name_given(collector: Collector) -> None:
    collector.send("/v1/p", {"anonymousId": "anon-1"}, cookies={"_dfid": DFID})
    expected = collector.ledger.vault.keyed_hash("anonymous", "src_abc123", DFID)
    assert collector.kept()[0].anonymous_key == expected


def _masked(line: str) -> str:
    return re.sub(UUID4, "UUID", line)
