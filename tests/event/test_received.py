"""How an event was received, by which address, and its click ids."""

import json
from ipaddress import ip_network

import pytest

from worker.event.received import Received, clean_click_id, client_ip, epik_from_url

TRUSTED = tuple(ip_network(network) for network in ("10.0.0.0/8", "fd00::/8", "127.0.0.1"))


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


@pytest.mark.parametrize(
    ("remote", "forwarded_for", "expected"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        # The header of an untrusted client is ignored.
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.50", "203.0.113.50"),
        # The client wrote the left address itself.
        ("10.0.0.1", "1.2.3.4, 203.0.113.50", "203.0.113.50"),
        ("10.0.0.1", "1.2.3.4, 203.0.113.50, 10.0.0.7", "203.0.113.50"),
        ("127.0.0.1", " 203.0.113.50 , 10.0.0.7 ", "203.0.113.50"),
        # All addresses are proxies: the first one is the client.
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "", "10.0.0.1"),
        # Some proxies write the port too.
        ("10.0.0.1", "203.0.113.50:4711", "203.0.113.50"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("10.0.0.1", "2001:DB8::1", "2001:db8::1"),
        ("fd00::1", "2001:db8::1", "2001:db8::1"),
        # A socket for both families shows IPv4 in its IPv6 form.
        ("::ffff:10.0.0.1", "203.0.113.50", "203.0.113.50"),
        ("::ffff:203.0.113.9", "", "203.0.113.9"),
        # A proxy may hide its client.
        ("10.0.0.1", "203.0.113.50, unknown", None),
        ("10.0.0.1", "203.0.113.50, , ,", "203.0.113.50"),
        (None, "203.0.113.50", None),
        ("", "203.0.113.50", None),
    ],
)
def test_the_rightmost_untrusted_address_is_the_client(
    remote: str | None, forwarded_for: str, expected: str | None
) -> None:
    assert client_ip(remote, forwarded_for, TRUSTED) == expected


def test_without_trusted_proxies_the_header_is_ignored() -> None:
    assert client_ip("127.0.0.1", "203.0.113.50", ()) == "127.0.0.1"
