"""Tables of facts and findings; a finding about a problem says what to do."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from worker.doctor import findings
from worker.doctor.findings import FileFacts, RabbitFacts, RedisFacts, SiteFacts
from worker.monitoring.checks import Finding, State

NOW = 1_750_000_000.0
OK, DEGRADED, FAILED = State.OK, State.DEGRADED, State.FAILED
GOOD_REDIS = RedisFacts(
    version="9.1.0",
    eviction_policy="noeviction",
    append_only=True,
    append_only_failing=False,
    used_bytes=1_000,
    maxmemory_bytes=0,
    is_cluster=False,
    is_replica=False,
    time_skew_seconds=0.1,
)
QUEUES = ("events", "delivery")
GOOD_RABBIT = RabbitFacts("4.1.0", confirms=True, queues={"events": True, "delivery": True})


def states(findings: Iterable[Finding]) -> dict[str, State]:
    return {one.check: one.state for one in findings if one.state is not OK}


@pytest.mark.parametrize(
    ("changes", "expected", "words"),
    [
        ({}, {}, "noeviction"),
        ({"eviction_policy": "allkeys-lru"}, {"broker eviction": FAILED}, "Set maxmemory-policy noeviction."),
        ({"eviction_policy": "volatile-lru"}, {"broker eviction": FAILED}, "volatile-lru"),
        ({"append_only": False}, {"broker persistence": DEGRADED}, "Set appendonly yes."),
        ({"append_only_failing": True}, {"broker persistence": FAILED}, "check the broker's disk"),
        ({"maxmemory_bytes": 1_250}, {}, "noeviction"),
        ({"maxmemory_bytes": 1_200}, {"broker memory": DEGRADED}, "83% of maxmemory is used"),
        ({"is_cluster": True}, {"broker": FAILED}, "to a single server"),
        ({"is_replica": True}, {"broker": FAILED}, "to its primary"),
        ({"strange_exchanges": ("celery",)}, {"broker neighbours": DEGRADED}, "same database (celery)"),
        ({"time_skew_seconds": -31.0}, {"broker clock": FAILED}, "31.0 s behind this machine's"),
    ],
)
def test_a_redis_must_refuse_what_it_cannot_hold(
    changes: dict[str, Any], expected: dict[str, State], words: str
) -> None:
    found = list(findings.redis_findings(replace(GOOD_REDIS, **changes)))
    assert states(found) == expected
    assert words in " ".join(one.message for one in found)


@pytest.mark.parametrize(
    ("changes", "expected", "words"),
    [
        ({}, {}, "Every queue is a durable quorum queue."),
        ({"confirms": False}, {"broker confirms": FAILED}, "does not confirm"),
        ({"queues": {"events": True}}, {"broker queues": DEGRADED}, "Missing queues: delivery."),
        (
            {"queues": {"events": True, "delivery": False}},
            {"broker queues": FAILED},
            "Not a durable quorum queue: delivery. Stop the workers, delete the queue",
        ),
        ({"queues": {"delivery": False}}, {"broker queues": FAILED}, "Not a durable quorum queue: delivery."),
    ],
)
def test_a_rabbitmq_must_confirm_and_replicate(
    changes: dict[str, Any], expected: dict[str, State], words: str
) -> None:
    found = list(findings.rabbit_findings(replace(GOOD_RABBIT, **changes), QUEUES))
    assert states(found) == expected
    assert words in " ".join(one.message for one in found)


@pytest.mark.parametrize(
    ("skew", "expected"),
    [
        (0.0, OK),
        (2.0, OK),
        (-2.1, DEGRADED),
        (2.1, DEGRADED),
        (30.0, DEGRADED),
        (30.1, FAILED),
        (-3_600, FAILED),
    ],
)
def test_clocks_must_agree(skew: float, expected: State) -> None:
    assert findings.clock_finding("database clock", "the database's", skew).state is expected


@pytest.mark.parametrize(
    ("megabytes", "expected"),
    [(10_000, OK), (2_048, OK), (2_047, DEGRADED), (512, DEGRADED), (511, FAILED), (255, FAILED)],
)
def test_the_disk_must_have_room(megabytes: int, expected: State) -> None:
    finding = findings.disk_finding(megabytes * 1024**2)
    assert finding.state is expected
    assert f"{megabytes:,} MB" in finding.message


@pytest.mark.parametrize(
    ("facts", "expected", "words"),
    [
        (FileFacts(True, None), OK, "is writable"),
        (FileFacts(True, 0o600), OK, "only its owner can read"),
        (FileFacts(True, 0o640), FAILED, "mode 0640): set it to 600 with chmod."),
        (FileFacts(False, 0o600), FAILED, "make the user that runs the workers its owner"),
    ],
)
def test_the_state_folder_must_be_ours_alone(facts: FileFacts, expected: State, words: str) -> None:
    finding = findings.folder_finding(facts)
    assert (finding.state, words in finding.message) == (expected, True)


@pytest.mark.parametrize(
    ("production", "embedded", "sqlite", "expected", "words"),
    [
        (False, True, True, DEGRADED, "PRODUCTION is not 1"),
        (True, False, False, OK, "PRODUCTION is 1."),
        (
            True,
            True,
            True,
            OK,
            "With the embedded broker and SQLite, all processes must run on this machine.",
        ),
        (True, False, True, OK, "With SQLite, all processes"),
    ],
)
def test_it_says_whether_it_is_set_up_to_be_relied_on(
    production: bool, embedded: bool, sqlite: bool, expected: State, words: str
) -> None:
    finding = findings.production_finding(
        is_production=production, embedded_broker=embedded, is_sqlite=sqlite
    )
    assert (finding.state, words in finding.message) == (expected, True)


def test_every_queue_needs_a_worker_and_the_one_that_is_missing_is_named() -> None:
    queues = ["events", "batching", "delivery", "upkeep"]
    found = list(
        findings.worker_findings({"events": ["ingest@b", "ingest@a"], "batching": ["upkeep@a"]}, queues, {})
    )

    assert [one.state for one in found] == [OK, OK, FAILED, FAILED]
    assert [one.message for one in found] == [
        "ingest@a, ingest@b listen.",
        "upkeep@a listens.",
        "No worker listens: start the delivery process.",
        "No worker listens: start the upkeep process.",
    ]


def test_a_queue_of_events_that_no_worker_takes_or_that_is_left_over_is_named() -> None:
    found = list(findings.worker_findings({"events": ["a"]}, ["events", "events-2"], {"events-3": 1_234}))

    assert [(one.check, one.state) for one in found] == [
        ("workers on events", OK),
        ("workers on events-2", FAILED),
        ("messages in events-3", DEGRADED),
    ]
    assert found[1].message == (
        "No worker listens: start the ingest process, or name the queue in INGEST_QUEUES."
    )
    assert found[2].message.startswith("events-3 has 1,234 messages, but EVENT_QUEUES is 2.")


@pytest.mark.parametrize(
    ("last", "expected", "words"),
    [
        (NOW - 60, OK, "within the last minute"),
        (NOW - 61, FAILED, "It last ran 61 s ago: restart beat"),
        (None, FAILED, "It has never run: start beat"),
    ],
)
def test_beat_must_be_alive(last: float | None, expected: State, words: str) -> None:
    finding = findings.last_run_finding("batcher", last, NOW)
    assert (finding.state, words in finding.message) == (expected, True)


@pytest.mark.parametrize(
    ("status", "expected", "words"),
    [
        (200, OK, "http://x answers."),
        (503, FAILED, "(HTTP 503): start the collector process."),
        (None, FAILED, "(ConnectionError): start the collector process."),
    ],
)
def test_each_web_process_must_answer(status: int | None, expected: State, words: str) -> None:
    finding = findings.site_finding(SiteFacts("collector", "http://x", status, "ConnectionError"))
    assert (finding.state, words in finding.message) == (expected, True)


@pytest.mark.parametrize(
    ("status", "expected"), [(401, OK), (200, FAILED), (302, DEGRADED), (None, DEGRADED)]
)
def test_flower_must_ask_strangers_for_a_password(status: int | None, expected: State) -> None:
    assert (
        findings.flower_password_finding(SiteFacts("flower", "http://x", status, "ConnectionError")).state
        is expected
    )


@pytest.mark.parametrize(
    ("is_good", "left", "expected", "words"),
    [
        (True, None, OK, "It works."),
        (True, 14 * 86_400, OK, "It works."),
        (True, 13.5 * 86_400, DEGRADED, "It expires in 13 days"),
        (True, -5, DEGRADED, "It expires in 0 days"),
        (None, None, DEGRADED, "It works. Check this machine's connection to Pinterest."),
        (False, 99 * 86_400, FAILED, "create one in Ads Manager"),
    ],
)
def test_a_token_must_be_taken_and_last(
    is_good: bool | None, left: float | None, expected: State, words: str
) -> None:
    finding = findings.token_finding("int_1", is_good=is_good, sentence="It works", expires_in_seconds=left)
    assert (finding.check, finding.state, words in finding.message) == ("token of int_1", expected, True)


def test_an_unreachable_flower_is_reported_with_its_error() -> None:
    finding = findings.flower_password_finding(SiteFacts("flower", "http://x", None, "ConnectionError"))
    assert finding.message == "Flower did not answer, so this was not checked (ConnectionError)."


def test_a_firing_alert_is_a_warning_that_says_what_to_do() -> None:
    alerts = [{"summary": f"{name} is open.", "what_to_do": "Wait."} for name in ("One", "Two")]

    assert findings.alerts_finding([]).state is OK
    finding = findings.alerts_finding(alerts)
    assert (finding.state, finding.message) == (DEGRADED, "One is open. Two is open. Wait.")
    unsent = findings.alerts_finding([], {"mail": 1.0})
    assert (unsent.state, "(mail)" in unsent.message) == (FAILED, True)


def test_a_check_that_breaks_is_a_finding_without_the_errors_own_words() -> None:
    finding = findings.broken_check_finding("broker", ValueError("amqp://user:password@host"))
    assert finding == Finding("broker", FAILED, "The check failed (ValueError).")


def test_a_database_that_is_away_says_what_to_do() -> None:
    away = Finding("database", FAILED, "The database does not answer (OperationalError).")
    assert "server in DATABASE_URL" in findings.database_finding(away).message
    there = Finding("database", OK, "The database answers and takes writes.")
    assert findings.database_finding(there) is there


@pytest.mark.parametrize(
    ("embedded", "words"), [(True, "`python -m worker run`"), (False, "server in BROKER_URL")]
)
def test_a_broker_that_is_away_says_what_to_do(embedded: bool, words: str) -> None:
    away = Finding("broker", FAILED, "The broker does not answer (ConnectionError).")
    assert words in findings.broker_finding(away, embedded=embedded).message
    there = Finding("broker", OK, "The broker answers.")
    assert findings.broker_finding(there, embedded=embedded) is there
