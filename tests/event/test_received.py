"""How an event was received, and its click ids."""

import json

import pytest

from worker.event.received import Received, clean_click_id, epik_from_url


def test_it_can_be_stored_as_json() -> None:
    full = Received("browser", 1706540000.25, "203.0.113.50", "Mozilla", "d-1", "p-1", "e-1")
    bare = Received("server", 1706540000.0)
    for received in (full, bare):
        assert Received.from_dict(json.loads(json.dumps(received.to_dict()))) == received
    assert bare.to_dict() == {"ch": "s", "at": 1706540000.0}


@pytest.mark.parametrize(
    ("url", "epik"),
    [
        ("https://example.com/p?epik=epik_abc123def456", "epik_abc123def456"),
        ("https://example.com/p?a=1&epik=dj0yJnU9%3D%3D#top", "dj0yJnU9=="),
        ("https://example.com/p?epik=&epik=second", "second"),
        ("https://example.com/p?epik=undefined", None),
        ("https://example.com/p?EPIK=upper", None),
        ("https://example.com/p?notepik=x", None),
        ("https://example.com/epik=path", None),
        ("https://example.com/p?epik=with%20space", None),
        ("https://example.com/p?epik=" + "x" * 513, None),
        ("http://[::1?epik=x", None),
        (None, None),
        (7, None),
    ],
)
def test_the_click_id_is_read_from_the_url_of_the_page(url: object, epik: str | None) -> None:
    assert epik_from_url(url) == epik


@pytest.mark.parametrize("value", ["", "null", "a b", "ü", "x\n", None, 7, {}])
def test_an_invalid_click_id_is_ignored(value: object) -> None:
    assert clean_click_id(value) is None
