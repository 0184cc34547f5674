"""Run the usual way: its collector, its workers and Flower, on a broker and a database of their own."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from celery import Celery

from benchmarks.publish import valkey
from benchmarks.usual_way import PIPELINE_KEY
from tests.integration import services
from tests.integration.waiting import until
from worker.dev.sandbox.server import Sandbox, sandbox_process

# Celery's default pool, which uses every core. With threads its worker loses its place in what RabbitMQ sends,
# every few thousand messages, and reads no more.
PROCESSES = 8
ACCOUNT = "600000000001"
STOP_SECONDS = 30.0
BIN = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class UsualStack:
    """The addresses of the running stack."""

    sandbox: Sandbox
    collector_url: str
    configuration: list[str]

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {PIPELINE_KEY}"}


@contextmanager
def running(broker: str, database: str) -> Iterator[UsualStack]:
    """Run the usual way for the time of a `with`."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="usual-")))
        sandbox = stack.enter_context(sandbox_process("--quiet"))
        environment = os.environ | {
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "USUAL_BROKER_URL": stack.enter_context(
                services.rabbitmq_url() if broker == "rabbitmq" else valkey()
            ),
            "USUAL_DATABASE_URL": _database_url(database, folder, stack),
            "USUAL_EVENTS_URL": sandbox.events_url(ACCOUNT),
        }
        subprocess.run(
            [sys.executable, "-m", "benchmarks.usual_way"], env=environment, cwd=folder, check=True
        )
        port, flower_port = services.free_port(), services.free_port()
        commands = _commands(port, flower_port)
        with (folder / "log").open("ab") as log:
            processes = [
                stack.enter_context(_process(command, environment, folder, log)) for command in commands
            ]
        url = f"http://127.0.0.1:{port}"
        until("the usual collector answers", lambda: _answers(f"{url}/healthz", processes), 60)
        until(
            "the usual Flower answers",
            lambda: _answers(f"http://127.0.0.1:{flower_port}/healthcheck", processes),
            60,
        )
        until("the usual worker answers", lambda: len(_ping(environment["USUAL_BROKER_URL"])) == 1, 60)
        yield UsualStack(
            sandbox, url, [" ".join([Path(command[0]).name, *command[1:]]) for command in commands]
        )


def _commands(port: int, flower_port: int) -> list[list[str]]:
    celery = [str(BIN / "celery"), "--quiet", "-A", "benchmarks.usual_way"]
    gunicorn = [str(BIN / "gunicorn"), "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread"]
    pool = ["--pool", "prefork", "--concurrency", str(PROCESSES), "--without-mingle", "--without-gossip"]
    return [
        [
            *gunicorn,
            "--threads",
            "8",
            "--log-level",
            "warning",
            "--no-control-socket",
            "benchmarks.usual_way:web",
        ],
        [*celery, "worker", *pool, "--loglevel", "WARNING"],
        [
            *celery,
            "flower",
            "--address=127.0.0.1",
            f"--port={flower_port}",
            "--max_tasks=5000",
            "--logging=warning",
        ],
    ]


def _database_url(database: str, folder: Path, stack: ExitStack) -> str:
    if database == "sqlite":
        return f"sqlite:///{folder / 'usual.db'}"
    return stack.enter_context(services.postgresql_url()).replace("postgresql://", "postgresql+psycopg://", 1)


@contextmanager
def _process(command, environment, folder, log) -> "Iterator[subprocess.Popen[bytes]]":
    process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str, processes: "list[subprocess.Popen[bytes]]") -> bool:
    for process in processes:
        assert process.poll() is None, f"{process.args} died"
    try:
        return requests.get(url, timeout=2).status_code == 200
    except requests.RequestException:
        return False


def _ping(broker_url: str) -> list[object]:
    app = Celery("bench", broker=broker_url, set_as_current=False)
    with app.connection_for_write() as connection:
        return list(app.control.broadcast("ping", reply=True, timeout=1, limit=1, connection=connection))
