"""Alerts reach people by e-mail and chat, in order, once, and again after a failure."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import insert, select

from tests.alerts.receiver import receiving
from tests.alerts.test_lifecycle_in_ledger import HERE, refuse_token, watch
from tests.ledger.shop import NOW
from worker.alerts import lifecycle
from worker.alerts.channels import ChatChannel, MailChannel, WebhookChannel
from worker.ledger.database import Ledger
from worker.ledger.schema import alert_notice
from worker.ledger.upkeep import alerts

CONTENT = {
    "change": "fired",
    "rule": "token_refused",
    "subject": "42",
    "headline": "Critical: Pinterest refuses ad account 42.",
    "summary": "Pinterest refuses ad account 42.",
    "what_to_do": "Create an access token.",
    "at": 1_750_000_000.0,
    "page": "/#account-42",
    "text": "Critical: Pinterest refuses ad account 42. Create an access token.",
}


@contextmanager
def mail_server(refused: str = "") -> Iterator[tuple[str, list[str]]]:
    """Run an SMTP server that keeps each message, and refuses one command."""
    kept: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 here")
            while line := self.rfile.readline().decode().strip():
                word = line.split(" ")[0].upper()
                if word == refused:
                    self.say("535 no" if word == "AUTH" else "554 no")
                elif word == "EHLO":
                    self.say("250-here")
                    self.say("250 AUTH PLAIN")
                elif word == "DATA":
                    self.say("354 go on")
                    kept.append("".join(iter(lambda: self.rfile.readline().decode(), ".\r\n")))
                    self.say("250 kept")
                else:
                    self.say("221 bye" if word == "QUIT" else "250 fine")

        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield f"smtp://127.0.0.1:{server.server_address[1]}", kept
        server.shutdown()
        thread.join(5)


def test_an_email_has_the_summary_what_to_do_the_time_and_a_link() -> None:
    with mail_server() as (url, kept):
        mail = MailChannel(
            url, "alerts@shop.example.com", ("a@example.com", "b@example.com"), "https://signal.example.com/"
        )
        assert mail.send(1, CONTENT) is None
    (message,) = kept
    assert "\r\nhttps://signal.example.com/#account-42\r\n" in message
    assert "Reported 2025-06-15 15:06 UTC." in message
    assert "Subject: Critical: Pinterest refuses ad account 42." in message
    assert "To: a@example.com, b@example.com" in message
    assert "Create an access token." in message
    assert "Rule token_refused, 42." in message


@pytest.mark.parametrize("refused", ["MAIL", "RCPT", "DATA"])
def test_an_email_that_is_refused_is_an_error_without_addresses(refused: str) -> None:
    with mail_server(refused) as (url, kept):
        trouble = MailChannel(url, "alerts@shop.example.com", ("a@example.com",)).send(1, CONTENT)
    assert trouble is not None
    assert "@" not in trouble
    assert kept == []


def test_a_server_elsewhere_gets_no_email_without_encryption(monkeypatch: pytest.MonkeyPatch) -> None:
    with mail_server() as (url, kept):
        port = int(url.rpartition(":")[2])
        monkeypatch.setattr("socket.getaddrinfo", _always(port))
        trouble = MailChannel(
            f"smtp://user:secret@mail.example.com:{port}", "a@example.com", ("b@example.com",)
        )
        assert trouble.send(1, CONTENT) == "SMTPNotSupportedError"
    assert kept == []


def _always(port: int) -> Any:
    import socket

    return lambda *_args, **_named: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


def test_a_chat_gets_the_text_alone() -> None:
    with receiving() as receiver:
        assert ChatChannel(receiver.url, HERE).send(1, CONTENT) is None
        receiver.statuses.append(403)
        assert ChatChannel(receiver.url, HERE).send(1, CONTENT) == "HTTP 403"
        assert "not public" in str(ChatChannel(receiver.url).send(1, CONTENT))
    assert [json.loads(body) for body in receiver.bodies] == [
        {"text": f"{CONTENT['text']} Reported 2025-06-15 15:06 UTC."}
    ] * 2


def test_a_chat_gets_a_link_and_an_event_name_cannot_mention_anybody() -> None:
    content = CONTENT | {"text": "Warning: No <!channel> & co.", "change": "resolved"}
    with receiving() as receiver:
        assert ChatChannel(receiver.url, HERE, "https://signal.example.com").send(1, content) is None
    (body,) = receiver.bodies
    link = "https://signal.example.com/#account-42"
    text = f"Warning: No &lt;!channel&gt; &amp; co. Ended 2025-06-15 15:06 UTC. {link}"
    assert json.loads(body) == {"text": text}


def test_a_channel_gets_each_notice_once_in_order_and_again_after_a_failure(ledger: Ledger) -> None:
    refuse_token(ledger)
    watch(ledger)
    with receiving() as receiver:
        chat = ChatChannel(receiver.url, HERE)

        def send(at: float) -> int:
            return lifecycle.send_to_channel(ledger, chat, lambda: at)

        receiver.statuses.append(500)
        assert send(NOW) == 0
        # Not at once, and not for ever.
        assert send(NOW + 30) == 0
        assert len(receiver.bodies) == 1
        assert send(NOW + 90) == 1
        assert send(NOW + 180) == 0
        watch(ledger, NOW + 10_000)
        sent = send(NOW + 10_001)
    texts = [json.loads(body)["text"] for body in receiver.bodies]
    assert texts[0] == texts[1]
    assert texts[0].startswith("Critical: Pinterest refuses ad account")
    assert sent == len(texts) - 2


def test_a_way_of_sending_that_keeps_failing_is_known_until_it_works(ledger: Ledger) -> None:
    refuse_token(ledger)
    watch(ledger, to_webhook=True)

    def unsent(at: float) -> dict[str, float]:
        with ledger.read() as connection:
            return alerts.unsent_since(connection, at)

    with receiving() as receiver:
        chat, hook = (
            ChatChannel(receiver.url, HERE),
            WebhookChannel(receiver.url, "a-secret-of-the-tests", HERE),
        )
        receiver.statuses += [403, 403]
        assert unsent(NOW + 200) == {}
        lifecycle.send_to_channel(ledger, chat, lambda: NOW)
        lifecycle.send_notices(ledger, hook, lambda: NOW)
        assert unsent(NOW + 60) == {}
        assert unsent(NOW + 200) == {"chat": NOW, "webhook": NOW}
        # Removed from the settings, they are tried no more.
        assert unsent(NOW + 1_000) == {}
        lifecycle.send_to_channel(ledger, chat, lambda: NOW + 210)
        lifecycle.send_notices(ledger, hook, lambda: NOW + 210)
    assert unsent(NOW + 220) == {}


def test_a_webhook_that_keeps_failing_is_known_however_many_notices_wait(ledger: Ledger) -> None:
    refuse_token(ledger)
    with receiving() as receiver:
        hook = WebhookChannel(receiver.url, "a-secret-of-the-tests", HERE)
        receiver.statuses.append(500)
        watch(ledger, to_webhook=True)
        lifecycle.send_notices(ledger, hook, lambda: NOW)
    with ledger.write() as connection:
        tried = connection.execute(select(alert_notice)).mappings().one()
        untried = {name: value for name, value in tried.items() if name != "id"} | {"attempts": 0}
        connection.execute(insert(alert_notice), [untried] * 30)
    with ledger.read() as connection:
        assert alerts.unsent_since(connection, NOW + 200) == {"webhook": NOW}


def test_a_wrong_password_of_the_mail_server_is_named() -> None:
    with mail_server("AUTH") as (url, kept):
        mail = MailChannel(url.replace("//", "//user:wrong@"), "a@example.com", ("b@example.com",))
        assert mail.send(1, CONTENT) == "the mail server refuses the user or password of SMTP_URL"
    assert kept == []


def test_a_new_channel_is_not_sent_what_is_old(ledger: Ledger) -> None:
    refuse_token(ledger)
    watch(ledger)
    with receiving() as receiver:
        assert lifecycle.send_to_channel(ledger, ChatChannel(receiver.url, HERE), lambda: NOW + 3_600) == 0
