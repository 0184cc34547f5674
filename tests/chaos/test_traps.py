"""Ways in which brokers, Celery and their settings can lose events, as far as no other tests cover them."""

import configparser
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from honcho.environ import parse_procfile

from tests.chaos.conftest import Wired
from tests.chaos.timeline import Timeline
from tests.ledger.shop import NOW, pend, place, stand
from tests.pipeline.sandbox import POLICY, FakePinterest, answer
from worker.ledger.database import Ledger
from worker.settings import socket_path

ROOT = Path(__file__).parents[2]
HOUR = 3_600.0
BROKERS = {"redis": "redis://127.0.0.1:1/0", "rabbitmq": "amqp://127.0.0.1:1//"}

_TELL = """
import json, celeryconfig
shown = {name: value for name, value in vars(celeryconfig).items() if not name.startswith("_")}
shown["queues"] = {queue.name: [queue.no_ack, queue.exchange.name, queue.exchange.type, queue.queue_arguments]
                  for queue in celeryconfig.task_queues}
print(json.dumps(shown, default=str))
"""


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Return the settings of Celery as a process has them, on each kind of broker."""
    var = tmp_path_factory.mktemp("var")
    told = {}
    for name, url in BROKERS.items():
        environment = {**os.environ, "BROKER_URL": url, "SIGNAL_VAR": str(var)}
        done = subprocess.run(
            [sys.executable, "-c", _TELL],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        told[name] = json.loads(done.stdout)
    return told


@pytest.fixture
def on_redis(configured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return configured["redis"]


@pytest.fixture
def on_rabbitmq(configured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return configured["rabbitmq"]


def test_what_a_dead_worker_held_is_not_kept_back_for_an_hour(on_redis: dict[str, Any]) -> None:
    """A stale mutex of a killed sweep would block restoring for five more minutes."""
    options = on_redis["broker_transport_options"]
    assert options["visibility_timeout"] <= 300
    assert options["unacked_restore_interval"] <= 10
    assert options["unacked_mutex_expire"] <= 30


def test_no_countdown_outlives_the_visibility_timeout(on_redis: dict[str, Any]) -> None:
    """A message that stays unacknowledged for longer is delivered repeatedly."""
    longest = POLICY.longest_celery_seconds
    assert longest <= on_redis["broker_transport_options"]["visibility_timeout"] / 2


def test_the_prefetch_is_never_shrunk_for_good(configured: dict[str, dict[str, Any]]) -> None:
    assert [name for name, told in configured.items() if "worker_eta_task_limit" in told] == []


def test_a_half_open_connection_ends_in_an_error(on_redis: dict[str, Any]) -> None:
    options = on_redis["broker_transport_options"]
    assert 0 < options["socket_timeout"] <= 10
    assert 0 < options["socket_connect_timeout"] <= 10
    assert options["health_check_interval"] > 0
    # This would silently disable batched publishing.
    assert "retry_on_timeout" not in options


def test_a_long_outage_of_the_broker_ends_no_worker(configured: dict[str, dict[str, Any]]) -> None:
    """By default a worker gives up after a hundred tries, and exits if Redis becomes a replica."""
    for told in configured.values():
        assert told["broker_connection_max_retries"] is None
        assert told["broker_connection_retry_on_startup"] is True
        assert told["broker_channel_error_retry"] is True


def test_rabbitmq_confirms_what_it_takes_and_keeps_it_in_quorum_queues(on_rabbitmq: dict[str, Any]) -> None:
    """A countdown waits in RabbitMQ itself, which needs a topic exchange."""
    assert on_rabbitmq["broker_transport_options"]["confirm_publish"] is True
    for no_ack, _, kind, arguments in on_rabbitmq["queues"].values():
        assert (no_ack, kind, arguments) == (False, "topic", {"x-queue-type": "quorum"})


def test_redis_hands_events_out_without_acknowledgements_and_a_few_at_a_time(
    on_redis: dict[str, Any],
) -> None:
    """Without the second setting busy threads would pull the whole queue into their memory."""
    taken_without_ack = {name for name, (no_ack, *_) in on_redis["queues"].items() if no_ack}
    assert taken_without_ack == {"events"}
    assert on_redis["worker_disable_prefetch"] is True


def test_a_task_that_kills_its_process_is_not_handed_out_for_ever(
    configured: dict[str, dict[str, Any]],
) -> None:
    assert [told["task_reject_on_worker_lost"] for told in configured.values()] == [False, False]


def test_ticks_expire_late_and_all_of_them_do(configured: dict[str, dict[str, Any]]) -> None:
    """Without an expiry they accumulate during an outage; a short one depends on two machines' clocks."""
    for told in configured.values():
        assert {tick["options"]["expires"] for tick in told["beat_schedule"].values()} == {60}


