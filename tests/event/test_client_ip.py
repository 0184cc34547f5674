from ipaddress import ip_network

import pytest

from worker.event.received import client_ip

TRUSTED = tuple(ip_network(network) for network in ("10.0.0.0/8", "fd00::/8", "127.0.0.1"))


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
