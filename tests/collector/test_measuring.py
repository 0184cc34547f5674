"""What the collector refuses is counted by reason, and how long it took to answer."""

import re
from collections import Counter
from pathlib import Path

import pytest
from flask import Flask

from tests.collector.conftest import KEY, Clock, Collector, Hints
from worker.collector.wsgi import create_app
from worker.ledger.database import Ledger, LedgerBusyError
from worker.ledger.intake import inbox
from worker.ledger.reports import measures
from worker.ledger.reports.measures import Measured
from worker.monitoring.measures_as_metrics import REJECTION_REASONS
from worker.monitoring.meter import Meter
from worker.settings import parse

COLLECTOR = Path(__file__).parents[2] / "worker/collector"
# Answers to what brings no events.
OTHERS = {"FORBIDDEN", "NOT_FOUND", "METHOD_NOT_ALLOWED", "HTTP_ERROR"}
GOOD = {"event": "Order Completed"}


class Counting(Collector):
    """A collector whose meter is at hand."""

    meter: Meter

    def measured(self) -> Measured:
        self.meter.write(self.ledger)
        with self.ledger.read() as connection:
            return measures.measure_totals(connection)

    def rejected(self) -> Counter[str]:
        amounts = self.measured().amounts
        return Counter({key.label: one.n for key, one in amounts.items() if key.name == measures.REJECTED})


@pytest.fixture
def counting(ledger: Ledger, tmp_path: Path) -> Counting:
    meter, clock, hints = Meter(), Clock(), Hints()
    app: Flask = create_app(ledger, parse({"SIGNAL_VAR": str(tmp_path)}), hints, clock, meter)
    made = Counting(app, ledger, clock, hints)
    made.meter = meter
    return made


def test_every_refusal_counts_under_its_reason(counting: Counting) -> None:
    calls = (
        ("/v1/t", GOOD, None),
        ("/v1/t", GOOD, "dk_live_wrong"),
        ("/v1/t", "no json", KEY),
        ("/v1/t", {"event": ""}, KEY),
        ("/v1/t", GOOD | {"context": {"page": "x" * 70_000}}, KEY),
        ("/v1/t", "x" * 600_000, KEY),
        ("/v1/batch", {"batch": [GOOD] * 501}, KEY),
        ("/v1/events", GOOD, None),
    )
    for path, body, key in calls:
        assert counting.send(path, body, key).status_code >= 400

    assert counting.rejected() == {
        "unauthorized": 2,
        "invalid_body": 1,
        "invalid_event": 1,
        "event_too_large": 1,
        "body_too_large": 1,
        "too_many_events": 1,
        "invalid_signature": 1,
    }


def test_of_a_batch_each_bad_event_counts(counting: Counting) -> None:
    bad = {"type": "wave"}
    some = counting.send("/v1/batch", {"batch": [{"type": "page"}, bad, bad]})
    none = counting.send("/v1/batch", {"batch": [bad] * 4})

    assert (some.status_code, none.status_code) == (200, 400)
    assert counting.rejected() == {"invalid_event": 6}


def test_a_ledger_that_is_away_is_a_reason(counting: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise LedgerBusyError("away")

    monkeypatch.setattr(inbox, "accept_events", away)
    assert counting.send("/v1/t", GOOD).status_code == 503

    assert counting.rejected() == {"ledger_away": 1}


def test_answers_to_events_are_timed_and_others_are_not(counting: Counting) -> None:
    counting.send("/v1/t", GOOD)
    counting.send("/v1/t", GOOD, None)
    counting.client.get("/healthz")
    counting.send("/anything", GOOD)

    buckets = dict(counting.measured().buckets(measures.ANSWER_SECONDS))
    assert sum(one.n for one in buckets.values()) == 2
    assert counting.rejected() == {"unauthorized": 1}


def test_every_code_that_the_collector_answers_has_a_reason_or_is_about_no_event() -> None:
    used: set[str] = set()
    for file in COLLECTOR.glob("*.py"):
        used |= set(
            re.findall(r'"([A-Z]{2,}(?:_[A-Z]+)+|UNAUTHORIZED|UNAVAILABLE|FORBIDDEN)"', file.read_text())
        )

    assert (
        used
        - {"MAX_CONTENT_LENGTH", "SPOOL_MAX_MB"}
        - {name for name in used if name.startswith("COLLECTOR_")}
        == set(REJECTION_REASONS) | OTHERS
    )