def test_a_warm_shutdown_is_not_turned_into_a_soft_one(configured: dict[str, dict[str, Any]]) -> None:
    """With threads a soft shutdown sleeps out its window and then fails."""
    for told in configured.values():
        assert "worker_soft_shutdown_timeout" not in told
    for path in (ROOT / "Procfile", *(ROOT / "deploy").rglob("*")):
        assert not path.is_file() or "REMAP_SIGTERM" not in path.read_text()


def test_supervisor_waits_longer_than_the_longest_request() -> None:
    """Its usual ten seconds would end in a SIGKILL while a batch is being sent."""
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=(";",))
    parser.read(ROOT / "deploy" / "supervisord.conf")
    workers = ("program:ingest", "program:delivery", "program:upkeep")
    assert {name: parser.getint(name, "stopwaitsecs") > 25 for name in workers} == dict.fromkeys(
        workers, True
    )


def test_batching_waits_for_no_other_tick(configured: dict[str, dict[str, Any]]) -> None:
    """Purging takes up to 20 s, and begins with others at the same moment: each has a thread, and batching one."""
    line = parse_procfile((ROOT / "Procfile").read_text()).processes["upkeep"].split()
    threads = int(line[line.index("--concurrency") + 1])
    assert all(len(told["beat_schedule"]) <= threads for told in configured.values())


def test_events_for_flower_are_sent_for_whole_bulks_and_not_for_publishing(
    configured: dict[str, dict[str, Any]],
) -> None:
    """An event of Celery's for each message published would cost a quarter of a small task's throughput."""
    assert [told["task_send_sent_event"] for told in configured.values()] == [False, False]
    lines = parse_procfile((ROOT / "Procfile").read_text()).processes
    assert [name for name, line in lines.items() if " -E" in line or "--task-events" in line] == []


def test_flower_keeps_its_cookies_good_over_a_restart_and_its_memory_bounded(tmp_path: Path) -> None:
    """Flower's own way is a new secret at each start, and a hundred thousand tasks in memory."""
    tell = "from worker.web import flower_conf as conf; print(conf.cookie_secret, conf.persistent, conf.max_tasks)"
    environment = {**os.environ, "SIGNAL_VAR": str(tmp_path)}
    starts = [
        subprocess.run(
            [sys.executable, "-c", tell],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for _ in range(2)
    ]
    assert starts[0] == starts[1]
    secret, persistent, most_tasks = starts[0]
    assert (len(secret) >= 16, persistent, int(most_tasks) <= 10_000) == (True, "True", True)


def test_workers_hold_no_connection_from_before_a_fork() -> None:
    """They run on threads: nothing is forked, and so no connection is shared."""
    lines = parse_procfile((ROOT / "Procfile").read_text()).processes
    pools = {name: "--pool threads" in lines[name] for name in ("ingest", "delivery", "upkeep")}
    assert pools == {"ingest": True, "delivery": True, "upkeep": True}


def test_redis_is_installed_the_way_celery_needs_it() -> None:
    """`pip install celery redis` lacks a dependency, and a Redis Cluster is no broker."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    assert "celery[redis]==5.7.*" in parser["options"]["install_requires"].split()


def test_a_full_embedded_broker_refuses_messages_and_forgets_no_queue(stack_on_wires: Wired) -> None:
    """Redis's `allkeys-lru` can evict the queue itself."""
    path = str(socket_path(stack_on_wires.stack.var))
    with redis.Redis(unix_socket_path=path, socket_timeout=5) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}


def test_a_refusal_for_speed_is_not_retried_for_ever(sqlite_ledger: Ledger) -> None:
    """It uses no attempt, but ends with the window: the delivery fails, and an operator can retry it."""
    slow = answer(429, {"code": 8, "message": "This request exceeded a rate limit."}, Retry_After="60")
    line = Timeline(sqlite_ledger, FakePinterest(slow), replace(POLICY, window_seconds=HOUR))
    pend(sqlite_ledger, place(sqlite_ledger), 3, event_time=int(NOW + HOUR))
    line.live(2 * HOUR, step_seconds=30.0)
    assert stand(sqlite_ledger) == {"failed": 3}
    # No more requests than Pinterest allows, and none after the window.
    assert len(line.tries) <= 61
    assert line.tries[-1] - line.tries[0] <= HOUR + 90.0
