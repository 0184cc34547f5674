"""ENCRYPTION_KEY is rotated while events flow: nothing stops, nothing is lost."""

import threading
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.integration.shop import Shop, Visitor
from tests.integration.stack import Plan, Stack, running
from tests.integration.waiting import until
from worker.ledger.schema import data_key
from worker.ledger.vault import _MASTER_ID_BYTES, _master_id

NEW = "7e" * 32


class Feed:
    """Let a shop's visitor send events until the `with` block ends."""

    def __init__(self, shop: Shop) -> None:
        self._shop, self._enough = shop, threading.Event()
        self.statuses: list[int] = []
        self.failed: list[str] = []
        self._thread = threading.Thread(target=self._send, daemon=True)

    def __enter__(self) -> "Feed":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join(60)

    def await_more(self) -> None:
        """Wait until more events have been accepted."""
        before = len(self.statuses)
        until("more events are accepted", lambda: len(self.statuses) > before + 5, 60)

    def _send(self) -> None:
        visitor, number = Visitor(), 0
        while not self._enough.wait(0.05):
            number += 1
            call = page(f"flow-{number}")
            try:
                status = self._shop.post("/v1/p", call, visitor).status_code
            except OSError as error:
                # The collector restarts: a sender without a response sends again.
                self.failed.append(type(error).__name__)
                number -= 1
                continue
            self.statuses.append(status)


def page(message_id: str) -> dict[str, object]:
    context = {"consent": {"advertising": True}, "page": {"url": "https://example.com/p"}}
    return {"messageId": message_id, "context": context}


def restart(stack: Stack, name: str) -> None:
    stack.stop(name)
    stack.start(name)
    stack.await_ready(name)


def one_after_another(stack: Stack, keys: str, feed: Feed) -> None:
    """Restart every process with other keys, one at a time."""
    stack.environment["ENCRYPTION_KEY"] = keys
    for name in ("ingest1", "delivery", "upkeep", "beat", "management", "collector"):
        restart(stack, name)
        feed.await_more()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_key_is_rotated_while_events_flow(tmp_path: Path) -> None:
    with running(Plan("valkey", "sqlite"), tmp_path, without=("flower",)) as stack:
        old = stack.environment["ENCRYPTION_KEY"]
        shop = Shop(stack)
        with Feed(shop) as feed:
            feed.await_more()
            one_after_another(stack, f"{NEW},{old}", feed)
            with stack.ledger() as ledger, ledger.read() as connection:
                masters = {one[:_MASTER_ID_BYTES] for one in connection.scalars(select(data_key.c.wrapped))}
            assert masters == {_master_id(bytes.fromhex(old))}

            rotated = stack.command("keys", "rotate")
            assert (rotated.returncode, "The old key is no longer needed." in rotated.stdout) == (0, True)
            feed.await_more()
            one_after_another(stack, NEW, feed)
        assert set(feed.statuses) == {200}
        shop.await_delivered(len(feed.statuses), 60)
        books = stack.command("books")
        assert books.stdout.endswith("The books balance.\n"), books.stdout + books.stderr

        stack.environment["ENCRYPTION_KEY"] = old
        lost = stack.command("books")
        assert (lost.returncode, lost.stderr.startswith("ENCRYPTION_KEY lacks the key")) == (1, True)
        stack.environment["ENCRYPTION_KEY"] = NEW
