"""Brokers that a test may kill, because it started them."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
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

    def __init__(self, folder: Path, further: Mapping[str, object] | None = None) -> None:
        self._folder, self._further = folder, further or {}
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        password = self._further.get("requirepass")
        self.url = f"redis://{f':{password}@' if password else ''}127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": self._folder,
            "appendonly": "yes",
            "save": "",
            **self._further,
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

    @property
    def runs(self) -> bool:
        """Return whether it was started, and not killed since."""
        return self._process is not None

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

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._port, distribution_port = port or free_port(), free_port()
        self.name = node_name(self._port)
        self.url = f"amqp://guest:guest@127.0.0.1:{self._port}//"
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "RABBITMQ_NODENAME": self.name,
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
        """Start it with its files; return once it answers."""
        self.launch()
        self.await_answer()

    def join_cluster(self, names: Sequence[str], cookie: str) -> None:
        """Form a cluster with these nodes at the first start."""
        lines = ["cluster_formation.peer_discovery_backend = classic_config"]
        lines += [f"cluster_formation.classic_config.nodes.{n} = {name}" for n, name in enumerate(names, 1)]
        file = self._folder / "rabbitmq.conf"
        file.write_text("\n".join(lines) + "\n")
        self._environment["RABBITMQ_CONFIG_FILE"] = str(file)
        (self._folder / ".erlang.cookie").write_text(cookie)
        (self._folder / ".erlang.cookie").chmod(0o400)

    def control(self, *arguments: str) -> str:
        """Run rabbitmqctl on this node."""
        command = [str(_RABBITMQ_SERVER.with_name("rabbitmqctl")), "-q", "-n", self.name, *arguments]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        return done.stdout

    def launch(self) -> None:
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

    def await_answer(self) -> None:
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


def node_name(port: int) -> str:
    return f"chaos-{port}@localhost"


@contextmanager
def rabbitmq_cluster(folder: Path) -> Iterator[list[RabbitNode]]:
    """Run three nodes of a cluster for the time of a `with`; without the package the test is skipped."""
    if not _RABBITMQ_SERVER.exists():
        missing(f"{_RABBITMQ_SERVER} is not there")
    ports = [free_port() for _ in range(3)]
    nodes = [RabbitNode(folder / str(port), port) for port in ports]
    try:
        for node in nodes:
            node.join_cluster([node_name(port) for port in ports], "a-cookie-of-the-tests")
        # The first forms the cluster, and the others join it.
        nodes[0].start()
        for node in nodes[1:]:
            node.start()
        yield nodes
    finally:
        for node in nodes:
            node.kill()


@contextmanager
def redis_server(folder: Path, further: Mapping[str, object] | None = None) -> Iterator[RedisServer]:
    """Run a Redis, with further options, for the time of a `with`; without the program the test is skipped."""
    if shutil.which("redis-server") is None:
        missing("redis-server is not there")
    server = RedisServer(folder, further)
    try:
        server.start()
        yield server
    finally:
        server.kill()


_OF_REDIS, _OF_SENTINELS = "a-redis-password", "a-sentinel-password"


class WatchedRedis:
    """A Redis and its replica; three sentinels make the replica the primary when the Redis does not answer.

    All of them need a password.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        passwords = {"requirepass": _OF_REDIS, "masterauth": _OF_REDIS}
        primary = RedisServer(folder / "primary", passwords)
        replica = RedisServer(folder / "replica", passwords | {"replicaof": f"127.0.0.1 {primary.port}"})
        self._nodes, self._folder = [primary, replica], folder
        self._ports = [free_port() for _ in range(3)]
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._ports)
        self.url = f"sentinel://:{_OF_REDIS}@{hosts}/0?master=shop&sentinel_password={_OF_SENTINELS}"
        self._sentinels: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start what does not run; the node that was killed comes back as the replica."""
        for node in self._nodes:
            if not node.runs:
                node.start()
        primary = self._nodes[0].port
        for port in self._ports if not self._sentinels else ():
            file = self._folder / f"{port}.conf"
            file.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {self._folder}\n"
                f"sentinel monitor shop 127.0.0.1 {primary} 2\n"
                "sentinel down-after-milliseconds shop 1000\nsentinel failover-timeout shop 5000\n"
                f"sentinel auth-pass shop {_OF_REDIS}\n"
                f"requirepass {_OF_SENTINELS}\nsentinel sentinel-pass {_OF_SENTINELS}\n"
            )
            command = ["redis-server", str(file), "--sentinel"]
            self._sentinels.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        until("the sentinels know each other", self._all_know_all, 30, every=0.1)

    def _all_know_all(self) -> bool:
        states = []
        for port in self._ports:
            with _sentinel(port) as client, suppress(redis.RedisError):
                states.append(client.sentinel_master("shop"))
        return len(states) == 3 and all(
            (state["num-other-sentinels"], state["num-slaves"]) == (2, 1) for state in states
        )

    def kill(self) -> None:
        """Kill the primary."""
        with _sentinel(self._ports[0]) as client:
            _, port = client.sentinel_get_master_addr_by_name("shop")
        next(node for node in self._nodes if node.port == int(port)).kill()

    def stop(self) -> None:
        for process in self._sentinels:
            process.kill()
            process.wait(10)
        for node in self._nodes:
            node.kill()


def _sentinel(port: int) -> redis.Redis:
    return redis.Redis(port=port, password=_OF_SENTINELS, socket_timeout=2)


@contextmanager
def watched_redis(folder: Path) -> Iterator[WatchedRedis]:
    """Run two Redis and three sentinels for the time of a `with`; without the program the test is skipped."""
    if shutil.which("redis-server") is None:
        missing("redis-server is not there")
    watched = WatchedRedis(folder)
    try:
        watched.start()
        yield watched
    finally:
        watched.stop()


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
