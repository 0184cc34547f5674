"""The ledger's numbers reach Prometheus under documented names."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from tests.ledger.shop import ACCOUNT, NOW, accept, new, pend, place, write
from worker.collector.wsgi import create_app as create_collector
from worker.ledger.database import Ledger
from worker.ledger.delivery import new_batches
from worker.ledger.delivery.new_batches import BatchGroup
from worker.ledger.reports import measures
from worker.ledger.reports.account_status import AccountState
from worker.ledger.reports.measures import Measured
from worker.ledger.schema import State
from worker.ledger.setup import ad_accounts
from worker.ledger.upkeep import counter_rows
from worker.monitoring.measures_as_metrics import CLASSES
from worker.monitoring.metrics import Exporter, _all_metrics, _Figures, _group_small_accounts, _spool_metrics
from worker.settings import SettingsError, parse
from worker.web.management import create_app as create_management

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-of-the-scraper"
QUIET = AccountState("1", 0, None, 0, None, False, False, 200.0)
METRIC = re.compile(r"\bsignal_[a-z_]+\b")


def _scraped(text: bytes) -> dict[tuple[str, str], float]:
    """Return the values by name and label."""
    return {
        (sample.name, "".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def _names() -> set[str]:
    nothing = _Figures(Counter(), Measured(), None, [QUIET], NOW)
    families = (*_all_metrics(nothing), *_spool_metrics(ROOT / "absent"))
    return {sample.name for family in families for sample in family.samples}


def test_an_empty_ledger_shows_every_outcome_at_zero(ledger: Ledger) -> None:
    found = _scraped(Exporter(ledger, lambda: NOW).text())

    assert set(found.values()) == {0.0}
    assert ("signal_deliveries_total", "delivered") in found
    assert ("signal_events_accepted_total", "") in found


def test_what_was_accepted_and_what_became_of_deliveries_is_counted(ledger: Ledger) -> None:
    where = place(ledger)
    accept(ledger, [{"type": "page"}] * 3, received_at=NOW - 90)
    pend(ledger, where, 2)
    write(ledger, [new(ledger, where, "e0"), new(ledger, where, "no", state=State.FILTERED, reason="no")])

    found = _scraped(Exporter(ledger, lambda: NOW).text())
    assert found["signal_events_accepted_total", ""] == 3
    assert found["signal_inbox_oldest_age_seconds", ""] == 90
    shown = {name: found["signal_deliveries_total", name] for name in ("created", "filtered", "duplicate")}
    assert shown == {"created": 4, "filtered": 1, "duplicate": 1}


def test_what_waits_is_shown_by_ad_account_with_its_age(ledger: Ledger) -> None:
    where = place(ledger)
    pend(ledger, where, 2, prefix="online", accepted_at=NOW - 30)
    pend(ledger, where, 3, prefix="offline", offline=True, accepted_at=NOW - 40)
    pend(ledger, where, 4, prefix="test", test=True)
    with ledger.write() as connection:
        new_batches.claim_batch(
            connection, BatchGroup(where.credential_id, where.ad_account, True, False), 20, NOW - 7
        )

    found = _scraped(Exporter(ledger, lambda: NOW).text())
    assert found["signal_deliveries_pending", ACCOUNT] == 5
    assert found["signal_pending_oldest_age_seconds", ACCOUNT] == 40
    assert found["signal_deliveries_in_flight", ACCOUNT] == 4
    assert found["signal_in_flight_oldest_age_seconds", ACCOUNT] == 7


def test_a_pause_an_open_breaker_and_spent_tokens_show(ledger: Ledger) -> None:
    where = place(ledger)
    with ledger.write() as connection:
        ad_accounts.take_token(connection, where.ad_account, NOW)
        ad_accounts.pause_credential(connection, where.credential_id, "by_hand", "a reason", "admin", NOW)
        ad_accounts.set_breaker(connection, where.credential_id, 5, NOW + 60)

    found = _scraped(Exporter(ledger, lambda: NOW).text())
    assert found["signal_account_paused", ACCOUNT] == 1
    assert found["signal_breaker_open", ACCOUNT] == 1
    assert found["signal_rate_tokens", ACCOUNT] == pytest.approx(199, abs=0.001)


def test_what_processes_measured_is_shown_by_label_and_by_bucket(ledger: Ledger) -> None:
    measured = Measured()
    measured.count(measures.REJECTED, "rate_limited", 3)
    # Messages for events count as those of the last of their queues.
    measured.count(measures.PUBLISHED, "events", 30)
    measured.count(measures.PUBLISHED, "events-4", 10)
    measured.count(measures.PUBLISHED, "delivery", 5)
    measured.count(measures.FAILED, "refused", 2)
    measured.count(measures.FAILED, "of_an_earlier_version", 1)
    for seconds in (0.04, 0.3, 99.0):
        measured.observe(measures.REQUEST_SECONDS, seconds, "2xx")
    with ledger.write() as connection:
        measures.append_measures(connection, measured)

    text = Exporter(ledger, lambda: NOW).text()
    found = _scraped(text)
    assert found["signal_events_rejected_total", "rate_limited"] == 3
    assert found["signal_messages_published_total", "events"] == 40
    assert found["signal_messages_published_total", "delivery"] == 5
    assert found["signal_deliveries_failed_total", "refused"] == 2
    assert found["signal_deliveries_failed_total", "of_an_earlier_version"] == 1
    name = "signal_pinterest_request_duration_seconds"
    bounds = ("0.05", "0.25", "0.5", "25.0", "+Inf")
    assert [found[f"{name}_bucket", bound + "2xx"] for bound in bounds] == [1, 1, 2, 2, 3]
    assert (found[f"{name}_count", "2xx"], found[f"{name}_sum", "2xx"]) == (3, pytest.approx(99.34))
    # A hundred accounts add 700 lines at most.
    assert len(found) < 300


def test_every_class_that_the_mapping_gives_is_known_beforehand() -> None:
    given = set(re.findall(r'(?:_Refusal|TimeError)\("([a-z_]+)"', _sources("worker/pinterest")))
    given |= set(re.findall(r'Ending\(one\.id, "([a-z_]+)"', _sources("worker/pipeline")))

    assert "stale" in given
    assert given <= set(CLASSES)


def _sources(folder: str) -> str:
    return "".join(file.read_text() for file in sorted((ROOT / folder).rglob("*.py")))


def test_counters_keep_what_earlier_hours_brought(ledger: Ledger) -> None:
    now = [NOW]
    exporter = Exporter(ledger, lambda: now[0])
    place(ledger)
    seen = []
    for hours in (0, 1, 2, 5, 5):
        now[0] = NOW + hours * 3600 + len(seen) * 60
        accept(ledger, [{"type": "page"}], received_at=now[0])
        seen.append(_scraped(exporter.text())["signal_events_accepted_total", ""])

    assert seen == [1, 2, 3, 4, 5]


def test_folding_changes_no_counter(ledger: Ledger) -> None:
    place(ledger)
    for _ in range(3):
        accept(ledger, [{"type": "page"}])
    with ledger.write() as connection:
        assert counter_rows.fold_counters(connection, "tally") == 2

    assert _scraped(Exporter(ledger, lambda: NOW).text())["signal_events_accepted_total", ""] == 3


def test_scrapes_within_some_seconds_share_one_look(sqlite_ledger: Ledger) -> None:
    now = [NOW]
    exporter = Exporter(sqlite_ledger, lambda: now[0])
    exporter.text()
    place(sqlite_ledger)
    accept(sqlite_ledger, [{"type": "page"}])
    seen = []
    for now[0] in (NOW + 4.9, NOW + 5):
        seen.append(_scraped(exporter.text())["signal_events_accepted_total", ""])

    assert seen == [0, 1]


def test_ad_accounts_beyond_the_bound_are_put_together() -> None:
    quiet = [replace(QUIET, ad_account_id=str(number)) for number in range(4)]
    busy = replace(QUIET, ad_account_id="9", pending=5, pending_since=7.0, breaker_open=True, rate_tokens=1.0)
    found = _group_small_accounts([*quiet, busy], limit=2)

    assert [one.ad_account_id for one in found] == ["0", "1", "other"]
    assert found[-1] == replace(busy, ad_account_id="other")


@pytest.fixture(params=["collector", "management"])
def clients(
    request: pytest.FixtureRequest, sqlite_ledger: Ledger, tmp_path: Path
) -> tuple[FlaskClient, FlaskClient]:
    """Lend two clients: of an app without METRICS_TOKEN, and of one with it."""

    def client(**environ: str) -> FlaskClient:
        settings = parse({"SIGNAL_VAR": str(tmp_path), **environ})
        if request.param == "management":
            return create_management(sqlite_ledger, settings).test_client()
        return create_collector(sqlite_ledger, settings, len).test_client()

    return client(), client(METRICS_TOKEN=TOKEN)


def test_both_processes_show_metrics_to_this_machine_and_not_through_a_proxy(clients: Any) -> None:
    here, through_a_proxy = clients[0].get("/metrics"), {"X-Forwarded-For": "203.0.113.9"}
    refused = clients[0].get("/metrics", headers=through_a_proxy)

    assert here.status_code == 200
    assert here.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b"signal_events_accepted_total 0.0" in here.data
    assert refused.status_code == 403
    assert "METRICS_TOKEN" in refused.json["error"]["message"]


def test_with_a_token_only_the_token_opens_them(clients: Any) -> None:
    good = clients[1].get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})

    assert good.status_code == 200
    assert clients[1].get("/metrics").status_code == 403


def test_a_token_that_can_be_guessed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="METRICS_TOKEN must be at least 16 ASCII characters"):
        parse({"SIGNAL_VAR": str(tmp_path), "METRICS_TOKEN": "short"})


def _families() -> set[str]:
    found = [
        *_all_metrics(_Figures(Counter(), Measured(), None, [QUIET], NOW)),
        *_spool_metrics(ROOT / "absent"),
    ]
    return {family.name + ("_total" if family.type == "counter" else "") for family in found}


def test_the_page_of_metrics_lists_exactly_what_is_exported() -> None:
    rows = re.findall(r"^\| `(signal_[a-z_]+)`", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)

    assert sorted(rows) == sorted(_families())


def test_the_dashboard_shows_every_metric() -> None:
    board = (ROOT / "deploy/grafana/signal.json").read_text()

    assert [family for family in sorted(_families()) if family not in board] == []


@pytest.mark.parametrize("file", ["deploy/prometheus/alerts.yml", "deploy/grafana/signal.json"])
def test_alerts_and_dashboard_use_only_names_that_are_exported(file: str) -> None:
    used = set(METRIC.findall((ROOT / file).read_text()))

    assert used
    assert used <= _names()


def test_every_panel_of_the_dashboard_asks_prometheus_something() -> None:
    board = json.loads((ROOT / "deploy/grafana/signal.json").read_text())

    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"]) > 5
    for panel in board["panels"]:
        assert [METRIC.search(target["expr"]) for target in panel["targets"]].count(None) == 0
