"""Lend a separate part of a broker or a database."""

import os
import secrets
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from uuid import uuid4

import psycopg
import pytest
import redis

from tests.integration.waiting import until

HOST = "127.0.0.1"
PORTS = {"rabbitmq": 5672, "redis": 6379, "postgresql": 5432}
ANSWER_SECONDS = 10.0

_REDIS_DATABASES = range(5, 11)
# Below the range of ephemeral ports.
_PORTS = range(10_000, 32_000)
_OCCUPIED = "signal-worker-tests"


def require(name: str) -> None:
    """Skip the test where a service is absent; fail it where services are required."""
    try:
        socket.create_connection((HOST, PORTS[name]), timeout=1).close()
    except OSError:
        missing(f"{name} does not answer on {HOST}:{PORTS[name]}")


def missing(what: str) -> None:
    """Skip with this reason, or fail if all services are required."""
    if os.environ.get("REQUIRE_SERVICES") == "1":
        pytest.fail(f"{what}, and REQUIRE_SERVICES=1 asks for it")
    pytest.skip(what)


@contextmanager
def redis_url() -> Iterator[str]:
    """Lend an empty database of the Redis server; empty it afterwards."""
    require("redis")
    for number in _REDIS_DATABASES:
        url = f"redis://{HOST}:{PORTS['redis']}/{number}"
        with closing(redis.Redis.from_url(url, socket_timeout=ANSWER_SECONDS)) as client:
            if client.dbsize() == 0 and client.set(_OCCUPIED, 1, nx=True):
                try:
                    yield url
                finally:
                    client.flushdb()
                return
    missing("Redis has no empty database among those for tests")


@contextmanager
def rabbitmq_url() -> Iterator[str]:
    """Lend a virtual host of its own; the usual one where this user may not make one."""
    require("rabbitmq")
    name = f"signal-{uuid4().hex[:12]}"
    if not _rabbitmqctl("add_vhost", name):
        yield f"amqp://guest:guest@{HOST}:{PORTS['rabbitmq']}//"
        return
    try:
        _rabbitmqctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        yield f"amqp://guest:guest@{HOST}:{PORTS['rabbitmq']}/{name}"
    finally:
        _rabbitmqctl("delete_vhost", name)


def _rabbitmqctl(*arguments: str) -> bool:
    try:
        done = subprocess.run(["rabbitmqctl", "-q", *arguments], capture_output=True, timeout=60, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


@contextmanager
def postgresql_url() -> Iterator[str]:
    """Lend a database of its own."""
    require("postgresql")
    server = f"postgresql://root@{HOST}:{PORTS['postgresql']}"
    name = f"signal_{uuid4().hex[:12]}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield f"{server}/{name}"
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def free_port() -> int:
    """Return a free port outside the range of ephemeral ports."""
    while True:
        port = secrets.choice(_PORTS)
        with closing(socket.socket()) as held, suppress(OSError):
            held.bind((HOST, port))
            return port


def valkey_process_id(socket_path: str) -> int:
    """Return the process id of the server behind a socket, once it answers."""
    with closing(redis.Redis(unix_socket_path=socket_path, socket_timeout=ANSWER_SECONDS)) as client:

        def info() -> object:
            try:
                return client.info("server")["process_id"]
            except redis.ConnectionError:
                return None

        return int(str(until("the embedded broker answers", info, every=0.05)))
