"""Brokers that a test may kill, because it started them."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import redis
from kombu import Connection
from kombu.exceptions import KombuError

from tests.integration.services import free_port, missing
from tests.integration.stack import BROKER, Stack, start_broker
from tests.integration.waiting import until

# The one of the package; Debian's own wrapper changes to another user first.
_RABBITMQ_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
# An Erlang machine starts in about ten seconds on a machine that does nothing else.
_START_SECONDS = 90.0


class Broker(Protocol):
    """Describe a broker that can be killed and started again."""

    def kill(self) -> None:
        """Kill it, like a power failure."""

    def start(self) -> None:
        """Start it again with its files; return once it answers."""

    def wipe(self) -> None:
        """Delete its files while it is down."""


class EmbeddedValkey:
    """The stack's own Valkey, which comes back with its append-only file."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def kill(self) -> None:
        self._stack.kill(BROKER)

    def start(self) -> None:
        start_broker(self._stack)

    def wipe(self) -> None:
        shutil.rmtree(self._stack.var / "valkey")


class RedisServer:
    """A separate Redis, which writes every command to disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = {
            "port": self._port,
            "bind": "127.0.0.1",
            "dir": self._folder,
            "appendonly": "yes",
            "save": "",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        with (self._folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                ["redis-server", *words], stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        until("Redis answers", self._answers, 30, every=0.1)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def wipe(self) -> None:
        shutil.rmtree(self._folder / "appendonlydir")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "output").read_text(errors="replace")[-2000:]
        try:
            with redis.Redis.from_url(self.url, socket_timeout=2) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


class RabbitNode:
    """A separate RabbitMQ node for a test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._port, distribution_port = free_port(), free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self._port}//"
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "RABBITMQ_NODENAME": f"chaos-{self._port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(distribution_port),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            # None of these exist: the node runs with the defaults and without plug-ins.
            "RABBITMQ_CONFIG_FILE": str(folder / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "none"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [str(_RABBITMQ_SERVER)],
                env=self._environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        until("the RabbitMQ node answers", self._answers, _START_SECONDS, every=0.3)

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)
            self._process = None
            # The name is free once Erlang's name server has seen the connection end.
            time.sleep(0.5)

    def wipe(self) -> None:
        shutil.rmtree(self._folder / "data")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "output").read_text(errors="replace")[-2000:]
        try:
            with Connection(self.url, connect_timeout=2) as connection:
                connection.ensure_connection(max_retries=1, interval_start=0)
        except (OSError, KombuError):
            return False
        return True


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """Run a Redis for the time of a `with`; without the program the test is skipped."""
    if shutil.which("redis-server") is None:
        missing("redis-server is not there")
    server = RedisServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@contextmanager
def rabbitmq_node(folder: Path) -> Iterator[RabbitNode]:
    """Run a RabbitMQ node for the time of a `with`; without the package the test is skipped."""
    if not _RABBITMQ_SERVER.exists():
        missing(f"{_RABBITMQ_SERVER} is not there")
    node = RabbitNode(folder)
    try:
        node.start()
        yield node
    finally:
        node.kill()
