"""The account client reads what Pinterest documents, survives what it does not, and says why it failed."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.http.conftest import Serve
from tests.http.raw_server import answers
from tests.http.raw_server import whole as raw
from worker.pinterest.client.account_client import AccountApiError, AccountClient, missing_scopes

Clients = Callable[[str], AccountClient]
TOKEN = "pina_an_access_token_of_a_person"


def whole(body: Any, status: str = "200 OK", headers: str = "") -> bytes:
    return raw(body if isinstance(body, bytes) else json.dumps(body).encode(), status, headers)


@pytest.fixture
def client_of() -> Iterator[Clients]:
    """Make clients, and close them before the servers."""
    with ExitStack() as stack:
        yield lambda url: stack.enter_context(closing(AccountClient(url, "app", "secret")))


@pytest.mark.parametrize(
    ("url", "page"),
    [
        ("https://api.pinterest.com", "https://www.pinterest.com/oauth/"),
        ("http://127.0.0.1:8090", "http://127.0.0.1:8090/oauth/"),
    ],
)
def test_the_sign_in_page_is_pinterests_or_the_sandboxes(client_of: Clients, url: str, page: str) -> None:
    address = client_of(url).sign_in_url("https://shop.example/back", "s&t")
    assert address.startswith(f"{page}?")
    assert parse_qs(urlsplit(address).query)["state"] == ["s&t"]


def test_an_answer_with_little_in_it_gets_what_pinterest_documents(serve: Serve, client_of: Clients) -> None:
    server = serve(answers(whole({"access_token": TOKEN, "scope": "ads:read, ads:write"})))
    found = client_of(server.url).tokens(refresh_token="pinr_old")
    assert (found.access_token, found.refresh_token) == (TOKEN, "pinr_old")
    assert (found.access_seconds, found.refresh_seconds) == (30 * 86_400, 60 * 86_400)
    assert missing_scopes(found.scope) == []
    assert TOKEN not in repr(found)
    (request,) = server.requests
    assert b"grant_type=refresh_token" in request
    assert b"continuous_refresh=true" in request
    assert b"Content-Type: application/x-www-form-urlencoded" in request


@pytest.mark.parametrize(
    ("answer", "words", "status", "wait"),
    [
        (
            whole({"message": "Bad code."}, "400 Bad Request"),
            "Pinterest answered HTTP 400: Bad code.",
            400,
            None,
        ),
        (whole(b"<html>", "502 Bad Gateway"), "Pinterest answered HTTP 502.", 502, None),
        (whole([], "429 Too Many", "Retry-After: 7\r\n"), "Pinterest answered HTTP 429.", 429, 7.0),
        (
            whole({"message": f"Token {TOKEN} of a@b.example ended"}, "401 Unauthorized"),
            "Pinterest answered HTTP 401: Token [token] of [e-mail] ended.",
            401,
            None,
        ),
        (whole(b"{"), "Pinterest's answer could not be read.", 200, None),
        (whole([1]), "Pinterest's answer could not be read.", 200, None),
        (whole({"access_token": "two words"}), "Pinterest's answer has no access token.", 200, None),
        (
            whole({"access_token": TOKEN, "refresh_token": 7}),
            "Pinterest's answer has no refresh token.",
            200,
            None,
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "could not be reached", None, None),
    ],
    ids=["code", "html", "limit", "echo", "cut", "list", "token", "refresh", "short"],
)
def test_a_failure_is_a_sentence_without_secrets(
    serve: Serve, client_of: Clients, answer: bytes, words: str, status: int | None, wait: float | None
) -> None:
    with pytest.raises(AccountApiError) as raised:
        client_of(serve(answers(answer)).url).tokens(code="c", redirect_uri="r")
    assert words in str(raised.value)
    assert (raised.value.status, raised.value.wait_seconds) == (status, wait)


def test_pages_of_ad_accounts_end_also_where_the_bookmark_repeats(serve: Serve, client_of: Clients) -> None:
    one = {"items": [{"id": "1", "name": None, "country": "DE"}, {"id": "no number"}], "bookmark": "b"}
    server = serve(answers(whole(one)))
    assert [(found.id, found.name, found.country) for found in client_of(server.url).ad_accounts(TOKEN)] == [
        ("1", "", "DE"),
        ("1", "", "DE"),
    ]
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("given", "components"),
    [
        ({}, {}),
        ({"quality_components": [1]}, {}),
        ({"quality_components": {"order_id": 7, "new": {"lead": "x"}}}, {"new": {}}),
        (
            {"quality_components": {"order_id": {"lead": {"coverage": 120, "overlap": "x", "issues": None}}}},
            {"order_id": {"lead": {"coverage": None, "overlap": None, "issues": []}}},
        ),
        (
            {
                "quality_components": {
                    "order_id": {"lead": {"coverage": 1, "issues": [{"name": "N", "id": 1}, 3]}}
                }
            },
            {"order_id": {"lead": {"coverage": 1.0, "overlap": None, "issues": [["N", ""]]}}},
        ),
    ],
    ids=["nothing", "list", "numbers", "percent", "issues"],
)
def test_a_score_of_any_shape_is_read(serve: Serve, client_of: Clients, given: Any, components: Any) -> None:
    server = serve(answers(whole([given, "no score"])))
    assert client_of(server.url).quality_scores(TOKEN, "1", "14d") == [
        {
            "source_platform": "unknown",
            "ingestion_source": "unknown",
            "overall_status": "unknown",
            "components": components,
        }
    ]


def test_events_without_a_name_are_not_listed(serve: Serve, client_of: Clients) -> None:
    items = [{"name": "Quote"}, {"name": None}, {}, "Lead", {"name": "Booked"}]
    server = serve(answers(whole({"items": items})))
    assert client_of(server.url).defined_events(TOKEN, "549765662491") == ["Booked", "Quote"]
