"""Run the Procfile's processes with separate ports, broker and database."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import requests
from celery import Celery
from honcho.environ import parse_procfile
from sqlalchemy import update

from tests.integration import services
from tests.integration.waiting import until
from worker.dev.sandbox.server import Sandbox, sandbox_process
from worker.ledger.database import Ledger
from worker.ledger.schema import BatchStatus, batch
from worker.settings import parse, socket_path

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

# A warm shutdown waits for a request's whole deadline at most.
WARM_STOP_SECONDS = 35.0
BROKER = "broker"
# First the processes that create work stop, then those that do it, then the broker.
STOPPING = (("collector", "management", "flower", "beat"), ("ingest", "delivery", "upkeep"), (BROKER,))
WORKERS = ("ingest", "delivery", "upkeep")
QUEUES = ("events", "batching", "delivery", "upkeep")


@dataclass(frozen=True, slots=True)
class Plan:
    """The parts of a stack."""

    broker: str = "valkey"
    database: str = "sqlite"
    ingest_workers: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    delivery_workers: int = 1

    def __str__(self) -> str:
        return f"{self.broker}+{self.database}"


class Stack:
    """The running processes by name; ingest workers are called ingest1, ingest2 and so on.

    Of delivery workers the first is called delivery, the others delivery2, delivery3.
    """

    def __init__(self, plan: Plan, environment: dict[str, str], sandbox: Sandbox) -> None:
        self.plan, self.environment, self.sandbox = plan, environment, sandbox
        self.settings = parse(environment)
        self.var = self.settings.var
        self.logs = self.var / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.commands = _commands(plan)
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.collector_url = self.settings.collector_url
        self.management_url = self.settings.management_url
        self.flower_url = self.settings.flower_url

    @property
    def ingest_workers(self) -> list[str]:
        return [name for name in self.commands if name.startswith("ingest")]

    @property
    def workers(self) -> list[str]:
        return [name for name in self.commands if name.rstrip("0123456789") in WORKERS]

    def start(self, *names: str) -> None:
        """Start processes; they need not be ready yet."""
        for name in names:
            with (self.logs / f"{name}.log").open("ab") as log:
                # A session of its own, so that a signal sent here reaches this process and its children alone.
                self.running[name] = subprocess.Popen(
                    ["/bin/sh", "-c", f"exec {self.commands[name]}"],
                    cwd=ROOT,
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )

    def await_ready(self, *names: str) -> None:
        """Wait until these processes answer, or all of them."""
        chosen = set(names or self.commands)
        for name, path in (("collector", "/healthz"), ("management", "/healthz"), ("flower", "/healthcheck")):
            if name in chosen:
                until(f"{name} answers", partial(self.answers, getattr(self, f"{name}_url") + path), 60)
        workers = chosen & set(self.workers)
        if workers:
            until(f"{workers} answer", lambda: workers <= self.ping(len(self.workers)), 60)
        self.assert_alive()

    def ping(self, limit: int | None = None) -> set[str]:
        """Return the names of the workers that answer Celery's ping within a second."""
        app = Celery("tests", broker=self.settings.broker_url, set_as_current=False)
        broker = self.settings.broker
        limits = {} if broker.url.startswith("amqp") else {"socket_timeout": 5}
        app.conf.broker_transport_options = limits | dict(broker.options)
        app.conf.broker_use_ssl = broker.tls and dict(broker.tls)
        with closing(app), app.connection_for_write() as connection:
            answers = app.control.broadcast("ping", reply=True, timeout=1, limit=limit, connection=connection)
        return {node.partition("@")[0] for answer in answers for node in answer}

    def answers(self, url: str) -> bool:
        """Return whether an address answers as expected."""
        self.assert_alive()
        try:
            return requests.get(url, timeout=2).status_code == 200
        except requests.RequestException:
            return False

    def assert_alive(self) -> None:
        """Fail, with the end of its log, when a process died by itself."""
        for name, process in self.running.items():
            assert process.poll() is None, f"{name} died ({process.returncode}): {self.log(name)[-3000:]}"

    def log(self, name: str) -> str:
        return (self.logs / f"{name}.log").read_text(errors="replace")

    def stop(self, *names: str) -> None:
        """Stop processes warmly, these at once; fail when one does not end well or takes too long."""
        stopping = {name: self.running.pop(name) for name in names if name in self.running}
        died = [name for name, process in stopping.items() if process.poll() is not None]
        for process in stopping.values():
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + WARM_STOP_SECONDS
        late = [name for name, process in stopping.items() if not _ends(process, deadline)]
        ends = {name: process.returncode for name, process in stopping.items() if process.returncode}
        assert not late, f"{late} did not stop within {WARM_STOP_SECONDS:g} s"
        told = {name: self.log(name)[-3000:] for name in {*died, *ends}}
        assert not died, f"{died} died before: {told}"
        assert not ends, f"exit statuses {ends}: {told}"

    def kill(self, *names: str) -> None:
        """Kill processes and their children, like a power failure."""
        for process in (self.running.pop(name) for name in names):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)

    def stop_everything(self) -> None:
        """Stop everything in order, the broker last; then kill all remaining processes."""
        try:
            for group in STOPPING:
                self.stop(*(name for name in self.running if name.rstrip("0123456789") in group))
        finally:
            self.kill(*list(self.running))

    def command(self, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        """Run ``python -m worker …`` in the stack's environment."""
        return subprocess.run(
            [sys.executable, "-m", "worker", *arguments],
            cwd=ROOT,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """Lend the stack's ledger."""
        ledger = Ledger(self.settings.database_url, self.settings.encryption_keys)
        try:
            yield ledger
        finally:
            ledger.dispose()

    def end_leases(self) -> None:
        """End the leases of killed workers, which otherwise takes a minute."""
        with self.ledger() as ledger, ledger.write() as connection:
            lost = update(batch).where(batch.c.status == BatchStatus.SENDING.value)
            connection.execute(lost.values(lease_until=time.time() - 1))

    def admin(self, method: str, path: str, body: object = None) -> Any:
        """Call the Management API; return the answer's JSON."""
        headers = {"Authorization": f"Bearer {self.settings.admin_token}"}
        answer = requests.request(
            method, f"{self.management_url}/v1/admin{path}", json=body, headers=headers, timeout=15
        )
        assert answer.ok, answer.text
        return answer.json() if answer.content else None


@contextmanager
def running(plan: Plan, folder: Path, *, without: tuple[str, ...] = ()) -> Iterator[Stack]:
    """Run a stack for the time of a `with`; services that it needs and are absent skip the test."""
    with prepared(plan, folder) as stack:
        stack.commands = {name: line for name, line in stack.commands.items() if name not in without}
        stack.start(*(name for name in stack.commands if name != BROKER))
        stack.await_ready()
        yield stack
        stack.assert_alive()


@contextmanager
def prepared(plan: Plan, folder: Path) -> Iterator[Stack]:
    """Lend a stack with its servers and a migrated ledger, without any of its own processes."""
    with ExitStack() as held:
        environment = _environment(folder)
        if plan.broker != "valkey" and "BROKER_URL" not in plan.environment:
            lend = {"rabbitmq": services.rabbitmq_url, "redis": services.redis_url}[plan.broker]
            environment["BROKER_URL"] = held.enter_context(lend())
        if plan.database == "postgresql":
            environment["DATABASE_URL"] = held.enter_context(services.postgresql_url())
        sandbox = held.enter_context(sandbox_process("--quiet"))
        environment["PINTEREST_API_URL"] = sandbox.url
        stack = Stack(plan, environment | dict(plan.environment), sandbox)
        held.callback(stack.stop_everything)
        if plan.broker == "valkey":
            start_broker(stack)
        migrated = stack.command("migrate")
        assert migrated.returncode == 0, migrated.stderr
        yield stack


def start_broker(stack: Stack) -> int:
    """Start the embedded Valkey; return the server's own process id."""
    path = socket_path(stack.var)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    stack.start(BROKER)
    return services.valkey_process_id(str(path))


@contextmanager
def frozen_broker(stack: Stack) -> Iterator[None]:
    """Freeze the embedded broker: it keeps its connections and answers nothing."""
    process_id = services.valkey_process_id(str(socket_path(stack.var)))
    os.kill(process_id, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process_id, signal.SIGCONT)


def _commands(plan: Plan) -> dict[str, str]:
    lines: dict[str, str] = dict(parse_procfile((ROOT / "Procfile").read_text()).processes)
    ingest = lines.pop("ingest")
    for number in range(1, plan.ingest_workers + 1):
        lines[f"ingest{number}"] = ingest.replace("ingest@%h", f"ingest{number}@%h")
    for number in range(2, plan.delivery_workers + 1):
        lines[f"delivery{number}"] = lines["delivery"].replace("delivery@%h", f"delivery{number}@%h")
    if plan.broker == "valkey":
        lines[BROKER] = "python -m worker.dev.embedded_broker"
    return lines


def _environment(folder: Path) -> dict[str, str]:
    ports = {name: services.free_port() for name in ("COLLECTOR", "MANAGEMENT", "FLOWER")}
    made = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}
    made |= {name: os.environ[name] for name in ("HOME", "LANG", "PGPASSWORD") if name in os.environ}
    for name, port in ports.items():
        made |= {f"{name}_BIND": f"127.0.0.1:{port}", f"{name}_URL": f"http://127.0.0.1:{port}"}
    return made | {
        "SIGNAL_VAR": str(folder),
        "ALLOW_SANDBOX": "1",
        "ADMIN_TOKEN": "adm_of_the_integration_tests",
        "ENCRYPTION_KEY": "5c" * 32,
        "FLOWER_BASIC_AUTH": "operator:a-password-of-the-tests",
        "FLOWER_COOKIE_SECRET": "a-cookie-secret-of-the-tests",
        "TRUSTED_PROXIES": "127.0.0.1",
        # Short enough for a test, and long enough to gather more than one event.
        "BATCH_INTERVAL": "0.2",
        "RETRY_BACKOFF_BASE": "0.2",
    }


def _ends(process: "subprocess.Popen[bytes]", deadline: float) -> bool:
    try:
        process.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        return False
    return True
