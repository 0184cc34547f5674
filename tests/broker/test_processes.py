"""Workers and beat start, work and stop as Celery's own commands do, and load less."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from celery import Celery
from honcho.environ import parse_procfile

from tests.broker.harness import ROOT, wait_until

OURS = ("worker.broker.processes",)
STOCK = ("celery",)
# It writes down every signal and task, and holds each task for SECONDS.
APP = """
import json, os, sys, time
from celery import Celery, signals

app = Celery("clock", broker=os.environ["BROKER"])
app.conf.update(
    task_default_queue="clock",
    beat_schedule={"tick": {"task": "clock.note", "schedule": 0.2, "args": ["tick"]}},
    broker_transport_options={"socket_timeout": 5},
    worker_hijack_root_logger=False,
)

def write(kind, **fields):
    with open(f"notes-{os.path.basename(os.environ['ROLE'])}", "a") as notes:
        print(json.dumps({"kind": kind, "process": os.getpid(), **fields}), file=notes)

for name in ("celeryd_init", "worker_init", "setup_logging", "celeryd_after_setup", "worker_ready",
             "worker_shutting_down", "worker_shutdown", "beat_init"):
    signal = getattr(signals, name)
    signal.connect(lambda name=name, **_: write(name), weak=False)

@app.task(name="clock.note")
def note(text):
    write("begun", text=text)
    time.sleep(float(os.environ.get("SECONDS", "0")))
    write("ended", text=text)
