"""A signed request counts once, however often and wherever it is repeated."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from tests.collector.conftest import SECRET, Clock, Collector, Hints
from worker.collector.wsgi import create_app
from worker.http.signature import sign
from worker.ledger.database import Ledger, LedgerBusyError
from worker.ledger.intake import inbox
from worker.ledger.schema import signed_request
from worker.settings import parse

ORDER = {"type": "track", "event": "Order Completed", "properties": {"total": 10}}


def another_process(collector: Collector, folder: Path) -> Collector:
    """Return a second collector process on the same ledger."""
    url = collector.ledger.url.render_as_string(hide_password=False)
    ledger = Ledger(url, ("00" * 32,))
    app = create_app(ledger, parse({"SIGNAL_VAR": str(folder)}), Hints(), collector.clock)
    return Collector(app, ledger, collector.clock, Hints())


def test_a_repeated_signature_is_answered_alike_and_changes_nothing(collector: Collector) -> None:
    answers = [collector.send_signed("/v1/events", ORDER) for _ in range(3)]
    assert [(answer.status_code, answer.json) for answer in answers] == [(200, {"success": True})] * 3
    assert len(collector.kept()) == 1
    assert [len(ids) for ids in collector.hints.offered] == [1]


def test_a_repeated_signed_batch_stores_none_of_its_events_again(collector: Collector) -> None:
    batch = {"batch": [ORDER, ORDER, {"type": "no such type"}]}
    first, second = (collector.send_signed("/v1/batch", batch) for _ in range(2))
    assert first.json == second.json
    assert first.json is not None
    assert first.json["accepted"] == 2
    assert len(collector.kept()) == 2


def test_the_signature_in_capitals_is_the_same_signature(collector: Collector) -> None:
    raw = b'{"type": "page"}'
    stamp = str(int(collector.clock() * 1000))
    digest = sign(SECRET, stamp, raw).removeprefix("sha256=")
    for form in (digest, digest.upper()):
        assert (
            collector.send_signed("/v1/events", {"type": "page"}, signature=f"sha256={form}").status_code
            == 200
        )
    assert len(collector.kept()) == 1


def test_other_timestamps_and_other_bodies_are_other_requests(collector: Collector) -> None:
    stamp = int(collector.clock() * 1000)
    collector.send_signed("/v1/events", ORDER, stamp=str(stamp))
    collector.send_signed("/v1/events", ORDER, stamp=str(stamp + 1))
    collector.send_signed("/v1/events", ORDER | {"event": "Signed Up"}, stamp=str(stamp))
    assert len(collector.kept()) == 3


def test_requests_with_a_pipeline_key_may_look_alike(collector: Collector) -> None:
    for _ in range(2):
        assert collector.send("/v1/p", {}).status_code == 200
    assert len(collector.kept()) == 2


def test_another_process_knows_the_signature(collector: Collector, tmp_path: Path) -> None:
    other = another_process(collector, tmp_path)
    statuses = [one.send_signed("/v1/events", ORDER).status_code for one in (collector, other, collector)]
    other.ledger.dispose()
    assert statuses == [200, 200, 200]
    assert len(collector.kept()) == 1


def test_of_many_repeats_at_the_same_moment_one_is_stored(collector: Collector) -> None:
    ready = threading.Barrier(8)

    def send(_: int) -> int:
        ready.wait(10)
        return collector.send_signed("/v1/events", ORDER).status_code

    # They wait for the lock together, so that several are in one transaction.
    with ThreadPoolExecutor(8) as pool:
        with collector.ledger.write():
            sent = pool.map(send, range(8))
            threading.Event().wait(0.3)
        assert list(sent) == [200] * 8
    assert len(collector.kept()) == 1


@pytest.mark.parametrize(
    "error", [LedgerBusyError("held"), OperationalError("INSERT", {}, Exception("disk"))]
)
def test_a_request_that_failed_is_accepted_when_it_is_repeated(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    accept = inbox.accept_events

    def fail_late(*arguments: Any) -> list[int]:
        accept(*arguments)
        raise error

    monkeypatch.setattr("worker.ledger.intake.inbox.accept_events", fail_late)
    assert collector.send_signed("/v1/events", ORDER).status_code == 503
    monkeypatch.undo()
    assert collector.kept() == []
    assert collector.send_signed("/v1/events", ORDER).status_code == 200
    assert len(collector.kept()) == 1


def test_a_batch_that_was_refused_as_a_whole_is_read_again(collector: Collector) -> None:
    statuses = [collector.send_signed("/v1/batch", {"batch": [{"type": "x"}]}).status_code for _ in range(2)]
    assert statuses == [400, 400]


def test_the_signature_is_remembered_beyond_its_time_window(collector: Collector) -> None:
    """The clocks of two hosts differ: a purge on one must not open the window on another."""
    clock: Clock = collector.clock
    collector.send_signed("/v1/events", ORDER, stamp=str(int((clock.at + 299) * 1000)))
    with collector.ledger.read() as connection:
        (forget_at,) = connection.scalars(select(signed_request.c.forget_at))
    assert forget_at - clock.at >= 599 + 600
