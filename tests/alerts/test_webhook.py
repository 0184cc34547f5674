"""Notices are signed, and go to public addresses only."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.alerts.receiver import Receiver, receiving
from worker.alerts.channels import WebhookChannel
from worker.alerts.lifecycle import _MAX_RETRY_SECONDS, _retry_delay_seconds
from worker.http import guard
from worker.http.signature import sign

SECRET = "a-secret-of-the-tests"
HERE = ("127.0.0.1", "localhost")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as received:
        yield received


def test_it_is_told_in_json_with_a_signature_over_time_and_body(receiver: Receiver) -> None:
    webhook = WebhookChannel(receiver.url, SECRET, HERE, clock=lambda: 1_750_000_000.5)

    assert webhook.send(7, {"rule": "breaker_open", "summary": "größer"}) is None

    (body,), (headers,) = receiver.bodies, receiver.headers
    assert json.loads(body) == {"rule": "breaker_open", "summary": "größer"}
    assert headers["x-alert-id"] == "7"
    assert headers["x-timestamp"] == "1750000000500"
    assert headers["x-signature"] == sign(SECRET, "1750000000500", body)
    assert headers["content-type"] == "application/json"


def test_the_code_in_the_document_checks_the_signature(receiver: Receiver) -> None:
    document = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
    code: dict[str, Any] = {}
    exec(document.partition("### Webhook")[2].partition("```python\n")[2].partition("```")[0], code)  # noqa: S102 - our own document
    for clock in (time.time, lambda: time.time() - 3_600):
        assert WebhookChannel(receiver.url, SECRET, HERE, clock=clock).send(7, {"summary": "größer"}) is None
    (body, old), (headers, old_headers) = receiver.bodies, receiver.headers
    assert code["is_genuine"](SECRET.encode(), headers, body)
    assert not code["is_genuine"](b"another-secret-here", headers, body)
    assert not code["is_genuine"](SECRET.encode(), headers, body + b" ")
    assert not code["is_genuine"](SECRET.encode(), old_headers, old)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 404, 410, 500, 503])
def test_any_other_answer_is_a_failure_and_redirects_are_not_followed(
    receiver: Receiver, status: int
) -> None:
    receiver.statuses = [status]

    assert WebhookChannel(receiver.url, SECRET, HERE).send(1, {}) == f"HTTP {status}"
    assert len(receiver.bodies) == 1


def test_a_private_address_is_refused_unless_its_host_is_allowed(receiver: Receiver) -> None:
    refused = WebhookChannel(receiver.url, SECRET).send(1, {})

    assert refused is not None
    assert "not public" in refused
    assert "ALERT_WEBHOOK_PRIVATE_HOSTS" in refused
    assert receiver.bodies == []


def test_a_name_that_leads_to_a_private_address_is_refused_where_it_connects(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name may lead to a public address when it is checked, and elsewhere a moment later."""
    asked = []

    def rebinding(host: str, port: int, **_: object) -> list[object]:
        asked.append(host)
        address = ("93.184.215.14" if len(asked) > 1 else "127.0.0.1", port)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)]

    monkeypatch.setattr("socket.getaddrinfo", rebinding)
    url = receiver.url.replace("127.0.0.1", "hooks.example.com")

    assert "not public" in str(WebhookChannel(url, SECRET).send(1, {}))
    assert asked == ["hooks.example.com"]
    assert receiver.bodies == []


def test_of_several_addresses_a_private_one_is_never_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    dialled: list[str] = []
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 443)) for ip in ("93.184.215.14", "10.0.0.1")]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)

    def refuse(address: tuple[str, int], *_: object, **__: object) -> None:
        dialled.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr("worker.http.deadline.create_connection", refuse)
    assert "not public" in str(WebhookChannel("https://hooks.example.com/x", SECRET).send(1, {}))
    assert dialled == ["93.184.215.14"]


def test_nobody_who_listens_is_a_failure_in_a_word_and_without_the_address() -> None:
    with closing(socket.socket()) as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}/T00SECRET"
        trouble = WebhookChannel(url, SECRET, HERE).send(1, {})

    assert trouble == "the connection was refused"


def test_a_receiver_that_drips_its_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_DEADLINE_SECONDS", 0.5)
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        over = threading.Event()
        thread = threading.Thread(target=_drip, args=(server, over), daemon=True)
        thread.start()
        began = time.monotonic()
        trouble = WebhookChannel(f"http://127.0.0.1:{server.getsockname()[1]}/", SECRET, HERE).send(1, {})
        took = time.monotonic() - began
        over.set()
        thread.join(5)

    assert trouble == "the total deadline of 0.5 s passed"
    assert took < 5


def _drip(server: socket.socket, over: threading.Event) -> None:
    accepted, _ = server.accept()
    with closing(accepted):
        try:
            while not over.wait(0.1):
                accepted.sendall(b"H")
        except OSError:
            return


def test_no_proxy_of_the_environment_is_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    assert WebhookChannel(receiver.url, SECRET, HERE).send(1, {}) is None


def test_waits_grow_and_stay_bounded() -> None:
    waits = [_retry_delay_seconds(attempts) for attempts in range(1, 100)]

    assert waits[:4] == [15, 30, 60, 120]
    assert waits == sorted(waits)
    assert waits[-1] == _MAX_RETRY_SECONDS
