"""Click ids are found wherever browsers, servers and connectors put them."""

from typing import Any

import pytest

from worker.event.click_ids import find_click_ids
from worker.event.received import Received, clean_click_id

EPIK = "dj0yJnU9abc"
BROWSER = "dWlkPVlXSmpabQ"
SERVER = Received(channel="server", received_at=1.0)

EPIK_PLACES: list[dict[str, Any]] = [
    {"context": {"page": {"url": f"https://s.example/?a=1&epik={EPIK}#x"}}},
    {"properties": {"url": f"https://s.example/?epik={EPIK}"}},
    {"properties": {"landing_site": f"/products/x?utm_source=pinterest&epik={EPIK}"}},
    {"properties": {"page_location": f"https://s.example/?epik={EPIK}"}},
    {"context": {"url": f"https://s.example/?epik={EPIK}"}},
    {"context": {"page": {"search": f"?epik={EPIK}"}}},
    {"context": {"page": {"referrer": f"https://s.example/?epik={EPIK}"}}},
    {"properties": {"epik": EPIK}},
    {"properties": {"_epik": EPIK}},
    {"properties": {"click_id": EPIK}},
    {"properties": {"user_data": {"click_id": EPIK}}},
    {"properties": {"userData": {"clickId": EPIK}}},
    {"context": {"epik": EPIK}},
    {"context": {"traits": {"epik": EPIK}}},
    {"context": {"cookies": {"_epik": EPIK}}},
    {"context": {"cookies": f"_ga=1; _epik={EPIK}; x=y"}},
    {"context": {"cookie": f"_epik={EPIK}"}},
    {"context": {"user_data": {"epik": EPIK}}},
    {"traits": {"pinterest_click_id": EPIK}},
    {"user_data": {"click_id": EPIK}},
]


@pytest.mark.parametrize("event", EPIK_PLACES)
def test_a_click_id_is_found_in_every_place(event: dict[str, Any]) -> None:
    assert find_click_ids(event, SERVER)[::2] == (EPIK, None)


@pytest.mark.parametrize(
    "event",
    [
        {"properties": {"_pin_unauth": BROWSER}},
        {"properties": {"pin_unauth": BROWSER}},
        {"properties": {"user_data": {"click_id": BROWSER}}},
        {"context": {"pinUnauth": BROWSER}},
        {"context": {"cookies": {"_pin_unauth": BROWSER}}},
        {"context": {"cookies": f'_pin_unauth={BROWSER}; other="x=y"'}},
        {"context": {"traits": {"_pin_unauth": BROWSER}}},
        {"traits": {"pin_unauth": BROWSER, "click_id": BROWSER}},
        {"user_data": {"_pin_unauth": BROWSER}},
        {"properties": {"cookies": {"_pin_unauth": BROWSER}}},
    ],
)
def test_a_browser_id_is_found_in_every_place(event: dict[str, Any]) -> None:
    assert find_click_ids(event, SERVER)[::2] == (None, BROWSER)


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"properties": None, "context": "x", "traits": []},
        {"properties": {"epik": 5, "_epik": "", "click_id": "null", "_pin_unauth": {}}},
        {"properties": {"epik": "a b", "click_id": "ü", "user_data": "epik=1", "cookies": 7}},
        {
            "context": {
                "page": {"url": "https://s.example/?repik=1&xepik=2", "search": "?q=epik", "referrer": 1}
            }
        },
        {"context": {"cookies": "epik", "cookie": "; ;=;_epik="}},
        {"context": {"cookies": "_epik=x;" * 9_000}},
        {"properties": {"url": "https://[x/?epik=1", "landing_site": ["?epik=1"]}},
    ],
)
def test_what_is_no_click_id_is_left_out(event: dict[str, Any]) -> None:
    assert find_click_ids(event, SERVER)[::2] == (None, None)


def test_the_freshest_counts_a_url_before_a_field_before_a_cookie_before_the_referrer() -> None:
    places = {
        "the page's URL": {"page": {"url": "https://s.example/?epik=1"}},
        "context": {"epik": "2"},
        "cookies": {"cookies": {"_epik": "3"}},
        "the referrer": {"page": {"referrer": "https://s.example/?epik=4"}},
    }
    for number, (place, context) in enumerate(places.items(), start=1):
        later = dict(list(places.items())[number:])
        said: dict[str, Any] = {}
        for one in (*reversed(later.values()), context):
            said |= {
                key: {**said.get(key, {}), **value} if type(value) is dict else value
                for key, value in one.items()
            }
        assert find_click_ids({"context": said}, SERVER)[:2] == (str(number), place)


def test_the_browsers_own_cookie_counts_before_what_a_script_says() -> None:
    received = Received(channel="browser", received_at=1.0, pin_unauth="mine", epik="cookie")
    event = {"properties": {"_pin_unauth": "other"}}
    assert find_click_ids(event, received) == ("cookie", "the cookie _epik", "mine", "the cookie _pin_unauth")


@pytest.mark.parametrize(
    "raw",
    [
        "john@example.com",
        "john%40example.com",
        "mailto:john@example.com",
        "+4915112345678",
        "+49-151-12345678",
        "tel:+4915112345678",
        "%2B4915112345678",
        "https://example.com/?phone=1",
        "NaN",
        "undefined",
    ],
)
def test_personal_data_and_placeholders_are_no_click_ids(raw: str) -> None:
    assert clean_click_id(raw) is None
