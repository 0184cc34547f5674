"""What the client sends, how it reads answers, and what it never does."""

import json
from pathlib import Path

import pytest
import responses

from tests.http.raw_server import (
    BODY,
    GOOD,
    TOKEN,
    Connect,
    Serve,
    answers,
    resets,
    send,
    whole,
)
from worker.pinterest.client.client import _MAX_ANSWER_BYTES, PinterestClient, SendFailure

# What is sent


def test_a_batch_is_one_post_with_the_bearer_token_and_the_bytes_as_they_are(
    serve: Serve, connect: Connect
) -> None:
    server = serve(answers(whole()))

    answer = send(connect(server.url))

    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /v5/ad_accounts/1234567890/events HTTP/1.1"
    assert f"Authorization: Bearer {TOKEN}" in lines
    assert "Content-Type: application/json" in lines
    assert "User-Agent: signal-worker" in lines
    assert body == BODY
    assert (answer.status, answer.body, answer.failure, answer.detail) == (200, GOOD, None, "")


@responses.activate
def test_the_test_flag_goes_into_the_query(connect: Connect) -> None:
    url = "https://api.pinterest.com/v5/ad_accounts/1234567890/events"
    responses.post(url, match=[responses.matchers.query_param_matcher({"test": "true"})], body=GOOD)

    assert send(connect("https://api.pinterest.com"), test=True).status == 200


@responses.activate
@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
def test_a_refusal_is_an_answer_with_its_body(connect: Connect, status: int) -> None:
    """``if response:`` is false for every 4xx and 5xx in requests; the client must not rely on it."""
    url = "https://api.pinterest.com/v5/ad_accounts/1234567890/events"
    responses.post(url, status=status, json={"code": 2, "message": "no"}, headers={"Retry-After": "7"})

    answer = send(connect("https://api.pinterest.com/"))

    assert (answer.status, json.loads(answer.body)["message"], answer.failure) == (status, "no", None)
    assert answer.headers["retry-after"] == "7"
    assert bool(answer)


def test_netrc_and_proxies_of_the_environment_are_ignored(
    serve: Serve, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login other password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    server = serve(answers(whole()))

    assert send(connect(server.url)).status == 200
    assert f"Authorization: Bearer {TOKEN}".encode() in server.requests[0]


def test_a_cookie_set_for_one_account_is_not_sent_with_the_next(serve: Serve, connect: Connect) -> None:
    server = serve(answers(whole(headers="Set-Cookie: account=1; Path=/\r\n")))
    client = connect(server.url)

    send(client)
    send(client)

    assert [b"Cookie" in request for request in server.requests] == [False, False]


@pytest.mark.parametrize(
    ("account", "token", "detail"),
    [
        # A path in place of a number would reach another endpoint.
        ("1/../2", TOKEN, "the ad account id is not a number of at most 18 digits"),
        ("١٢٣", TOKEN, "the ad account id is not a number of at most 18 digits"),
        ("1" * 19, TOKEN, "the ad account id is not a number of at most 18 digits"),
        # requests would raise, and quote the header with the token in it.
        ("1", f"{TOKEN}\n", "the access token has characters that are not allowed in a header"),
        ("1", "tökén", "the access token has characters that are not allowed in a header"),
        ("1", "", "the access token has characters that are not allowed in a header"),
    ],
)
def test_an_invalid_token_or_account_is_not_sent(
    connect: Connect, account: str, token: str, detail: str
) -> None:
    answer = connect("http://127.0.0.1:1").send(account, token, BODY, False)

    assert (answer.failure, answer.detail) == (SendFailure.UNSENDABLE, detail)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "api.pinterest.com", "https://", "https://user:pw@host"])
def test_an_invalid_base_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        PinterestClient(url)


# Redirects and retries


def test_a_redirect_is_not_followed_and_its_body_is_not_read(serve: Serve, connect: Connect) -> None:
    elsewhere = serve(answers(whole()))
    server = serve(answers(whole(b"", "307 Temporary Redirect", f"Location: {elsewhere.url}/\r\n")))

    answer = send(connect(server.url))

    assert (answer.status, answer.failure, elsewhere.connections) == (307, None, 0)


def test_the_client_does_not_retry(serve: Serve, connect: Connect) -> None:
    server = serve(resets())

    send(connect(server.url))

    assert (server.connections, len(server.requests)) == (1, 1)


# Bodies


def test_a_body_that_is_too_large_is_not_read(serve: Serve, connect: Connect) -> None:
    server = serve(answers(whole(b" " * (_MAX_ANSWER_BYTES + 1))))

    answer = send(connect(server.url, deadline=5))

    assert (answer.status, answer.body, answer.failure) == (200, b"", None)
    assert answer.detail == "the answer is larger than 4194304 bytes"


def test_a_body_of_the_largest_size_is_read(serve: Serve, connect: Connect) -> None:
    server = serve(answers(whole(b" " * _MAX_ANSWER_BYTES)))

    assert len(send(connect(server.url, deadline=5)).body) == _MAX_ANSWER_BYTES


def test_a_body_with_a_wrong_compression_header_becomes_empty(serve: Serve, connect: Connect) -> None:
    server = serve(answers(whole(headers="Content-Encoding: gzip\r\n")))

    answer = send(connect(server.url))

    assert (answer.body, answer.failure) == (b"", None)
    assert answer.detail == "the answer cannot be decompressed"


def test_an_echoed_token_is_removed(serve: Serve, connect: Connect) -> None:
    server = serve(answers(whole(b'{"message":"bad token ' + TOKEN.encode() + b'"}', "401 Unauthorized")))

    answer = send(connect(server.url))

    assert answer.body == b'{"message":"bad token [token]"}'


def test_the_repr_of_an_answer_has_no_content(serve: Serve, connect: Connect) -> None:
    server = serve(answers(whole(b"john@example.com")))

    assert "john" not in repr(send(connect(server.url)))
