"""The process that works without a ledger reports a ledger that is away."""

import json
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from sqlalchemy.exc import OperationalError

from tests.alerts.receiver import Receiver, receiving
from worker.alerts.channels import WebhookChannel
from worker.alerts.lifecycle import _RESOLVE_AFTER_SECONDS
from worker.ledger.upkeep.alerts import Change
from worker.web import alerts_thread
from worker.web.alerts_thread import _MAX_UNSENT_NOTICES, _WAIT_SECONDS, _Outage

NOW = 1_750_000_000.0


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as received:
        yield received


def outage_to(receiver: Receiver) -> _Outage:
    return _Outage(lambda: WebhookChannel(receiver.url, "a-secret-of-the-tests", ("127.0.0.1",)))


def test_it_is_told_after_a_minute_and_when_it_is_over(receiver: Receiver) -> None:
    outage = outage_to(receiver)
    looks = [(0.0, True), (30.0, True), (_WAIT_SECONDS, True), (90.0, True), (100.0, False)]
    looks.append((90.0 + _RESOLVE_AFTER_SECONDS, False))
    told = [outage.update(away=away, now=NOW + seconds) for seconds, away in looks]

    assert told == [None, None, Change.FIRED, None, None, Change.RESOLVED]
    first, second = map(json.loads, receiver.bodies)
    assert (first["rule"], first["change"], first["severity"]) == ("ledger_away", "fired", "critical")
    assert "Restore the database" in first["what_to_do"]
    assert second["change"] == "resolved"
    assert len({headers["x-alert-id"] for headers in receiver.headers}) == 2


def test_a_short_restart_is_not_told(receiver: Receiver) -> None:
    outage = outage_to(receiver)
    told = [
        outage.update(away=away, now=NOW + n * 30) for n, away in enumerate([True, True, False, True, False])
    ]

    assert told == [None] * 5
    assert receiver.bodies == []


def test_a_webhook_that_is_away_too_is_told_later_and_in_order(receiver: Receiver) -> None:
    outage = outage_to(receiver)
    receiver.statuses = [500] * 3
    for seconds, away in (
        (0, True),
        (60, True),
        (90, True),
        (60 + _RESOLVE_AFTER_SECONDS + 60, False),
        (300, False),
    ):
        outage.update(away=away, now=NOW + seconds)

    changes = [json.loads(body)["change"] for body in receiver.bodies]
    assert changes == ["fired"] * 4 + ["resolved"]


def test_without_a_webhook_little_is_kept() -> None:
    outage = _Outage(lambda: None)
    for n in range(100):
        outage.update(away=n % 2 == 0, now=NOW + n * 1_000)
        outage.update(away=n % 2 == 0, now=NOW + n * 1_000 + 500)

    assert len(outage._unsent) == _MAX_UNSENT_NOTICES


def test_the_alerts_thread_finds_it_in_its_own_check(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage = outage_to(receiver)

    def away(*_: object) -> bool:
        raise OperationalError("SELECT 1", {}, ConnectionRefusedError())

    monkeypatch.setattr(alerts_thread, "_watch_if_overdue", away)
    clock = iter((NOW, NOW + 60))
    ledger = SimpleNamespace(ping=lambda: None, now=lambda: next(clock))
    monkeypatch.setattr(alerts_thread.runtime, "ledger", lambda: ledger)
    for _ in range(2):
        with pytest.raises(OperationalError):
            alerts_thread._look(outage)

    assert [json.loads(body)["rule"] for body in receiver.bodies] == ["ledger_away"]
