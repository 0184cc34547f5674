"""The visitor's ids and the page's URL in an event."""

from typing import Any

import pytest

from tests.pinterest.conftest import browser, server
from worker.event.received import page_url, visitor_ids


@pytest.mark.parametrize(
    ("event", "received", "ids"),
    [
        ({"anonymousId": "a", "userId": "u"}, server(), ("a", "u")),
        ({"userId": 7}, server(), (None, "7")),
        ({"userId": 0}, browser(dfid="d"), ("d", "0")),
        ({"anonymousId": "claimed"}, browser(dfid="d"), ("d", None)),
        ({"anonymousId": "claimed"}, browser(), ("claimed", None)),
        ({"anonymousId": "", "userId": "undefined"}, server(), (None, None)),
        ({"userId": {"id": 1}}, server(dfid="d"), ("d", None)),
    ],
)
def test_visitor_ids_come_from_the_cookie_or_the_event(
    event: dict[str, Any], received: Any, ids: tuple[str | None, str | None]
) -> None:
    assert visitor_ids(event, received) == ids


def test_the_page_is_found_in_the_context_or_the_properties() -> None:
    assert page_url({"context": {"page": {"url": " https://a.example "}}}) == "https://a.example"
    assert page_url({"properties": {"url": "https://b.example"}}) == "https://b.example"
    assert page_url({"context": {"page": {"url": 7}}, "properties": []}) is None