"""


class Process:
    """A worker or beat of the app above, in a folder of its own."""

    def __init__(self, folder: Path, program: tuple[str, ...], *words: str, **environment: str) -> None:
        self.notes_path, self.log_path = folder / f"notes-{words[0]}", folder / f"{words[0]}.log"
        command = [sys.executable, "-m", *program, "-A", "clock", *words]
        variables = {**os.environ, "PYTHONPATH": str(ROOT), "ROLE": words[0], **environment}
        with self.log_path.open("a") as log:
            self.running = subprocess.Popen(command, cwd=folder, env=variables, stdout=log, stderr=log)

    def notes(self, kind: str) -> list[dict[str, object]]:
        if not self.notes_path.exists():
            return []
        whole, _, _ = self.notes_path.read_text().rpartition("\n")
        return [note for note in map(json.loads, whole.splitlines()) if note["kind"] == kind]

    def await_note(self, kind: str, count: int = 1) -> None:
        assert wait_until(lambda: len(self.notes(kind)) >= count or self.running.poll() is not None)
        assert self.running.poll() is None, self.log_path.read_text()

    def send(self, number: signal.Signals) -> int:
        """Send a signal and return the exit status."""
        self.running.send_signal(number)
        return self.running.wait(60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "clock.py").write_text(APP)
    return tmp_path


@contextmanager
def process(folder: Path, program: tuple[str, ...], *words: str, **environment: str) -> Iterator[Process]:
    started = Process(folder, program, *words, **environment)
    try:
        yield started
    finally:
        if started.running.poll() is None:
            started.running.kill()
            started.running.wait(10)


@contextmanager
def worker(folder: Path, program: tuple[str, ...], broker: str, **environment: str) -> Iterator[Process]:
    options = ("--queues", "clock", "--hostname", "one-%n@%h", "--concurrency", "2", "--loglevel", "info")
    with process(
        folder,
        program,
        "worker",
        *(*options, "--pool", "threads", "--without-mingle"),
        BROKER=broker,
        **environment,
    ) as started:
        started.await_note("worker_ready")
        yield started


def publish(broker: str, text: str) -> None:
    app = Celery("tests", broker=broker, set_as_current=False)
    app.send_task("clock.note", [text], queue="clock")


@pytest.mark.parametrize("program", [OURS, STOCK], ids=["ours", "stock"])
def test_a_worker_fires_every_signal_runs_a_task_and_ends_it_before_it_stops(
    folder: Path, program: tuple[str, ...], valkey_url: str
) -> None:
    with worker(folder, program, valkey_url, SECONDS="1") as started:
        publish(valkey_url, "last")
        started.await_note("begun")
        status = started.send(signal.SIGTERM)
        log = started.log_path.read_text()
    kinds = [json.loads(line)["kind"] for line in started.notes_path.read_text().splitlines()]
    assert (status, kinds) == (
        0,
        [
            *("celeryd_init", "worker_init", "setup_logging", "celeryd_after_setup", "worker_ready"),
            *("begun", "worker_shutting_down", "ended", "worker_shutdown"),
        ],
    )
    assert "worker: Warm shutdown" in log
    host = socket.gethostname()
    assert f"one-{host.partition('.')[0]}@{host}" in log


@pytest.mark.parametrize("program", [OURS, STOCK], ids=["ours", "stock"])
def test_quit_is_a_cold_shutdown(folder: Path, program: tuple[str, ...], valkey_url: str) -> None:
    with worker(folder, program, valkey_url, SECONDS="5") as started:
        publish(valkey_url, "long")
        started.await_note("begun")
        status = started.send(signal.SIGQUIT)
        log = started.log_path.read_text()
    assert (status, "again will terminate all running tasks" in log) == (1, True)
    assert started.notes("worker_shutting_down") == []


def test_hup_restarts_a_worker_with_its_options(folder: Path, valkey_url: str) -> None:
    with worker(folder, OURS, valkey_url) as started:
        started.running.send_signal(signal.SIGHUP)
        started.await_note("worker_ready", 2)
        publish(valkey_url, "after")
        started.await_note("ended")
        assert [note["process"] for note in started.notes("worker_ready")] == 2 * [started.running.pid]
        assert started.send(signal.SIGTERM) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_beat_publishes_what_is_due_and_keeps_its_schedule(
    folder: Path, valkey_url: str, number: signal.Signals
) -> None:
    schedule = folder / "kept" / "schedule"
    schedule.parent.mkdir()
    with (
        worker(folder, OURS, valkey_url) as working,
        process(folder, OURS, "beat", "--schedule", str(schedule), BROKER=valkey_url) as started,
    ):
        working.await_note("ended", 3)
        assert [note["process"] for note in started.notes("beat_init")] == [started.running.pid]
        assert started.notes("setup_logging")
        assert started.send(number) == 0
        assert working.send(signal.SIGTERM) == 0
    assert list(schedule.parent.iterdir())
    assert [path.name for path in folder.glob("celerybeat-schedule*")] == []


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (["-A", "nowhere", "worker"], 2, "There is no module nowhere."),
        (["-A", "clock", "worker", "--queues", "nowhere"], 1, "queue 'nowhere' isn't\ndefined"),
        (["-A", "clock", "worker", "--concurrency", "many"], 2, "'many' is not a valid integer range"),
    ],
)
def test_a_wrong_option_is_named_without_a_traceback(
    folder: Path, words: list[str], status: int, sentence: str
) -> None:
    (folder / "clock.py").write_text(APP + "\napp.conf.task_create_missing_queues = False\n")
    done = subprocess.run(
        [sys.executable, "-m", *OURS, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "BROKER": "memory://", "ROLE": "worker"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_the_app_and_its_tasks_load_nothing_of_flower_the_shell_and_the_pages() -> None:
    code = (
        "import sys, worker.broker.processes as p; app = p._Common('worker', True).load(); "
        "app.loader.import_default_modules(); import celery.apps.worker, celery.apps.beat; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded & {"flower", "tornado", "click_repl", "prompt_toolkit", "flask"} == set()
    assert "tasks" in loaded


def test_workers_and_beat_are_started_by_it_and_flower_by_celery() -> None:
    lines = parse_procfile((ROOT / "Procfile").read_text()).processes
    ours = sorted(name for name, line in lines.items() if line.startswith(f"python -m {OURS[0]} "))
    stock = [name for name, line in lines.items() if line.startswith("celery ")]
    assert (ours, stock) == (["beat", "delivery", "ingest", "upkeep"], ["flower"])
