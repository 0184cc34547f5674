"""Only authorised clients can read metrics."""

import pytest
from werkzeug.datastructures import Headers

from worker.monitoring.metrics import may_read

TOKEN = "a-token-of-the-scraper"


@pytest.mark.parametrize(
    ("headers", "peer", "token", "expected"),
    [
        ({}, "127.0.0.1", "", True),
        ({}, "::1", "", True),
        ({}, "::ffff:127.0.0.1", "", True),
        # Clients on the network are not trusted.
        ({}, "203.0.113.9", "", False),
        ({}, "10.0.0.7", "", False),
        ({}, None, "", False),
        ({}, "no address", "", False),
        # A proxy on this machine forwards other clients, whatever address its headers name.
        ({"X-Forwarded-For": "127.0.0.1"}, "127.0.0.1", "", False),
        ({"x-forwarded-for": ""}, "127.0.0.1", "", False),
        ({"Forwarded": "for=127.0.0.1"}, "127.0.0.1", "", False),
        ({"X-Real-IP": "127.0.0.1"}, "127.0.0.1", "", False),
        ({"Via": "1.1 proxy"}, "127.0.0.1", "", False),
        # If a token is set, only the token counts, for all addresses.
        ({"Authorization": f"Bearer {TOKEN}"}, "203.0.113.9", TOKEN, True),
        ({"Authorization": f"Bearer {TOKEN}", "Via": "1.1 proxy"}, "127.0.0.1", TOKEN, True),
        ({"Authorization": f"Bearer {TOKEN}x"}, "127.0.0.1", TOKEN, False),
        ({"Authorization": TOKEN}, "127.0.0.1", TOKEN, False),
        ({"Authorization": "Bearer \u00e9"}, "127.0.0.1", TOKEN, False),
        ({}, "127.0.0.1", TOKEN, False),
        ({"Authorization": "Bearer "}, "203.0.113.9", "", False),
    ],
)
def test_who_may_read(headers: dict[str, str], peer: str | None, token: str, *, expected: bool) -> None:
    assert may_read(Headers(headers), peer, token) is expected
