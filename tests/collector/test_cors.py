import pytest

from tests.collector.conftest import KEY, Collector
from worker.collector.gateway import _is_allowed_origin

PAGE = {"type": "page"}


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("https://example.com", True),
        ("https://www.example.com", True),
        ("https://a.b.example.com:8443", True),
        ("http://example.com", True),
        ("HTTPS://EXAMPLE.COM", True),
        ("http://localhost:3000", True),
        ("https://notexample.com", False),
        ("https://example.com.evil.net", False),
        ("https://example.com@evil.net", False),
        ("https://com", False),
        ("null", False),
        ("", False),
        ("file://example.com", False),
        ("https://[", False),
        # A check of each subdomain of 16 KB would take a fifth of a second.
        ("https://" + "a." * 200 + "example.com", False),
    ],
)
def test_only_a_listed_domain_and_its_subdomains_are_own(origin: str, expected: bool) -> None:
    assert _is_allowed_origin(origin, ("Example.com", "localhost")) is expected


def test_a_page_of_the_source_may_read_the_answer_with_its_cookies(collector: Collector) -> None:
    response = collector.send("/v1/p", PAGE, headers={"Origin": "https://www.example.com"})
    assert response.headers["Access-Control-Allow-Origin"] == "https://www.example.com"
    assert response.headers["Access-Control-Allow-Credentials"] == "true"
    assert "Origin" in response.headers["Vary"]


def test_a_page_of_the_source_may_read_an_error_too(collector: Collector) -> None:
    response = collector.send("/v1/t", {}, headers={"Origin": "https://example.com"})
    assert response.status_code == 400
    assert response.headers["Access-Control-Allow-Origin"] == "https://example.com"


def test_a_strange_page_may_read_nothing(collector: Collector) -> None:
    response = collector.send("/v1/p", PAGE, headers={"Origin": "https://evil.net"})
    assert response.status_code == 200
    assert "Access-Control-Allow-Origin" not in response.headers
    assert "Origin" in response.headers["Vary"]


@pytest.mark.parametrize("path", ["/v1/t", "/v1/batch", f"/v1/p?key={KEY}"])
def test_a_page_of_a_source_may_send(collector: Collector, path: str) -> None:
    response = collector.client.options(path, headers={"Origin": "https://example.com"})
    assert response.status_code == 204
    assert response.headers["Access-Control-Allow-Origin"] == "https://example.com"
    assert response.headers["Access-Control-Allow-Methods"] == "POST"
    # The library of RudderStack adds the others.
    allowed = {"Authorization", "Content-Type", "AnonymousId", "SentAt", "Rsa-Recovered", "Rsa-Retry-Reason"}
    allowed |= {f"Rsa-{name}" for name in ("Retry-Attempt", "Since-Last-Attempt", "Since-First-Attempt")}
    assert set(response.headers["Access-Control-Allow-Headers"].split(", ")) == allowed
    assert response.headers["Access-Control-Max-Age"] == "7200"


@pytest.mark.parametrize(
    ("path", "origin"),
    [("/v1/t", "https://evil.net"), ("/v1/t?key=dk_live_unknown", "https://example.com"), ("/v1/t", "")],
)
def test_a_strange_page_may_not_send(collector: Collector, path: str, origin: str) -> None:
    response = collector.client.options(path, headers={"Origin": origin})
    assert response.status_code == 204
    assert "Access-Control-Allow-Origin" not in response.headers


def test_signed_calls_are_not_for_pages(collector: Collector) -> None:
    assert collector.client.options("/v1/events").status_code == 405


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [("/v1/t", "dk_live_revoked", 401), ("/v1/t", "", 401), ("/v1/nothing", "", 404)],
)
def test_a_page_of_any_source_may_read_why_it_was_refused(
    collector: Collector, path: str, key: str, status: int
) -> None:
    """Otherwise a page cannot tell a revoked key from an outage, and retries for ever."""
    headers = {"Origin": "https://example.com", "Authorization": f"Bearer {key}"}
    response = collector.client.post(path, json={}, headers=headers)
    assert response.status_code == status
    assert response.headers["Access-Control-Allow-Origin"] == "https://example.com"
    response = collector.client.post(path, json={}, headers=headers | {"Origin": "https://evil.net"})
    assert "Access-Control-Allow-Origin" not in response.headers


def test_a_sandboxed_frame_may_send_if_its_source_says_so(collector: Collector) -> None:
    headers = {"Origin": "null"}
    assert "Access-Control-Allow-Origin" not in collector.send("/v1/p", PAGE, headers=headers).headers
    collector.change_source(allow_null_origin=True)
    for response in (
        collector.send("/v1/p", PAGE, headers=headers),
        collector.client.options(f"/v1/p?key={KEY}", headers=headers),
        collector.client.options("/v1/batch", headers=headers),
    ):
        assert response.headers["Access-Control-Allow-Origin"] == "null"
        assert "Access-Control-Allow-Credentials" not in response.headers
