"""Checks of what a process needs, and their messages."""

import threading
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from kombu import Connection

from tests.conftest import KEY
from worker import readiness as web
from worker.collector.wsgi import create_app as create_collector
from worker.ledger.database import Ledger
from worker.ledger.intake.inbox import Accepted
from worker.ledger.intake.spool import Segment, SpooledRequest
from worker.monitoring import checks
from worker.monitoring.checks import Finding, Readiness, State
from worker.settings import parse
from worker.web.management import create_app as create_management


def _no_broker() -> Connection:
    # Nothing listens on the port of "tcpmux".
    return Connection("redis://127.0.0.1:1//", connect_timeout=1)


def _a_broker() -> Connection:
    return Connection("memory://")


def _states(found: list[Finding]) -> dict[str, str]:
    return {one.check: one.state.value for one in found}


def test_all_is_well_on_a_migrated_ledger_with_a_broker(ledger: Ledger) -> None:
    body, status = web.readiness_of(ledger, _a_broker).answer()

    assert (body["status"], status) == ("ok", 200)
    assert [one["check"] for one in body["checks"]] == ["database", "migrations", "keys", "broker"]


def test_without_a_broker_it_is_degraded_and_still_ready(sqlite_ledger: Ledger) -> None:
    body, status = web.readiness_of(sqlite_ledger, _no_broker).answer()

    assert (body["status"], status) == ("degraded", 200)
    assert body["checks"][-1] == {
        "check": "broker",
        "state": "degraded",
        "message": "The broker does not answer (ConnectionError). "
        "Events are kept in the ledger and continue when it is back.",
    }


def test_a_ledger_without_tables_names_the_command_that_helps(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/empty.db", (KEY,))
    found = checks.check_migrations(ledger)
    ledger.dispose()

    assert found.state is State.FAILED
    assert "python -m worker migrate" in found.message


def test_a_wrong_key_is_not_ready(sqlite_ledger: Ledger) -> None:
    stranger = Ledger(sqlite_ledger.url.render_as_string(hide_password=False), ("cd" * 32,))
    body, status = web.readiness_of(stranger, _a_broker).answer()
    stranger.dispose()

    assert (body["status"], status) == ("failed", 503)
    assert "ENCRYPTION_KEY" in body["checks"][2]["message"]


def test_a_database_that_is_away_is_not_ready_and_its_address_stays_unsaid() -> None:
    away = Ledger("postgresql+psycopg://root:geheim@127.0.0.1:1/signal", (KEY,))
    body, status = web.readiness_of(away, _a_broker).answer()
    away.dispose()

    assert status == 503
    states = {one["check"]: one["state"] for one in body["checks"]}
    assert states == {"database": "failed", "migrations": "failed", "keys": "failed", "broker": "ok"}
    assert "geheim" not in str(body)
    assert "127.0.0.1" not in str(body)


@pytest.mark.parametrize(
    ("most_bytes", "status", "database"),
    [(1_000, 200, "degraded"), (20, 503, "failed"), (100, 200, "degraded")],
)
def test_while_a_spool_has_space_the_database_may_be_away(
    tmp_path: Path, most_bytes: int, status: int, database: str
) -> None:
    segment = Segment(tmp_path)
    segment.write(SpooledRequest(b"k", ()).to_record())
    segment.close()
    away = Ledger("postgresql+psycopg://root@127.0.0.1:1/signal", (KEY,))
    body, found = web.readiness_of(away, _a_broker, tmp_path, most_bytes).answer()
    away.dispose()

    states = {one["check"]: one["state"] for one in body["checks"]}
    assert (found, states["database"], states["migrations"]) == (status, database, "degraded")


def test_what_waits_in_the_spool_and_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    assert checks.check_spool(tmp_path, 1_000).state is State.OK
    event = Accepted("src", None, None, False, 1.0, b"sealed")
    segment = Segment(tmp_path)
    segment.write(SpooledRequest(b"k", (event,) * 3).to_record())
    found = checks.check_spool(tmp_path, 10_000)
    assert (found.state, found.message[:38]) == (State.DEGRADED, "3 events wait in the spool of this hos")
    segment.keep_unreadable()
    assert "1 file in" in checks.check_spool(tmp_path, 10_000).message
    segment.close()


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ((), State.OK),
        ((State.OK, State.OK), State.OK),
        ((State.OK, State.DEGRADED), State.DEGRADED),
        ((State.FAILED, State.DEGRADED), State.FAILED),
    ],
)
def test_the_worst_finding_counts(states: tuple[State, ...], expected: State) -> None:
    assert checks.worst_state([Finding("x", state, "") for state in states]) is expected


def test_checks_run_again_only_after_some_seconds() -> None:
    looks, now = [], [0.0]

    def check() -> Finding:
        looks.append(now[0])
        return Finding("x", State.OK, "")

    readiness = Readiness([check], lambda: now[0])
    for now[0] in (0.0, 1.0, 2.9, 3.0, 3.1):
        readiness.findings()

    assert looks == [0.0, 3.0]


def test_who_asks_while_a_check_hangs_gets_the_answer_before() -> None:
    hangs, go_on, now = threading.Event(), threading.Event(), [0.0]

    def check() -> Finding:
        if now[0]:
            hangs.set()
            assert go_on.wait(30)
        return Finding("x", State.OK, f"asked at {now[0]:g}")

    readiness = Readiness([check], lambda: now[0])
    before = readiness.findings()
    now[0] = 100.0
    other = threading.Thread(target=readiness.findings)
    other.start()
    assert hangs.wait(30)
    meanwhile = readiness.findings()
    go_on.set()
    other.join(30)

    assert (before, meanwhile) == (before, before)
    assert readiness.findings()[0].message == "asked at 100"


@pytest.fixture(params=["collector", "management"])
def client(
    request: pytest.FixtureRequest,
    sqlite_ledger: Ledger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> FlaskClient:
    monkeypatch.setattr(web, "_configured_broker", _no_broker)
    settings = parse({"SIGNAL_VAR": str(tmp_path)})
    if request.param == "management":
        return create_management(sqlite_ledger, settings).test_client()
    return create_collector(sqlite_ledger, settings, len).test_client()


def test_readyz_says_without_a_token_that_only_the_broker_is_away(client: FlaskClient) -> None:
    answer = client.get("/readyz")

    assert (answer.status_code, answer.json["status"]) == (200, "degraded")  # type: ignore[index]
    states = {one["check"]: one["state"] for one in answer.json["checks"]}  # type: ignore[index]
    assert states == {"database": "ok", "migrations": "ok", "keys": "ok", "broker": "degraded"}
